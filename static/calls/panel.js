// One call, looked at: its axis with what plays it, and its transcript.

import { clock, el, median, moment, parts, plural, span } from "/shared/el.js";
import { Axis, DRAWN, MARKS, STATES } from "./axis.js";
import { agentName, channelName, reasonName } from "./names.js";
import { Sound } from "./sound.js";
import { Transcript, entriesOf, untimedEntries } from "./transcript.js";

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2];

export class Panel extends EventTarget {
  #access;
  #sound = new Sound();
  #speed = 1;
  #sought = false;

  /** `call`: as the server has it; `timeline`: null where there is none; `why`: then the reason. */
  constructor(access, call, timeline, why) {
    super();
    this.#access = access;
    Object.assign(this, { call, timeline });
    this.view = parts("panel");
    const { view } = this;
    view.agent.textContent = agentName(call);
    view.facts.replaceChildren(...facts(call, timeline));
    const gaps = gapsOf(call.parts);
    const entries = timeline ? entriesOf(timeline, gaps) : untimedEntries(call.turns);
    this.transcript = new Transcript(view.entries, entries);
    view.nothing.hidden = entries.length > 0;
    view.why.hidden = !why;
    view.why.textContent = why ?? "";
    view.studio.hidden = !timeline;
    if (timeline) this.#studio(gaps);
  }

  get root() {
    return this.view.root;
  }

  #studio(gaps) {
    const { view, timeline } = this;
    const ends = Math.max(timeline.durationMs, ...this.call.parts.map((part) => part.beginsMs + (part.durationMs ?? 0)));
    this.axis = new Axis(view, ends);
    Object.assign(this.axis, { timeline, parts: this.call.parts, gaps });
    this.axis.refresh();
    view.length.textContent = clock(ends);
    view.scroller.setAttribute("aria-valuemax", Math.round(ends / 1000));
    view.legend.replaceChildren(...legend(timeline, gaps));
    this.axis.addEventListener("seek", (event) => this.seek(event.detail));
    this.axis.addEventListener("view", () => this.dispatchEvent(new Event("view")));
    this.transcript.addEventListener("play", ({ detail }) => this.play(detail.fromMs, detail.toMs));
    this.#sound.addEventListener("move", () => this.#moved());
    this.#sound.addEventListener("change", () => this.#changed());
    view.play.addEventListener("click", () => this.toggle());
    view.zoomIn.addEventListener("click", () => this.axis.zoom(1.6));
    view.zoomOut.addEventListener("click", () => this.axis.zoom(1 / 1.6));
    view.fit.addEventListener("click", () => this.axis.zoom(0));
    view.speed.append(...SPEEDS.map((speed) => el("option", { value: speed, selected: speed === 1 }, `${speed}×`)));
    view.speed.addEventListener("change", () => this.#setSpeed(Number(view.speed.value)));
    for (const [name, button] of [["caller", view.callerVoice], ["agent", view.agentVoice]]) {
      button.addEventListener("click", () => {
        const muted = button.getAttribute("aria-pressed") === "true";
        this.#sound.mute(name, muted);
        button.setAttribute("aria-pressed", String(!muted));
      });
    }
  }

  /** Fetches the sound; the page can be read meanwhile. */
  async load() {
    if (!this.timeline) return;
    const { view } = this;
    const stored = this.call.parts.filter((part) => part.callerUrl || part.agentUrl);
    try {
      await this.#sound.load(stored, this.axis.durationMs, (url) => this.#access.file(url), (share) => {
        this.axis.peaks = this.#sound.peaks;
        this.axis.draw();
        view.status.textContent = `Decoding ${Math.round(share * 100)} %`;
      });
      view.status.textContent = "";
      view.play.disabled = false;
      this.root.dataset.sound = "ready";
    } catch (error) {
      view.status.textContent = `The sound cannot be played: ${error.message}`;
      this.root.dataset.sound = "failed";
    }
    this.#moved();
  }

  get ms() {
    return this.#sound.ms;
  }

  get playing() {
    return this.#sound.playing;
  }

  seek(ms) {
    this.#sought = true;
    this.#sound.ms = Math.min(ms, this.axis.durationMs);
    this.dispatchEvent(new Event("seek"));
  }

  play(fromMs, toMs) {
    this.#sound.play(fromMs, toMs);
    if (fromMs !== undefined && !this.#sound.loaded) this.#sound.ms = fromMs;
    this.dispatchEvent(new Event("seek"));
  }

  pause() {
    this.#sound.pause();
  }

  toggle() {
    this.#sound.toggle();
  }

  close() {
    this.#sound.close();
  }

  /** To the turn or answer before or behind. */
  step(direction) {
    const now = this.ms;
    const found = direction > 0 ? this.transcript.beginnings.find((ms) => ms > now + 50) : this.transcript.beginnings.findLast((ms) => ms < now - 400);
    if (found !== undefined || direction < 0) this.seek(found ?? 0);
  }

  /** Whether it knows the key. */
  press(key) {
    if (!this.timeline) return false;
    const actions = {
      " ": () => this.toggle(), ArrowLeft: () => this.seek(this.ms - 3000), ArrowRight: () => this.seek(this.ms + 3000),
      j: () => this.step(1), k: () => this.step(-1), Home: () => this.seek(0), End: () => this.seek(this.axis.durationMs),
      "+": () => this.axis.zoom(1.6), "=": () => this.axis.zoom(1.6), "-": () => this.axis.zoom(1 / 1.6), 0: () => this.axis.zoom(0),
      "<": () => this.#faster(-1), ">": () => this.#faster(1),
    };
    actions[key]?.();
    return key in actions;
  }

  #faster(by) {
    this.#setSpeed(SPEEDS[Math.max(0, Math.min(SPEEDS.length - 1, SPEEDS.indexOf(this.#speed) + by))]);
  }

  #setSpeed(speed) {
    this.#speed = speed;
    this.view.speed.value = speed;
    this.#sound.speed = speed;
  }

  #changed() {
    const { play } = this.view;
    play.dataset.shows = this.playing ? "pause" : "play";
    play.setAttribute("aria-label", this.playing ? "Pause" : "Play");
    this.dispatchEvent(new Event("change"));
  }

  #moved() {
    const { view, ms } = this;
    view.position.textContent = clock(ms);
    this.axis.set(ms, this.playing);
    this.transcript.set(ms, this.playing || this.#sought);
    this.#sought = false;
    const state = this.timeline.states.find((one) => ms >= one.fromMs && ms < one.toMs);
    view.scroller.setAttribute("aria-valuenow", Math.round(ms / 1000));
    view.scroller.setAttribute("aria-valuetext", `${clock(ms)} of ${clock(this.axis.durationMs)}${state ? `, ${(STATES[state.state] ?? [state.state])[0]}` : ""}`);
  }
}

function facts(call, timeline) {
  const totals = (timeline ? timeline.replies.map((reply) => !reply.script && reply.latency) : call.turns.map((turn) => turn.latencies)).map((one) => one?.totalMs).filter(Boolean);
  const cuts = timeline ? timeline.marks.filter((mark) => mark.kind === "interruption").length : call.turns.filter((turn) => turn.interrupted).length;
  const shown = [
    ["Began", moment(call.startedAt)],
    ["Lasted", clock(call.durationMs, 0)],
    ["Channel", channelName(call.channel)],
    call.agentId && ["Agent", el("a", { href: `/agents/${call.agentId}` }, call.agentVersion ? `Version ${call.agentVersion}` : "Open")],
    ["Turns", String(call.turnCount)],
    totals.length && ["Answers after", span(median(totals)), `median of ${totals.length}, the slowest ${span(Math.max(...totals))}`],
    cuts && ["Interruptions", String(cuts)],
    timeline?.tools.length && ["Tool uses", String(timeline.tools.length)],
    ["Ended", call.status === "live" ? "in progress" : reasonName(call.endReason ?? "ended")],
    call.recording && ["Consent", call.recording.consent ? "announced" : "not announced"],
    call.recording?.expiresAt && ["Kept until", moment(call.recording.expiresAt)],
    call.parts.length > 1 && ["Recorded in", plural(call.parts.length, "part")],
  ];
  return shown.filter(Boolean).map(([name, value, title]) => el("div", { title }, el("dt", {}, name), el("dd", {}, value)));
}

/** When the call had no connection: between one part and the next. */
function gapsOf(parts) {
  const between = parts.slice(1).map((part, at) => ({ fromMs: parts[at].beginsMs + (parts[at].durationMs ?? Infinity), toMs: part.beginsMs }));
  return between.filter(({ fromMs, toMs }) => toMs - fromMs > 50);
}

function legend(timeline, gaps) {
  const seen = new Set(timeline.states.map((state) => state.state));
  const states = Object.entries(STATES).filter(([name]) => seen.has(name));
  const marks = Object.keys(DRAWN).filter((kind) => timeline.marks.some((mark) => mark.kind === kind));
  const waits = timeline.replies.some((reply) => reply.latency);
  const one = (kind, name, label) => el("li", { class: `${kind}-${name}` }, label);
  return [...states.map(([name, [label]]) => one("state", name, label)), ...(waits ? [el("li", { class: "wait" }, "Waiting for the answer")] : []), ...(gaps.length ? [el("li", { class: "gap" }, "No connection")] : []), ...marks.map((kind) => one("mark", kind, MARKS[kind]))];
}
