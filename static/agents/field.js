// A control of the form with its label, its hint and what the server says against it.

import { Directive, directive } from "/vendor/lit-html/directive.js";
import { html, noChange, nothing } from "/vendor/lit-html/lit-html.js";

/** A property that follows the draft also where the user has changed it since it was drawn. */
export const live = directive(
  class extends Directive {
    update({ element, name }, [value]) {
      if (element[name] !== value) element[name] = value;
      return noChange;
    }
  },
);

/** What is wrong, by the path of the field (`tools[0].url`). */
export class Faults {
  #byPath = new Map();

  clear() {
    this.#byPath.clear();
  }

  /** Takes the faults of a refusal; false where it names no field. */
  take(error) {
    const { path, errors = [] } = error.details ?? {};
    const found = errors.length ? errors : path ? [{ path, message: error.message }] : [];
    for (const one of found) this.add(one.path, one.message);
    return found.length > 0;
  }

  add(path, message) {
    if (!this.#byPath.has(path)) this.#byPath.set(path, message);
  }

  /** Nothing is wrong with the field any more. */
  settle(path) {
    this.#byPath.delete(path);
  }

  of(path) {
    return this.#byPath.get(path) ?? "";
  }

  /** Faults of whole things (`tools`), and those that no field of the form shows. */
  beside(known) {
    return [...this.#byPath].filter(([path]) => !known.includes(path)).map(([path, message]) => ({ path, message }));
  }

  get size() {
    return this.#byPath.size;
  }
}

export const idOf = (path) => `f-${path.replaceAll(/[^A-Za-z0-9]+/g, "-")}`;

/** Label, control, hint and fault. `control(attributes)`: a template that puts id, describedby and invalid on its control. */
export function field(faults, { path, label, hint = "" }, control) {
  const id = idOf(path);
  const fault = faults.of(path);
  const described = [hint && `${id}-hint`, fault && `${id}-fault`].filter(Boolean).join(" ");
  return html`<div class="field-block">
    <label for=${id}>${label}</label>
    ${control({ id, described: described || nothing, invalid: fault ? "true" : nothing })}
    ${hint ? html`<p class="hint" id="${id}-hint">${hint}</p>` : ""}
    ${fault ? html`<p class="fault" id="${id}-fault">${fault}</p>` : ""}
  </div>`;
}

/** A line of text. `set` takes what is written. */
export const text = (faults, about, value, set, { type = "text", max = 200, placeholder = "", mono = false } = {}) =>
  field(
    faults,
    about,
    (at) => html`<input id=${at.id} type=${type} maxlength=${max} autocomplete="off" spellcheck=${mono ? "false" : nothing} class=${mono ? "mono" : nothing} placeholder=${placeholder || nothing} aria-describedby=${at.described} aria-invalid=${at.invalid} dir=${mono ? "ltr" : "auto"} .value=${live(value)} @input=${(event) => set(event.target.value)}>`,
  );

/** Several lines. */
export const area = (faults, about, value, set, { rows = 4, max = 20_000, placeholder = "", mono = false } = {}) =>
  field(
    faults,
    about,
    (at) => html`<textarea id=${at.id} rows=${rows} maxlength=${max} spellcheck=${mono ? "false" : nothing} class=${mono ? "mono" : nothing} placeholder=${placeholder || nothing} aria-describedby=${at.described} aria-invalid=${at.invalid} dir="auto" .value=${live(value)} @input=${(event) => set(event.target.value)}></textarea>`,
  );

/** A number, or nothing; `set` takes a number or null. */
export const number = (faults, about, value, set, { min = 1, max = 600 } = {}) =>
  field(
    faults,
    about,
    (at) => html`<input id=${at.id} type="number" min=${min} max=${max} aria-describedby=${at.described} aria-invalid=${at.invalid} .value=${live(value ?? "")} @input=${(event) => set(event.target.value === "" ? null : event.target.valueAsNumber)}>`,
  );

/** One of `[value, text]`; a value that is not among them stays, and is said to be unavailable. */
export const select = (faults, about, options, value, set) => {
  const all = options.some(([one]) => one === value) ? options : [...options, [value, `${value} (not available now)`]];
  return field(
    faults,
    about,
    (at) => html`<select id=${at.id} aria-describedby=${at.described} aria-invalid=${at.invalid} .value=${live(value)} @change=${(event) => set(event.target.value)}>
      ${all.map(([one, name]) => html`<option value=${one} ?selected=${one === value}>${name}</option>`)}
    </select>`,
  );
};

export const check = (label, value, set, hint = "") =>
  html`<div class="field-block"><label class="check"><input type="checkbox" .checked=${live(value)} @change=${(event) => set(event.target.checked)}> <span>${label}</span></label>${hint ? html`<p class="hint">${hint}</p>` : ""}</div>`;
