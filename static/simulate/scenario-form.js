// One scenario as a form: its lines, what is expected of each answer, and recordings for lines.

import { html, nothing } from "/vendor/lit-html/lit-html.js";
import { live } from "/agents/field.js";
import { plural } from "/shared/el.js";
import { besides, copyOf, newLine, partsOf, put, recordingsOf, textOf, wantText, wantedText } from "./tree.js";
import { languageName, limit } from "./words.js";

const LANGUAGES = ["de", "en", "es", "fr", "it", "nl", "pt"];

export class ScenarioForm {
  #access;
  #changed;
  #sending = new Map(); // line → what is said of its upload
  #open = new WeakSet(); // lines whose further checks are shown
  #saying = new WeakMap(); // line → its text as it is being written
  #written = new WeakMap(); // line → what its answer has to contain, likewise

  /** `changed(touched)` is called when something else is to be shown. */
  constructor(access, changed) {
    this.#access = access;
    this.#changed = changed;
  }

  /** What is checked of every line. */
  common(tree) {
    const expect = tree.defaults?.expect ?? {};
    const set = (name, value) => {
      put(tree, ["defaults", "expect", name], value);
      this.#changed(true);
    };
    return html`<fieldset class="card block common">
      <legend>After every line</legend>
      <div class="fields">
        ${milliseconds("Answers within (ms)", expect.answered_within_ms, (value) => set("answered_within_ms", value))}
        <label class="check"><input type="checkbox" .checked=${live(expect.not_cut_off === true)} @change=${(event) => set("not_cut_off", event.target.checked)}> <span>Lets the caller finish</span></label>
      </div>
    </fieldset>`;
  }

  /** Scenario `at` (from 0). `faults`: `{path, message}` of the server. */
  view(tree, at, recordings, faults) {
    const scenario = tree.scenario[at];
    const set = (path, value) => {
      put(scenario, path, value);
      this.#changed(true);
    };
    const more = besides(scenario);
    const own = faults.filter(({ path }) => path.startsWith(`scenario[${at}]`));
    return html`
      <div class="scenario-head">
        <input class="scenario-name" maxlength="200" autocomplete="off" aria-label="Name of caller ${at + 1}" aria-invalid=${own.length ? "true" : nothing} .value=${live(scenario.name ?? "")} @input=${(event) => set(["name"], event.target.value || undefined)}>
        <button class="button small quiet" type="button" @click=${() => (tree.scenario.splice(at + 1, 0, copyOf(tree, scenario)), this.#changed(true))}>Copy<span class="visually-hidden"> ${scenario.name}</span></button>
        <button class="button small quiet" type="button" ?disabled=${tree.scenario.length === 1} @click=${() => (tree.scenario.splice(at, 1), this.#changed(true))}>Remove<span class="visually-hidden"> ${scenario.name}</span></button>
      </div>
      ${own.length ? html`<ul class="fault">${own.map(({ message }) => html`<li>${message}</li>`)}</ul>` : ""}
      <ol class="script">
        ${scenario.line.map((line, number) => this.#line(scenario, line, number, recordings))}
      </ol>
      <div class="actions">
        <button class="button small" type="button" @click=${() => (scenario.line.push(newLine()), this.#changed(true))}>Add a line<span class="visually-hidden"> to ${scenario.name}</span></button>
      </div>
      <details class="more">
        <summary>How this caller calls</summary>
        <div class="fields">
          <label>Over <select .value=${live(scenario.channel ?? "")} @change=${(event) => set(["channel"], event.target.value)}>
            ${[["", "WebSocket"], ["webrtc", "WebRTC, as browsers do"]].map(([value, text]) => html`<option value=${value} ?selected=${value === (scenario.channel ?? "")}>${text}</option>`)}
          </select></label>
          <label>Noise behind the caller <select .value=${live(String(scenario.noise_dbfs ?? ""))} @change=${(event) => set(["noise_dbfs"], event.target.value === "" ? undefined : Number(event.target.value))}>
            ${noises(scenario.noise_dbfs).map(([value, text]) => html`<option value=${value} ?selected=${value === String(scenario.noise_dbfs ?? "")}>${text}</option>`)}
          </select></label>
        </div>
        <label class="stack-label">Instructions in place of the agent's own <textarea rows="2" maxlength="30000" dir="auto" .value=${live(scenario.instructions ?? "")} @input=${(event) => set(["instructions"], event.target.value)}></textarea></label>
      </details>
      ${more.length ? html`<p class="note">In the text only: <code>${more.join(", ")}</code></p>` : ""}
    `;
  }

  #line(scenario, line, number, recordings) {
    const set = (path, value) => {
      put(line, path, value);
      this.#changed(true);
    };
    const expect = line.expect ?? {};
    const over = line.over_reply_ms !== undefined;
    const who = `line ${number + 1} of ${scenario.name}`;
    return html`<li class="line">
      <div class="said">
        ${line.audio === undefined
          ? html`<label class="says">${over ? "Says over the answer" : "Says"} <textarea rows="1" maxlength="4096" dir="auto" .value=${live(this.#saying.get(line) ?? textOf(line.say))} @input=${(event) => this.#say(line, event.target)} @change=${() => (this.#saying.delete(line), this.#changed(false))}></textarea></label>`
          : html`<div class="says">${over ? "Plays over the answer" : "Plays"} <span class="recording">${recordingsOf(line).join(", ")}</span></div>
              <label class="says">Its words (optional) <input maxlength="4096" dir="auto" autocomplete="off" .value=${live(line.text ?? "")} @input=${(event) => set(["text"], event.target.value)}></label>`}
        <div class="line-tools">
          <label class="button small quiet upload">${line.audio === undefined ? "Use a recording" : "Another recording"}<input class="visually-hidden" type="file" accept="audio/*,.wav" aria-label="Recording for ${who}" @change=${(event) => this.#send(line, event.target, recordings)}></label>
          ${line.audio === undefined ? "" : html`<button class="button small quiet" type="button" @click=${() => this.#write(line)}>Write it instead</button>`}
          <button class="button small quiet" type="button" ?disabled=${scenario.line.length === 1} @click=${() => (scenario.line.splice(number, 1), first(scenario), this.#changed(true))}>Remove<span class="visually-hidden"> ${who}</span></button>
        </div>
        <p class="small" role="status">${this.#sending.get(line) ?? ""}</p>
      </div>
      <div class="expected">
        <div class="fields">
          ${Array.isArray(expect.reply_contains) ? "" : html`<label>The answer contains <input placeholder="Anything; nine | 9: either" maxlength="4096" dir="auto" autocomplete="off" .value=${live(this.#written.get(line) ?? wantedText(expect))} @input=${(event) => this.#want(line, event.target.value)} @change=${() => (this.#written.delete(line), this.#changed(false))}></label>`}
          ${over ? milliseconds("Falls silent within (ms)", expect.interrupted_within_ms, (value) => set(["expect", "interrupted_within_ms"], value)) : ""}
        </div>
        <details class="more" ?open=${this.#open.has(line)} @toggle=${(event) => event.target.open && this.#open.add(line)}>
          <summary>${further(expect, line.over_reply_ms)}</summary>
          <div class="fields">
            ${Array.isArray(expect.reply_lacks) ? "" : html`<label>It does not contain <input maxlength="4096" dir="auto" autocomplete="off" .value=${live(expect.reply_lacks ?? "")} @input=${(event) => set(["expect", "reply_lacks"], event.target.value)}></label>`}
            ${milliseconds("Answers within (ms)", expect.answered_within_ms, (value) => set(["expect", "answered_within_ms"], value))}
            <label>In the language <select .value=${live(expect.reply_language ?? "")} @change=${(event) => set(["expect", "reply_language"], event.target.value)}>
              ${["", ...new Set([...LANGUAGES, expect.reply_language].filter(Boolean))].map((tag) => html`<option value=${tag} ?selected=${tag === (expect.reply_language ?? "")}>${tag ? languageName(tag) : "Any"}</option>`)}
            </select></label>
            ${number ? milliseconds("Cuts in on the answer before, after (ms)", line.over_reply_ms, (value) => (set(["over_reply_ms"], value), value === undefined && set(["expect", "interrupted_within_ms"], undefined))) : ""}
          </div>
        </details>
      </div>
    </li>`;
  }

  #say(line, area) {
    this.#saying.set(line, area.value);
    put(line, ["say"], partsOf(area.value));
    grown(area);
    this.#changed(true);
  }

  #want(line, text) {
    const expect = { ...line.expect };
    wantText(expect, text);
    this.#written.set(line, text);
    put(line, ["expect"], Object.keys(expect).length ? expect : undefined);
    this.#changed(true);
  }

  async #send(line, input, recordings) {
    const [file] = input.files;
    if (!file) return;
    this.#sending.set(line, `Sending ${file.name}…`);
    this.#changed(false);
    const form = new FormData();
    form.append("file", file);
    try {
      const response = await this.#access.fetch("/api/simulations/recordings", { method: "POST", body: form });
      const { storageKey, durationMs } = (await response.json()).data;
      const name = freeName(file.name, recordings);
      recordings[name] = storageKey;
      delete line.say;
      line.audio = name;
      this.#sending.set(line, `${(durationMs / 1000).toFixed(1)} seconds`);
      this.#changed(true);
    } catch (error) {
      this.#sending.set(line, error.message);
      this.#changed(false);
    }
    input.value = "";
  }

  #write(line) {
    line.say = line.text ?? "";
    delete line.audio;
    delete line.text;
    this.#sending.delete(line);
    this.#changed(true);
  }
}

/** The first line has no answer before it. */
function first({ line: [line] }) {
  delete line.over_reply_ms;
  put(line, ["expect", "interrupted_within_ms"], undefined);
}

function freeName(name, recordings) {
  const [, stem, ending] = name.slice(-150).match(/^(.*?)(\.[^.]*)?$/s);
  let free = `${stem}${ending ?? ""}`;
  for (let number = 2; free in recordings; number++) free = `${stem}-${number}${ending ?? ""}`;
  return free;
}

/** What is behind the line's further fields. */
function further(expect, over) {
  const count = ["reply_lacks", "answered_within_ms", "reply_language"].filter((name) => expect[name] !== undefined).length;
  const cuts = over === undefined ? "" : `Cuts in after ${limit(over)}`;
  return [cuts, count ? plural(count, "further check") : cuts ? "further checks" : "Further checks, and timing"].filter(Boolean).join(", ");
}

const milliseconds = (label, value, set) =>
  html`<label>${label} <input type="number" min="0" max="120000" step="100" .value=${live(String(value ?? ""))} @input=${(event) => set(event.target.value === "" ? undefined : event.target.valueAsNumber)}></label>`;

function noises(now) {
  const known = [["", "None"], ["-60", "A quiet room"], ["-45", "An office"], ["-35", "A street"]];
  const value = String(now ?? "");
  return known.some(([one]) => one === value) ? known : [...known, [value, `${value} dBFS`]];
}

/** Lets a field show all that is written in it. */
function grown(area) {
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight + 2}px`;
}
