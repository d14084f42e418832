// What the forms for batches and dubs have in common: their dialog, voices and languages.

import { el } from "/shared/el.js";
import { languageName } from "./words.js";

/** A dialog around `form`, which goes when it is closed; returns it, open. */
export function dialogOf(title, action, fields, submit) {
  const fault = el("div", { class: "fault", role: "alert" });
  const said = el("p", { class: "note", role: "status" });
  const cancel = el("button", { class: "button", type: "button" }, "Cancel");
  const go = el("button", { class: "button primary", type: "submit" }, action);
  const form = el("form", { class: "stack" }, el("h2", { id: "form-title" }, title), ...fields, fault, said, el("div", { class: "dialog-actions" }, cancel, go));
  const dialog = el("dialog", { class: "wide", "aria-labelledby": "form-title" }, form);
  cancel.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    fault.replaceChildren();
    try {
      await submit(form.elements, (text) => (said.textContent = text));
    } catch (error) {
      said.textContent = "";
      fault.replaceChildren(...faults(error));
      go.disabled = false;
    }
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** All that is wrong, each on its own line; `error.lines` has them where they were put in words already. */
function faults(error) {
  const texts = error.lines ?? (error.details?.errors ?? []).map((one) => one.message);
  return (texts.length ? texts : [error.message]).map((text) => el("p", {}, text));
}

export const options = (pairs) => pairs.map(([value, text]) => el("option", { value }, text));

/** Every voice that speaks for `model`: those of the engines, and the workspace's own. */
export async function voicesFor(access, model) {
  const [catalog, own] = await Promise.all([access.get("/api/voices/catalog", { query: { model } }), access.get("/api/voices", { query: { limit: 100 } })]);
  const mine = own.filter((one) => one.model === model).map((one) => ({ id: one.id, name: one.name, language: one.language, own: true }));
  return [...mine, ...catalog.voices];
}

/** A select's choices: the default, the workspace's own, then by language. */
export function voiceOptions(voices, language = "") {
  const base = (tag) => (tag ?? "").split("-")[0];
  const fitting = voices.filter((one) => one.own || !language || base(one.language) === language);
  const groups = Map.groupBy ? Map.groupBy(fitting, (one) => (one.own ? "Your voices" : languageName(base(one.language)))) : new Map([["Voices", fitting]]);
  return [el("option", { value: "default" }, "The default"), ...[...groups].map(([label, some]) => el("optgroup", { label }, ...options(some.map((one) => [one.id, one.name]))))];
}

export const FORMATS = ["mp3", "wav", "opus", "aac", "flac"].map((one) => [one, one.toUpperCase()]);
