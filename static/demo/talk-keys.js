// The keys of the call: from anywhere that does not use the key itself.

const KEYS = ["Space", "Enter", "NumpadEnter"];

/** Space and Enter press `talk`; where one pushes to talk, Space holds `push`. */
export function wireTalkKeys(talk, push) {
  document.addEventListener("keydown", (event) => {
    if (!KEYS.includes(event.code) || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("button, input, a, select, textarea, summary, dialog, [role=region], [role=listbox], [role=tabpanel]")) return;
    event.preventDefault();
    if (event.code === "Space" && isUsable(push)) push.focus();
    else talk.click();
    if (event.code === "Space" && isUsable(push)) push.dispatchEvent(new CustomEvent("hold"));
  });
}

/** Calls `onHold` with true while the button is pressed, by hand, finger or Space, and with false after. */
export function wireHold(button, onHold) {
  let held = false;
  const set = (on) => {
    if (on === held) return;
    held = on;
    button.setAttribute("aria-pressed", String(on));
    onHold(on);
  };
  button.addEventListener("pointerdown", (event) => {
    button.setPointerCapture(event.pointerId);
    set(true);
  });
  for (const name of ["pointerup", "pointercancel", "blur"]) button.addEventListener(name, () => set(false));
  button.addEventListener("hold", () => set(true));
  button.addEventListener("keydown", (event) => {
    if (!KEYS.includes(event.code)) return;
    event.preventDefault();
    set(true);
  });
  button.addEventListener("keyup", (event) => KEYS.includes(event.code) && set(false));
}

const isUsable = (button) => !button.hidden && !button.disabled;
