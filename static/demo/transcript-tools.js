// Taking the conversation away: to the clipboard, or as a text file.

import { download } from "/shared/dom.js";

const SHOWN_MS = 1500;

export async function copy(text, button) {
  const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  const before = button.getAttribute("aria-label");
  button.classList.toggle("done", Boolean(done));
  button.setAttribute("aria-label", done ? "Copied" : "The browser does not let this page copy");
  setTimeout(() => {
    button.classList.remove("done");
    button.setAttribute("aria-label", before);
  }, SHOWN_MS);
}

export const save = (text) => download("blab-transcript.txt", [text], "text/plain");
