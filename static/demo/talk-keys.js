/** Space presses `button` from anywhere that does not use the key itself; Enter as well. */
export function wireTalkKeys(button) {
  document.addEventListener("keydown", (event) => {
    if (!["Space", "Enter", "NumpadEnter"].includes(event.code) || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("button, input, a, select, textarea, [role=region]")) return;
    event.preventDefault();
    button.click();
  });
}
