// Taking the conversation away: to the clipboard, or as a text file.

import { download } from "/shared/dom.js";

const SHOWN_MS = 1500;

export function wireTranscriptTools(transcript, copyButton, saveButton) {
  const enable = () => (copyButton.disabled = saveButton.disabled = !transcript.text().length);
  new MutationObserver(enable).observe(transcript.list, { childList: true, subtree: true, characterData: true });
  copyButton.addEventListener("click", async () => {
    const done = await navigator.clipboard?.writeText(transcript.text()).then(() => true, () => false);
    const before = copyButton.getAttribute("aria-label");
    copyButton.classList.toggle("done", Boolean(done));
    copyButton.setAttribute("aria-label", done ? "Copied" : "The browser does not let this page copy");
    setTimeout(() => {
      copyButton.classList.remove("done");
      copyButton.setAttribute("aria-label", before);
    }, SHOWN_MS);
  });
  saveButton.addEventListener("click", () => download("blab-transcript.txt", [transcript.text()], "text/plain"));
}
