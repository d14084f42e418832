// Asks whether something is to be deleted, and deletes it if so.

const $ = (id) => document.getElementById(id);

/** Resolves with whether it was deleted; `work()`: deletes it, its error is shown and the dialog stays. */
export function deleted(title, text, work) {
  const [dialog, form] = [$("deletion"), $("deletion-form")];
  $("deletion-title").textContent = title;
  $("deletion-text").textContent = text;
  $("deletion-fault").textContent = "";
  const done = new AbortController();
  let gone = false;
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => (done.abort(), resolve(gone)), { signal: done.signal });
    form.addEventListener(
      "submit",
      async (event) => {
        if (event.submitter.value !== "delete") return;
        event.preventDefault();
        event.submitter.disabled = true;
        try {
          await work();
          gone = true;
          dialog.close();
        } catch (error) {
          $("deletion-fault").textContent = error.message;
        }
        event.submitter.disabled = false;
      },
      { signal: done.signal },
    );
    dialog.showModal();
  });
}
