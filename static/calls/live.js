// Calls in progress: shown as they change, listened in to, hung up.

import { clock, el, plural } from "/shared/el.js";
import { STATES } from "./axis.js";
import { Listener } from "./listener.js";
import { channelName } from "./names.js";

const REFRESH_MS = 2_000;

export class LiveCalls {
  #access;
  #view;
  #names;
  #onEnded;
  #rows = new Map(); // call id → {root, …}
  #listening = null; // {id, listener}

  /** `names`: of agents, by id; `onEnded()`: a call is no longer in progress. */
  constructor(access, view, names, onEnded) {
    this.#access = access;
    this.#view = view;
    this.#names = names;
    this.#onEnded = onEnded;
    this.#follow();
    addEventListener("pagehide", () => this.#stop());
  }

  /** Asks again and again, while somebody looks. */
  async #follow() {
    for (;;) {
      if (!document.hidden) await this.#refresh().catch((error) => (this.#view.fault.textContent = error.message));
      await new Promise((resolve) => setTimeout(resolve, REFRESH_MS));
      if (document.hidden) await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
    }
  }

  async #refresh() {
    const calls = (await this.#access.get("/api/sessions", { query: { limit: 100 } })).filter((call) => call.channel !== "rest");
    const ids = new Set(calls.map((call) => call.id));
    let ended = false;
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      if (this.#listening?.id === id) this.#stop();
      row.root.remove();
      this.#rows.delete(id);
      ended = true;
    }
    const { liveRows } = this.#view;
    calls.forEach((call, i) => {
      if (!this.#rows.has(call.id)) this.#rows.set(call.id, this.#row(call));
      const row = this.#rows.get(call.id);
      this.#fill(row, call);
      if (liveRows.children[i] !== row.root) liveRows.insertBefore(row.root, liveRows.children[i] ?? null);
    });
    this.#view.live.hidden = !calls.length;
    this.#view.liveCount.textContent = plural(calls.length, "call");
    if (ended) this.#onEnded();
  }

  #row(call) {
    const [state, seconds, turns] = [el("span", { class: "state" }), el("span", { class: "lasted" }), el("span", { class: "turns" })];
    const name = this.#names.get(call.agentId) ?? "No agent";
    const listen = el("button", { class: "button small", type: "button", "aria-pressed": "false" }, "Listen in");
    const hangUp = el("button", { class: "button small danger", type: "button" }, "Hang up");
    listen.setAttribute("aria-label", `Listen in to the call with ${name}`);
    hangUp.setAttribute("aria-label", `Hang up the call with ${name}`);
    listen.addEventListener("click", () => this.#toggle(call.id));
    hangUp.addEventListener("click", () => this.#hangUp(call.id, hangUp));
    const facts = el("span", { class: "via" }, channelName(call.channel));
    const root = el("li", { class: "live-row" }, el("span", { class: "agent" }, name), state, facts, turns, seconds, el("span", { class: "live-actions" }, listen, hangUp));
    return { root, state, seconds, turns, listen };
  }

  #fill(row, call) {
    row.state.textContent = (STATES[call.state] ?? [call.state])[0];
    row.state.dataset.state = call.state;
    row.seconds.textContent = clock(call.seconds * 1000, 0);
    row.turns.textContent = plural(call.turns, "turn");
  }

  async #toggle(id) {
    const same = this.#listening?.id === id;
    this.#stop();
    if (same) return;
    const listener = new Listener();
    this.#listening = { id, listener };
    this.#show(id, true);
    const ended = (reason) => {
      if (this.#listening?.listener !== listener) return;
      this.#stop();
      if (reason) this.#view.fault.textContent = reason;
    };
    try {
      listener.open(id, await this.#access.key(), ended);
    } catch (error) {
      ended(error.message);
    }
  }

  #show(id, on) {
    const button = this.#rows.get(id)?.listen;
    button?.setAttribute("aria-pressed", String(on));
    if (button) button.textContent = on ? "Stop" : "Listen in";
  }

  #stop() {
    if (!this.#listening) return;
    const { id, listener } = this.#listening;
    this.#listening = null;
    listener.close();
    this.#show(id, false);
  }

  async #hangUp(id, button) {
    button.disabled = true;
    try {
      await this.#access.post(`/api/sessions/${id}/commands`, { type: "hang_up" });
    } catch (error) {
      this.#view.fault.textContent = error.message;
      button.disabled = false;
    }
  }
}
