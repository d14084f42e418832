// Asking before something that cannot be undone.

import { el } from "./el.js";

/**
 * Shows the question; `work` runs while it stands, and what that throws is shown in it. Resolves to whether it was done.
 * `action`: what the button that does it says.
 */
export function confirmed({ title, text, action, work, keep = "Cancel" }) {
  return new Promise((resolve) => {
    let done = false;
    const fault = el("p", { class: "fault", role: "alert" });
    const act = el("button", { class: "button danger", type: "button" }, action);
    const dialog = el(
      "dialog",
      { "aria-labelledby": "confirm-title", "aria-describedby": "confirm-text" },
      el(
        "form",
        { method: "dialog" },
        el("h2", { id: "confirm-title" }, title),
        el("p", { id: "confirm-text" }, text),
        fault,
        el("div", { class: "dialog-actions" }, el("button", { class: "button", autofocus: true }, keep), act),
      ),
    );
    act.addEventListener("click", async () => {
      act.disabled = true;
      try {
        await work();
        done = true;
        dialog.close();
      } catch (error) {
        fault.textContent = error.message;
        act.disabled = false;
      }
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(done);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
