// Which languages are heard, while others still load and once they have been loaded.

import { languageName } from "./setup.js";

let said = "";

/** Adds a line to the transcript, unless it is the last one that was added here. */
export function show(transcript, { languages, languages_loading: loading }) {
  const text = `Heard now: ${names(languages)}.${loading.length ? ` Still loading: ${names(loading)}.` : ""}`;
  if (text !== said) transcript.note(text);
  said = text;
}

function names(tags) {
  return tags.map(languageName).join(", ");
}
