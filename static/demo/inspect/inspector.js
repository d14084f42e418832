// Follows every call, so that it can be looked at and played again; the panel is loaded when it is opened.

import { Journal } from "./journal.js";
import { Recording } from "./recording.js";

const SAMPLE_MS = 1000;

const $ = (id) => document.getElementById(id);

export class Inspector {
  recording = new Recording();
  journal = new Journal(() => this.recording.time);
  #call;
  #sampling = null;
  #panel = null;

  constructor(call) {
    this.#call = call;
    $("inspect").addEventListener("click", () => this.#toggle());
    call.on("connection_change", (change) => this.#changed(change));
    call.on("transport_event", (event) => this.journal.event("server", event));
    call.on("client_event", (event) => this.journal.event("client", event));
    call.on("agent_state", ({ state }) => this.journal.state(state));
    call.on("latency", (latency) => this.journal.latency(latency));
    call.on("agent_tool_start", (use) => this.journal.toolStarted(use));
    call.on("agent_tool_end", (use) => this.journal.toolEnded(use));
  }

  /** Records what the call hears and says from now on. */
  listen() {
    if (this.#call.output) this.recording.follow(this.#call.input, this.#call.output);
  }

  async #toggle() {
    const { Panel } = await import("./panel.js");
    this.#panel ??= new Panel(this.#call, this);
    this.#panel.toggle(!this.#panel.isOpen);
  }

  #changed({ state, from, resumed, again }) {
    if (state === "opening" && ["idle", "loading", "ended"].includes(from)) this.#begin();
    if (state === "live" && from !== "shaky") {
      this.listen();
      this.journal.state("listening");
      if (resumed || again) this.journal.reconnected();
      this.#sampling = setInterval(() => this.#sample(), SAMPLE_MS);
    }
    if (state === "retrying" || state === "ended") this.#pause();
    if (state === "ended") this.recording.stop();
  }

  #begin() {
    this.recording = new Recording();
    this.journal = new Journal(() => this.recording.time);
    this.#panel?.begin();
  }

  #pause() {
    clearInterval(this.#sampling);
    this.journal.state(null);
  }

  async #sample() {
    const { journal } = this;
    journal.sample(await this.#call.stats(), this.#call.roundTripMs);
  }
}
