// A call to the agent beside its form: what is said, and how long each answer took.

import { html } from "/vendor/lit-html/lit-html.js";
import { clock } from "/shared/el.js";

const STATES = { listening: "Listening. Speak whenever you like.", hearing: "Hearing you", thinking: "Thinking…", speaking: "Speaking. Cut in whenever you like.", held: "Paused to listen" };
const UNDER_WAY = { loading: "Waiting for the server…", opening: "Connecting…", shaky: "The connection is shaky…", retrying: "Trying again…" };
const CARRIED = ["media", "unsupported"]; // then WebSocket may work

export class TryCall {
  #access;
  #changed;
  #call = null;
  #problem = "";
  #microphone = false; // the browser is asking for it
  #latencies = new Map(); // response id → ms
  #responses = new Map(); // item id → response id
  #callId = "";
  #ticking = 0;
  /** The version that answers. */
  version = 0;

  /** `changed` is called when something else is to be shown. */
  constructor(access, changed) {
    this.#access = access;
    this.#changed = changed;
  }

  get #open() {
    return Boolean(this.#call) && !["idle", "ended"].includes(this.#call.state);
  }

  /** Whether a call is on. */
  get live() {
    return this.#open;
  }

  hangUp() {
    this.#call?.close();
  }

  /** Calls the saved agent; typed where `microphone` is false. */
  async start(agent, microphone, first = "") {
    if (this.#open) return;
    const { Call } = await import("/sdk/blab.js");
    this.version = agent.version;
    this.#problem = this.#callId = "";
    this.#latencies.clear();
    this.#responses.clear();
    this.#call = new Call({ agent: agent.id, key: () => this.#access.key() });
    this.#wire(this.#call);
    if (first) this.#call.sendMessage(first);
    await this.#connect(microphone);
  }

  async #connect(microphone, again = false) {
    try {
      await this.#call.connect({ microphone });
    } catch (problem) {
      if (!again && CARRIED.includes(problem.kind) && isSecureContext) {
        this.#call.configure({ transport: "websocket" });
        return this.#connect(microphone, true);
      }
      this.#problem = [problem.title ?? problem.message, problem.advice].filter(Boolean).join(". ").replace("..", ".");
    }
    this.#changed();
  }

  #wire(call) {
    const show = () => this.#changed();
    call.on("connection_change", ({ state, problem }) => {
      this.#microphone = false;
      clearInterval(this.#ticking);
      if (state === "live") this.#ticking = setInterval(show, 1000);
      if (state === "ended" && problem) this.#problem = problem.title;
      show();
    });
    call.on("microphone_requested", () => {
      this.#microphone = true;
      show();
    });
    call.on("transport_event", ({ type, session }) => {
      if (type === "session.created") this.#callId = session.id;
    });
    call.on("audio_transcript_delta", ({ itemId, responseId }) => this.#responses.set(itemId, responseId));
    call.on("latency", ({ event, heardMs }) => {
      this.#latencies.set(event.response_id, Math.round(heardMs ?? event.total_ms ?? 0));
      show();
    });
    call.on("error", ({ error }) => {
      this.#problem = error?.message ?? "The server reported an error.";
      show();
    });
    for (const name of ["agent_state", "history_updated"]) call.on(name, show);
  }

  // ------------------------------------------------------------------ shown

  /** The card. `agent`: as it is stored, null: not yet; `dirty`: the form has changes that it has not. */
  view(agent, dirty) {
    const open = this.#open;
    const newer = open && agent && agent.version !== this.version;
    const begin = (microphone) => () => this.start(agent, microphone);
    return html`<section class="card try" id="try" aria-labelledby="try-title" data-state=${this.#call?.state ?? "idle"}>
      <div class="try-head">
        <h2 id="try-title">Try it</h2>
        ${agent ? html`<span class="chip">${open ? `Version ${this.version}` : `Saved version ${agent.version}`}</span>` : ""}
      </div>
      ${agent && dirty && !open ? html`<p class="note">Your changes are not saved: you would talk to version ${agent.version}.</p>` : ""}
      ${newer ? html`<p class="note">This call goes on with version ${this.version}. Hang up and call again to hear version ${agent.version}.</p>` : ""}
      ${this.#turns()}
      <p class="fault" role="alert">${this.#problem}</p>
      <p class="try-status" role="status">${this.#status(agent)}</p>
      <div class="actions">
        ${open
          ? html`<button class="button hang-up" type="button" @click=${() => this.hangUp()}>Hang up</button>
              ${this.#call.hasMicrophone ? html`<button class="button" type="button" aria-pressed=${String(this.#call.muted)} @click=${() => this.#mute()}>${this.#call.muted ? "Unmute" : "Mute"}</button>` : ""}`
          : html`<button class="button primary" type="button" ?disabled=${!agent} @click=${begin(true)}>Talk to it</button>
              <button class="button" type="button" ?disabled=${!agent} @click=${begin(false)}>Type instead</button>`}
      </div>
      <form class="field-row" ?hidden=${!open} @submit=${(event) => this.#send(event)}>
        <input class="field small" name="message" maxlength="2000" autocomplete="off" dir="auto" placeholder="Write something" aria-label="Message">
        <button class="button small" type="submit">Send</button>
      </form>
      ${!open && this.#callId && this.#call?.history.length ? html`<p class="small"><a href="/calls/${this.#callId}">Look at this call</a>: what was heard, and where the time went.</p>` : ""}
    </section>`;
  }

  #status(agent) {
    if (!agent) return "Save the agent first, then talk to it.";
    if (this.#microphone) return "Please allow the microphone when the browser asks.";
    if (!this.#open) return this.#call ? "The call has ended." : "";
    const { state, seconds, agentState } = this.#call;
    const does = agentState === "listening" && !this.#call.hasMicrophone ? "Write whenever you like." : STATES[agentState];
    return UNDER_WAY[state] ?? `${clock(seconds * 1000, 0)} · ${does ?? ""}`;
  }

  #turns() {
    const said = this.#call?.history.filter(({ text }) => text.trim()) ?? [];
    if (!said.length) return "";
    return html`<ol class="said" tabindex="0" aria-label="What was said" aria-live="off">
      ${said.map((item, at) => {
        const answers = said[at - 1]?.role === "user"; // the greeting answers nobody
        const ms = answers && this.#latencies.get(this.#responses.get(item.itemId));
        const who = item.role === "user" ? "You" : "Agent";
        return html`<li class=${item.role === "user" ? "you" : "blab"}>
          <b>${who}</b> <span dir="auto">${item.text}${item.status === "incomplete" ? " …" : ""}</span>
          ${ms ? html`<span class="took">${ms} ms</span>` : ""}
        </li>`;
      })}
    </ol>`;
  }

  #send(event) {
    event.preventDefault();
    const field = event.target.elements.message;
    const text = field.value.trim();
    field.value = "";
    if (text) this.#call?.sendMessage(text);
  }

  #mute() {
    this.#call.mute(!this.#call.muted);
    this.#changed();
  }
}
