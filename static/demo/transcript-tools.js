// What the conversation seldom needs: taking it away, to the clipboard or as a text file; and which languages
// are heard, while others still load and once they have been loaded.

import { download } from "/shared/dom.js";
import { languageName } from "./setup.js";

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

let said = "";

/** Adds a line to the transcript, unless it is the last one that was added here. */
export function languages(transcript, { languages: heard, languages_loading: loading }) {
  const names = (tags) => tags.map(languageName).join(", ");
  const text = `Heard now: ${names(heard)}.${loading.length ? ` Still loading: ${names(loading)}.` : ""}`;
  if (text !== said) transcript.note(text);
  said = text;
}
