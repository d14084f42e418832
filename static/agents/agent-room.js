// The room of one agent (/agents/ID), and of one that is not saved yet (/agents/new?template=…): its form,
// and beside it a call to it and its versions.

import { html, render } from "/vendor/lit-html/lit-html.js";
import { confirmed } from "/shared/confirm.js";
import { changesOf, draftOf, storedTool, wholeOf } from "./draft.js";
import { Embeds } from "./embeds.js";
import { Faults, idOf } from "./field.js";
import { identity, models, recording, turns, voice } from "./form.js";
import { templateOf } from "./templates.js";
import { Tools } from "./tools.js";
import { TryCall } from "./try-call.js";
import { Versions } from "./versions.js";

export async function openAgent(access, room, id) {
  const agent = await access.get(`/api/agents/${encodeURIComponent(id)}`);
  await new AgentRoom(access, room).show(agent, null);
}

export async function openNew(access, room, templateId) {
  await new AgentRoom(access, room).show(null, templateOf(templateId));
}

class AgentRoom {
  #access;
  #room;
  #stored = null; // as the server has it; null: it was never saved
  #draft;
  #note = "";
  #faults = new Faults();
  #offers = { voices: [], languages: [], chat: [], speech: [] };
  #message = { kind: "", text: "" }; // of the bar with the button
  #busy = false;
  #previewing = { busy: false, fault: "" };
  #tools;
  #try;
  #versions;
  #embeds;
  #waiting = false; // to be drawn
  #gone = false; // deleted

  constructor(access, room) {
    this.#access = access;
    this.#room = room;
    const changed = () => this.#render();
    this.#tools = new Tools(access, changed);
    this.#try = new TryCall(access, changed);
    this.#embeds = new Embeds(access, changed);
    this.#versions = new Versions(access, changed, (agent, number) => this.#restored(agent, number));
  }

  async show(agent, template) {
    this.#stored = agent;
    this.#offers = await offersOf(this.#access);
    const begun = template && { ...template, language: this.#offers.languages.includes(template.language) ? template.language : "" };
    this.#draft = draftOf(agent ?? begun);
    addEventListener("beforeunload", (event) => !this.#gone && (this.#dirty || this.#try.live) && event.preventDefault());
    document.addEventListener("keydown", (event) => {
      if (event.key !== "s" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      this.#save();
    });
    this.#draw();
    if (agent) await Promise.all([this.#versions.load(agent.id), this.#embeds.load(agent.id)]);
  }

  get #dirty() {
    return this.#stored ? changesOf(this.#draft, this.#stored) !== null : true;
  }

  /** Draws once for all that changes in a moment. */
  #render() {
    if (this.#waiting) return;
    this.#waiting = true;
    queueMicrotask(() => this.#draw());
  }

  #draw() {
    this.#waiting = false;
    document.title = `${this.#draft.name || "Agent"} – Blab`;
    render(this.#view(), this.#room);
  }

  // ---------------------------------------------------------------------- changed

  /** `path`: a field, or one of a field (`turnTaking.eagerness`). */
  #set = (path, value) => {
    const [name, inner] = path.split(".");
    if (inner) this.#draft[name] = { ...this.#draft[name], [inner]: value };
    else this.#draft[name] = value;
    this.#faults.settle(path);
    this.#message = { kind: "", text: "" };
    this.#render();
  };

  async #save() {
    if (this.#busy || !this.#dirty) return;
    const changes = this.#stored ? changesOf(this.#draft, this.#stored) : wholeOf(this.#draft);
    const body = { ...changes, ...(this.#note.trim() && { note: this.#note.trim() }) };
    this.#faults.clear();
    if (!body.name.trim()) this.#faults.add("name", "Give it a name.");
    if (this.#faults.size) return this.#refused("Please look at the marked field.");
    this.#busy = true;
    this.#render();
    const before = this.#stored;
    try {
      const saved = before ? await this.#access.patch(`/api/agents/${before.id}`, body) : await this.#access.post("/api/agents", body);
      this.#busy = false;
      if (!before) history.replaceState(null, "", `/agents/${saved.id}`);
      await this.#took(saved, messageOf(before, saved));
    } catch (error) {
      this.#busy = false;
      if (this.#faults.take(error)) this.#refused("It was not saved: please look at the marked field.");
      else this.#refused(`It was not saved. ${error.message}`);
    }
  }

  async #took(agent, text) {
    const open = new Set((this.#draft.tools ?? []).filter((tool) => tool.open).map((tool) => tool.name));
    this.#stored = agent;
    this.#draft = draftOf(agent);
    for (const tool of this.#draft.tools) tool.open = open.has(tool.name);
    this.#note = "";
    this.#message = { kind: "good", text };
    this.#render();
    await Promise.all([this.#versions.load(agent.id), this.#embeds.load(agent.id)]);
  }

  #restored(agent, number) {
    return this.#took(agent, `It is as in version ${number} again; this is version ${agent.version}.`);
  }

  #refused(text) {
    const others = this.#faults.beside([]).filter(({ path }) => !document.getElementById(idOf(path)));
    for (const { path, message } of others) {
      const tool = /^(tools|keepToolSecrets)/.test(path);
      if (tool) this.#faults.add("tools", message);
      else text = `${text} ${message}`;
    }
    this.#message = { kind: "bad", text };
    this.#draw();
    const first = this.#room.querySelector("[aria-invalid=true]");
    for (let around = first?.closest("details"); around; around = around.parentElement.closest("details")) around.open = true;
    first?.focus();
  }

  async #preview() {
    this.#previewing = { busy: true, fault: "" };
    this.#render();
    const { voice: id, language } = this.#draft;
    const spoken = language || (this.#offers.voices.find((one) => one.id === id)?.language ?? "");
    let fault = "";
    try {
      const { preview } = await import("/shared/preview.js");
      await preview({ key: () => this.#access.key(), transport: isSecureContext ? "websocket" : "webrtc" }, { voice: id === "default" ? "" : id, language: spoken });
    } catch (error) {
      fault = error.title ?? error.message;
    }
    this.#previewing = { busy: false, fault };
    this.#render();
  }

  async #delete() {
    const { id, name, isDefault } = this.#stored;
    const deleted = await confirmed({
      title: `Delete ${name || "this agent"}?`,
      text: `Its versions and its embeds go with it, and pages that show it show nothing any more. Its calls stay.${isDefault ? " It is the default agent: a new one is made when it is needed." : ""}`,
      action: "Delete",
      keep: "Keep it",
      work: () => this.#access.delete(`/api/agents/${id}`),
    });
    if (!deleted) return;
    this.#gone = true;
    location.replace("/agents");
  }

  // ---------------------------------------------------------------------- shown

  #view() {
    const agent = this.#stored;
    const dirty = this.#dirty;
    const room = {
      draft: this.#draft,
      faults: this.#faults,
      offers: this.#offers,
      set: this.#set,
      agentId: agent?.id,
      saved: (tool) => Boolean(agent) && savedTools(agent).has(JSON.stringify(storedTool(tool))) && !tool.headers.length,
      preview: { ...this.#previewing, play: () => this.#preview() },
    };
    return html`
      <p class="back"><a href="/agents">All agents</a></p>
      <div class="head">
        <h1>${this.#draft.name || "Unnamed"}</h1>
        ${agent
          ? html`<a class="button small" href="/simulate?agent=${agent.id}">Test with simulated callers</a>
              <a class="button small" href="/calls?agentId=${agent.id}">Its calls</a>
              <button class="button small danger" type="button" @click=${() => this.#delete()}>Delete</button>`
          : ""}
      </div>
      <div class="columns">
        <div class="form">
          <form class="form" novalidate @submit=${(event) => (event.preventDefault(), this.#save())}>
            ${identity(room)} ${voice(room)} ${turns(room)} ${this.#tools.view(room)} ${recording(room)} ${models(room)}
            ${this.#bar(agent, dirty)}
          </form>
          ${this.#embeds.view(agent?.id)}
        </div>
        <div class="aside">${this.#try.view(agent, dirty)} ${this.#versions.view()}</div>
      </div>
      ${this.#versions.dialog(dirty)}
    `;
  }

  #bar(agent, dirty) {
    const { kind, text } = this.#message;
    const state = text || (dirty ? (agent ? "Changes that are not saved." : "It is not saved yet.") : "Everything is saved.");
    return html`<div class="save-bar card" data-dirty=${String(dirty)}>
      <p class="save-state ${kind}" role=${kind === "bad" ? "alert" : "status"}>${state}</p>
      ${agent && dirty ? html`<input class="field small note-field" maxlength="300" autocomplete="off" placeholder="What did you change? (optional)" aria-label="What did you change?" .value=${this.#note} @input=${(event) => (this.#note = event.target.value)}>` : ""}
      <a class="button to-try" href="#try">Try it</a>
      <button class="button primary" type="submit" ?disabled=${this.#busy || !dirty} aria-keyshortcuts="Control+S">${this.#busy ? "Saving…" : agent ? "Save" : "Create"}</button>
    </div>`;
  }
}

const savedTools = (agent) => new Set(draftOf(agent).tools.map((tool) => JSON.stringify(storedTool(tool))));

function messageOf(before, saved) {
  if (!before) return "Created. Talk to it on this page.";
  if (saved.version === before.version) return "Nothing had changed.";
  if (saved.version > before.version + 1) return `Saved as version ${saved.version}. Somebody else had changed it meanwhile: look at the versions.`;
  return `Saved as version ${saved.version}.`;
}

/** What the server can do; what it does not let this credential see is left out. */
async function offersOf(access) {
  const asked = (path, instead, query) =>
    access.get(path, { query }).catch((error) => {
      if (!error.status || error.status === 401) throw error; // nobody is signed in, or the server is away
      return instead;
    });
  const [catalog, cloned, models, capabilities] = await Promise.all([
    asked("/api/voices/catalog", { voices: [] }),
    asked("/api/voices", [], { limit: 100 }),
    asked("/api/models", []),
    asked("/api/capabilities", null),
  ]);
  const held = Object.entries(capabilities?.realtime.languages ?? {}).filter(([, one]) => one.available);
  const of = (modality) => models.filter((one) => one.modality === modality && one.available);
  const voices = [...cloned, ...catalog.voices].filter(({ id }, at, all) => all.findIndex((one) => one.id === id) === at);
  return { voices, languages: held.map(([tag]) => tag).sort(), chat: of("llm"), speech: of("tts") };
}
