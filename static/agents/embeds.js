// An agent on other web pages: its embeds, who may use them, and the code for the page.

import { html } from "/vendor/lit-html/lit-html.js";
import { confirmed } from "/shared/confirm.js";
import { plural } from "/shared/el.js";
import { Faults, area, check, number, text } from "./field.js";

const NEW = { id: "", name: "Website", origins: "", minutesPerDay: 120, maxCalls: 2, maxCallMinutes: 10, enabled: true };

export class Embeds {
  #access;
  #changed;
  #agentId = "";
  #list = [];
  #edited = null; // the one that is being written
  #faults = new Faults();
  #fault = "";
  #copied = "";

  constructor(access, changed) {
    this.#access = access;
    this.#changed = changed;
  }

  async load(agentId) {
    this.#agentId = agentId;
    try {
      this.#list = await this.#access.get(`/api/agents/${agentId}/embeds`, { query: { limit: 100 } });
    } catch (error) {
      this.#fault = error.message;
    }
    this.#changed();
  }

  view(agentId) {
    return html`<section class="card section" aria-labelledby="embeds-title">
      <h2 id="embeds-title">On your web page</h2>
      <p class="hint">A button in the corner of your page with which visitors call this agent. They need no account, and your page needs no key.</p>
      <p class="fault" role="alert">${this.#fault}</p>
      ${agentId
        ? html`${this.#list.map((one) => (this.#edited?.id === one.id ? this.#form() : this.#embed(one)))}
            ${this.#edited && !this.#edited.id ? this.#form() : ""}
            <div class="actions">${this.#edited ? "" : html`<button class="button small" type="button" @click=${() => this.#edit({ ...NEW })}>${this.#list.length ? "Add another page" : "Put it on a page"}</button>`}</div>`
        : html`<p class="note">Save the agent first.</p>`}
    </section>`;
  }

  #embed(one) {
    const code = codeOf(one);
    const copy = async () => {
      try {
        await navigator.clipboard.writeText(code);
        this.#copied = one.id;
      } catch {
        getSelection().selectAllChildren(document.getElementById(`code-${one.id}`));
        this.#fault = "The browser does not let this page copy: the code is selected.";
      }
      this.#changed();
    };
    const edit = () => this.#edit({ ...one, origins: one.origins.join("\n") });
    return html`<div class="embed">
      <div class="version-head"><b>${one.name}</b><span class="chip ${one.enabled ? "good" : ""}">${one.enabled ? "On" : "Switched off"}</span></div>
      <p class="small">${one.origins.join(", ")} · ${plural(Math.ceil(one.secondsToday / 60), "minute")} of ${one.minutesPerDay} today</p>
      <pre id="code-${one.id}" tabindex="0" aria-label="Code for the page">${code}</pre>
      <div class="actions">
        <button class="button small" type="button" @click=${copy}>${this.#copied === one.id ? "Copied" : "Copy the code"}</button>
        <button class="button small" type="button" @click=${edit}>Change</button>
        <button class="button small danger" type="button" @click=${() => this.#remove(one)}>Delete</button>
      </div>
    </div>`;
  }

  #edit(one) {
    this.#edited = one;
    this.#faults.clear();
    this.#changed();
    document.getElementById("f-embed-name")?.focus();
  }

  #form() {
    const edited = this.#edited;
    const faults = this.#faults;
    const set = (name) => (value) => {
      edited[name] = value;
      faults.settle(`embed.${name}`);
      this.#changed();
    };
    return html`<div class="embed stack">
      ${text(faults, { path: "embed.name", label: "Name of the page", hint: "For yourself." }, edited.name, set("name"))}
      ${area(faults, { path: "embed.origins", label: "Where it may be used", hint: "One address of a website per line, such as https://shop.example. https://*.shop.example stands for every host below." }, edited.origins, set("origins"), { rows: 3, mono: true, placeholder: "https://shop.example" })}
      <div class="fields">
        ${number(faults, { path: "embed.minutesPerDay", label: "Minutes a day" }, edited.minutesPerDay, set("minutesPerDay"), { max: 14_400 })}
        ${number(faults, { path: "embed.maxCalls", label: "Calls at a time" }, edited.maxCalls, set("maxCalls"), { max: 100 })}
        ${number(faults, { path: "embed.maxCallMinutes", label: "Longest call (minutes)" }, edited.maxCallMinutes, set("maxCallMinutes"), { max: 60 })}
      </div>
      ${check("Switched on", edited.enabled, set("enabled"), edited.id ? "Switching it off ends its calls." : "")}
      <div class="actions">
        <button class="button small primary" type="button" @click=${() => this.#save()}>${edited.id ? "Save this page" : "Get the code"}</button>
        <button class="button small" type="button" @click=${() => this.#edit(null)}>Cancel</button>
      </div>
    </div>`;
  }

  async #save() {
    const { id, name, origins, minutesPerDay, maxCalls, maxCallMinutes, enabled } = this.#edited;
    const body = { name, origins: origins.split(/[\s,]+/).filter(Boolean), minutesPerDay, maxCalls, maxCallMinutes, enabled };
    this.#faults.clear();
    this.#fault = "";
    try {
      if (id) await this.#access.patch(`/api/embeds/${id}`, body);
      else await this.#access.post(`/api/agents/${this.#agentId}/embeds`, body);
      this.#edited = null;
      await this.load(this.#agentId);
    } catch (error) {
      const { path = "", errors = [] } = error.details ?? {};
      const found = errors.length ? errors : path ? [{ path, message: error.message }] : [];
      for (const one of found) this.#faults.add(`embed.${one.path.replace(/\[.*/, "")}`, one.message);
      this.#fault = found.length ? "" : error.message;
      this.#changed();
    }
  }

  async #remove(one) {
    const deleted = await confirmed({
      title: `Take the agent off “${one.name}”?`,
      text: "Its calls there end, and the page shows no agent any more.",
      action: "Delete",
      keep: "Keep it",
      work: () => this.#access.delete(`/api/embeds/${one.id}`),
    });
    if (deleted) await this.load(this.#agentId);
  }
}

const codeOf = ({ id }) => `<script type="module" src="${location.origin}/sdk/blab-agent.js"></script>\n<blab-agent embed="${id}"></blab-agent>`;
