// The versions of an agent: a list, what differs between two of them, and the way back to one.

import { html } from "/vendor/lit-html/lit-html.js";
import { moment } from "/shared/el.js";
import { difference, shortened } from "./difference.js";
import { authorName } from "./names.js";

const PAGE = 20;

export class Versions {
  #access;
  #changed;
  #restored;
  #agentId = "";
  #list = [];
  #cursor = null;
  #fault = "";
  #shown = null; // [from, to]: the numbers that are compared
  #busy = false;

  /** `restored` is called with the agent that has gone back to a version. */
  constructor(access, changed, restored) {
    this.#access = access;
    this.#changed = changed;
    this.#restored = restored;
  }

  async load(agentId) {
    this.#agentId = agentId;
    this.#cursor = null;
    await this.#next(true);
  }

  async #next(fresh = false) {
    try {
      const { data, meta } = await this.#access.list(`/api/agents/${this.#agentId}/versions`, { query: { limit: PAGE, cursor: this.#cursor } });
      this.#list = fresh ? data : [...this.#list, ...data];
      this.#cursor = meta?.hasMore ? meta.nextCursor : null;
      this.#fault = "";
    } catch (error) {
      this.#fault = error.message;
    }
    this.#changed();
  }

  view() {
    const newest = this.#list[0]?.number;
    if (!newest) return "";
    return html`<section class="card versions" aria-labelledby="versions-title">
      <h2 id="versions-title">Versions</h2>
      <p class="fault" role="alert">${this.#fault}</p>
      <ol>
        ${this.#list.map(
          (one) => html`<li>
            <div class="version-head"><b>Version ${one.number}</b>${one.number === newest ? html`<span class="chip good">Answers calls</span>` : ""}</div>
            ${one.note ? html`<p class="version-note" dir="auto">${one.note}</p>` : ""}
            ${one.restores ? html`<p class="version-note">As version ${one.restores}</p>` : ""}
            <p class="small">${moment(one.createdAt)} · ${authorName(one.by)}</p>
            ${newest > 1 ? html`<button class="button small" type="button" @click=${() => this.compare(...(one.number === newest ? [newest - 1, newest] : [one.number, newest]))}>${one.number === newest ? "What changed" : "Compare"}<span class="visually-hidden"> version ${one.number}</span></button>` : ""}
          </li>`,
        )}
      </ol>
      ${this.#cursor ? html`<button class="button small" type="button" @click=${() => this.#next()}>Earlier versions</button>` : ""}
    </section>`;
  }

  /** Opens the difference between two versions. */
  async compare(from, to) {
    this.#shown = [from, to];
    this.#fault = "";
    for (const number of this.#shown) await this.#know(number);
    this.#changed();
    const dialog = document.getElementById("difference");
    if (!dialog.open) dialog.showModal();
  }

  async #know(number) {
    if (this.#list.some((one) => one.number === number)) return;
    try {
      const one = await this.#access.get(`/api/agents/${this.#agentId}/versions/${number}`);
      this.#list = [...this.#list, one].sort((a, b) => b.number - a.number);
    } catch (error) {
      this.#fault = error.message;
    }
  }

  /** The dialog; always there, so that it can be opened. `dirty`: going back would lose unsaved changes. */
  dialog(dirty) {
    return html`<dialog id="difference" class="wide" aria-labelledby="difference-title" @close=${() => (this.#shown = null)}>
      ${this.#shown ? this.#difference(dirty) : ""}
    </dialog>`;
  }

  #difference(dirty) {
    const [from, to] = this.#shown;
    const [before, after] = this.#shown.map((number) => this.#list.find((one) => one.number === number));
    const newest = this.#list[0].number;
    const pick = (at) => (event) => {
      const shown = [...this.#shown];
      shown[at] = Number(event.target.value);
      this.compare(...shown);
    };
    const options = (chosen) => this.#list.map(({ number }) => html`<option value=${number} ?selected=${number === chosen}>Version ${number}${number === newest ? " (now)" : ""}</option>`);
    const changes = before && after ? difference(before.config, after.config) : [];
    return html`<form method="dialog">
      <h2 id="difference-title">What changed</h2>
      <div class="picked">
        <label>From <select @change=${pick(0)}>${options(from)}</select></label>
        <label>To <select @change=${pick(1)}>${options(to)}</select></label>
      </div>
      <p class="fault" role="alert">${this.#fault}</p>
      <div class="changes" tabindex="0" role="region" aria-label="Differences">
        ${changes.length ? changes.map(field) : html`<p class="note">The two are the same.</p>`}
      </div>
      ${dirty ? html`<p class="note">Going back loses the changes that you have not saved.</p>` : ""}
      <div class="dialog-actions">
        <button class="button" value="close">Close</button>
        ${from !== newest ? html`<button class="button primary" type="button" ?disabled=${this.#busy} @click=${() => this.#restore(from)}>Go back to version ${from}</button>` : ""}
      </div>
    </form>`;
  }

  async #restore(number) {
    this.#busy = true;
    this.#changed();
    try {
      const agent = await this.#access.post(`/api/agents/${this.#agentId}/versions/${number}/restore`);
      document.getElementById("difference").close();
      await this.#restored(agent, number);
    } catch (error) {
      this.#fault = error.message;
    }
    this.#busy = false;
    this.#changed();
  }
}

function field({ label, long, parts }) {
  const shown = long ? shortened(parts) : parts;
  return html`<section class="change">
    <h3>${label}</h3>
    <p class=${long ? "text" : "values"} dir="auto">${shown.map(part)}</p>
  </section>`;
}

function part([kind, text]) {
  if (kind === "same") return text;
  const said = kind === "gone" ? "removed: " : "added: ";
  const words = html`<span class="visually-hidden">${said}</span>${text}`;
  return kind === "gone" ? html`<del>${words}</del> ` : html`<ins>${words}</ins>`;
}
