// Text to take along: a secret that is shown once, and programs in several languages.

import { el } from "./el.js";

/** A button that copies the text of `source`, or selects it where the browser forbids copying. */
export function copyButton(source, label = "Copy") {
  const button = el("button", { class: "button small", type: "button" }, label);
  let shown = 0;
  button.addEventListener("click", async () => {
    const copied = await navigator.clipboard?.writeText(source.textContent).then(() => true, () => false);
    if (!copied) getSelection().selectAllChildren(source);
    button.textContent = copied ? "Copied" : "Selected: copy it now";
    clearTimeout(shown);
    shown = setTimeout(() => (button.textContent = label), 2500);
  });
  return button;
}

/** A secret with a button that copies it; `name`: what it is. */
export function secretField(name, secret) {
  const text = el("code", { class: "secret-text" }, secret);
  return el("div", { class: "secret", role: "group", "aria-label": name }, text, copyButton(text));
}

/** `samples`: by the name of each language, the program. */
export function codeSamples(samples) {
  const text = el("code");
  const choices = Object.keys(samples).map((name) => el("button", { type: "button", "aria-pressed": "false" }, name));
  const choose = (chosen) => {
    for (const one of choices) one.ariaPressed = String(one === chosen);
    text.textContent = samples[chosen.textContent];
  };
  for (const one of choices) one.addEventListener("click", () => choose(one));
  choose(choices[0]);
  return el(
    "div",
    { class: "code" },
    el("div", { class: "code-head" }, el("div", { class: "segments", role: "group", "aria-label": "Language" }, ...choices), copyButton(text)),
    el("pre", { tabIndex: 0 }, text),
  );
}
