// The axis of a call: ruler, both voices, what was said, tool uses and states, drawn on one canvas as
// wide as the window, which scrolls over an axis as long as the zoom makes it.

import { clock, span } from "/shared/el.js";

const HOUR = 3_600_000;
const TICKS = [50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, HOUR];
const MOST_PER_SECOND = 800; // px
const RULER = 24;
const GAP = 6;
const PAD = 7; // beside the axis, so that the playhead is whole at both ends
export const STATES = {
  listening: ["Listening", "--state-listening"], user_speaking: ["Caller speaks", "--you"], endpointing: ["Endpointing", "--stage-endpointing"],
  thinking: ["Thinking", "--stage-llm"], using_tools: ["Using tools", "--stage-gateway"], speaking: ["Agent speaks", "--blab"], barge_in: ["Barge-in", "--danger"],
};
export const MARKS = {
  interruption: "Interrupted", backchannel: "Backchannel", sound: "Sound", hold: "Paused", resume: "Went on", key: "Key", language: "Language",
  idle: "Silence", fault: "Fault", session: "Session changed", resumed: "Call resumed", end: "End",
};
export const DRAWN = { interruption: "--danger", backchannel: "--you", resume: "--blab", resumed: "--ink", fault: "--danger", key: "--soft" };

export class Axis extends EventTarget {
  #perSecond = 0; // px; 0: the whole call fits
  #extent; // ms that have room
  #ms = 0;
  #asked = false;
  #colours = {};
  timeline = null;
  peaks = {};
  parts = [];
  gaps = []; // without a connection: {fromMs, toMs}

  /** `scroller` holds `space` (as wide as the axis) with `stage` (as wide as the window). */
  constructor({ scroller, space, canvas, playhead, tip }, durationMs) {
    super();
    Object.assign(this, { scroller, space, canvas, playhead, tip, durationMs: Math.max(1, durationMs) });
    this.#extent = this.durationMs;
    this.context = canvas.getContext("2d");
    new ResizeObserver(() => this.#resize()).observe(scroller);
    scroller.addEventListener("scroll", () => {
      this.draw();
      this.dispatchEvent(new Event("view"));
    });
    scroller.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#hover(event));
    canvas.addEventListener("pointerleave", () => (tip.hidden = true));
    document.addEventListener("themechange", () => {
      this.#colours = {};
      this.draw();
    });
  }

  get width() {
    return this.scroller.clientWidth;
  }

  get perSecond() {
    return this.#perSecond || this.#fits;
  }

  get #fits() {
    return (Math.max(1, this.width - 2 * PAD) * 1000) / this.#extent;
  }

  /** Leaves room for a call of this length, so that two lie on the same scale. */
  scale(ms) {
    this.#extent = Math.max(ms, this.durationMs);
    this.#resize();
  }

  #x = (ms) => PAD + (ms * this.perSecond) / 1000 - this.scroller.scrollLeft;
  at = (x) => Math.max(0, Math.min(this.durationMs, ((x - PAD + this.scroller.scrollLeft) * 1000) / this.perSecond));

  /** Shows the axis as another one is shown. */
  follow(other) {
    this.#perSecond = other.#perSecond;
    this.#resize();
    this.scroller.scrollLeft = other.scroller.scrollLeft;
  }

  /** Zooms by a factor around a place of the window (default: the playhead); 0: the whole call. */
  zoom(factor, x = Math.max(0, Math.min(this.width, this.#x(this.#ms)))) {
    const ms = this.at(x);
    const wanted = factor ? Math.min(MOST_PER_SECOND, this.perSecond * factor) : 0;
    this.#perSecond = wanted > this.#fits * 1.01 ? wanted : 0;
    this.#resize();
    this.scroller.scrollLeft = PAD + (ms * this.perSecond) / 1000 - x;
    this.dispatchEvent(new Event("view"));
  }

  /** Moves the playhead; `follow`: keep it in view. */
  set(ms, follow) {
    this.#ms = ms;
    const x = this.#x(ms);
    if (follow && this.#perSecond && (x < 0 || x > this.width * 0.92)) this.scroller.scrollLeft += x - this.width * 0.15;
    this.playhead.style.transform = `translateX(${this.#x(ms).toFixed(2)}px)`;
  }

  draw() {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => {
      this.#asked = false;
      this.#paint();
    });
  }

  #resize() {
    const { width, canvas } = this;
    if (!width) return;
    const height = canvas.clientHeight;
    this.space.style.width = this.#perSecond ? `${Math.ceil((this.#extent * this.#perSecond) / 1000) + 2 * PAD}px` : "100%";
    canvas.width = Math.round(width * devicePixelRatio);
    canvas.height = Math.round(height * devicePixelRatio);
    const tools = this.timeline?.tools.length ? 20 : 0;
    const wave = Math.floor((height - RULER - 16 - 2 * GAP - tools - 2) / 2);
    this.lanes = { caller: RULER, agent: RULER + wave + GAP, tools: RULER + 2 * wave + 2 * GAP, states: height - 16, wave, height };
    this.draw();
  }

  refresh = () => this.#resize();

  // ------------------------------------------------------------------ painting

  #colour(name) {
    if (!this.#colours[name]) {
      this.canvas.style.color = `var(${name})`;
      this.#colours[name] = getComputedStyle(this.canvas).color;
      this.canvas.style.color = "";
    }
    return this.#colours[name];
  }

  #fill(name, alpha = 1) {
    this.context.fillStyle = this.#colour(name);
    this.context.globalAlpha = alpha;
  }

  #box(fromMs, toMs, y, height, radius = 0) {
    const x = this.#x(fromMs);
    const width = Math.max(1, this.#x(toMs) - x);
    if (x > this.width || x + width < 0) return;
    this.context.beginPath();
    this.context.roundRect(x, y, width, height, Math.min(radius, width / 2));
    this.context.fill();
  }

  #paint() {
    const { context, lanes, timeline } = this;
    if (!lanes) return;
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, this.width, lanes.height);
    this.#ruler();
    for (const gap of this.gaps) this.#hatch(gap);
    if (timeline) this.#said(timeline);
    this.#wave("caller", "--you");
    this.#wave("agent", "--blab");
    if (timeline) this.#rest(timeline);
    context.globalAlpha = 1;
    this.set(this.#ms, false);
  }

  #ruler() {
    const { context, lanes } = this;
    const step = TICKS.find((ms) => (ms * this.perSecond) / 1000 > 72) ?? HOUR;
    context.font = "11px ui-sans-serif, system-ui, sans-serif";
    context.textBaseline = "middle";
    for (let ms = Math.floor(this.at(0) / step) * step; ms <= this.at(this.width); ms += step) {
      const x = Math.round(this.#x(ms));
      this.#fill("--line");
      context.fillRect(x, RULER - 6, 1, lanes.height - RULER + 6);
      this.#fill("--soft");
      const label = clock(ms, step < 1000 ? (step < 100 ? 2 : 1) : 0);
      if (x > -4 && x + 4 + context.measureText(label).width < this.width) context.fillText(label, x + 4, 10);
    }
  }

  #hatch({ fromMs, toMs }) {
    const { context, lanes } = this;
    const [from, to] = [this.#x(fromMs), this.#x(toMs)].map((x) => Math.max(0, Math.min(this.width, x)));
    context.save();
    context.beginPath();
    context.rect(from, RULER, to - from, lanes.height - RULER);
    context.clip();
    this.#fill("--line");
    for (let x = Math.floor((from - lanes.height) / 8) * 8; x < to; x += 8) {
      context.beginPath();
      [[x, lanes.height], [x + 2, lanes.height], [x + 2 + lanes.height, 0], [x + lanes.height, 0]].forEach((point) => context.lineTo(...point));
      context.fill();
    }
    context.restore();
  }

  /** Behind the waves: who said what; what took no turn is paler. */
  #said({ turns, agentSpeech }) {
    const { lanes } = this;
    for (const turn of turns) {
      this.#fill("--you", turn.outcome === "turn" ? 0.15 : 0.07);
      this.#box(turn.fromMs, turn.toMs, lanes.caller, lanes.wave, 6);
    }
    for (const speech of agentSpeech) {
      this.#fill("--blab", 0.13);
      this.#box(speech.fromMs, speech.toMs, lanes.agent, lanes.wave, 6);
    }
  }

  #wave(voice, name) {
    const { context, lanes } = this;
    const middle = lanes[voice] + lanes.wave / 2;
    this.#fill(name, 0.35);
    const begins = Math.max(0, this.#x(0));
    context.fillRect(begins, middle, Math.min(this.width, this.#x(this.durationMs)) - begins, 1);
    const peaks = this.peaks[voice];
    if (!peaks) return;
    this.#fill(name);
    const most = lanes.wave / 2 - 3;
    context.beginPath();
    for (let x = Math.floor(Math.max(0, this.#x(0))); x < Math.min(this.width, this.#x(this.durationMs)); x += 1) {
      const ms = this.at(x);
      const peak = peaks.between(ms, ms + 1000 / this.perSecond);
      if (peak < 0.004) continue;
      const size = Math.max(0.75, Math.sqrt(peak) * most); // quiet speech can be seen, too
      context.rect(x, middle - size, 1, 2 * size);
    }
    context.fill();
  }

  #rest({ states, tools, replies, marks }) {
    const { context, lanes } = this;
    for (const state of states) {
      this.#fill((STATES[state.state] ?? STATES.listening)[1], state.state === "listening" ? 1 : 0.85);
      this.#box(state.fromMs, state.toMs, lanes.states + 2, 10, 2);
    }
    for (const tool of tools) {
      this.#fill(tool.failed ? "--danger" : "--stage-gateway", 0.9);
      this.#box(tool.fromMs, tool.toMs ?? this.durationMs, lanes.tools + 2, 14, 4);
    }
    for (const reply of replies) { // from the caller's last sound to the first of the answer
      if (!reply.latency || reply.fromMs === null) continue;
      this.#fill("--soft", 0.75);
      this.#box(reply.fromMs - reply.latency.totalMs, reply.fromMs, lanes.agent + lanes.wave / 2 - 1, 3, 1);
    }
    for (const mark of marks) {
      if (!(mark.kind in DRAWN)) continue;
      const x = Math.round(this.#x(mark.atMs));
      if (x < -8 || x > this.width + 8) continue;
      this.#fill(DRAWN[mark.kind]);
      if (mark.kind === "interruption" || mark.kind === "fault") context.fillRect(x, RULER, 1.5, lanes.states - RULER);
      context.beginPath();
      if (mark.kind === "interruption") context.roundRect(x - 4, RULER - 5, 9.5, 9.5, 2);
      else if (mark.kind === "resume") [[-3.5, -4.5], [4.5, 0], [-3.5, 4.5]].forEach(([dx, dy]) => context.lineTo(x + dx, RULER + dy));
      else context.arc(x + 0.5, RULER, 4, 0, 7);
      context.fill();
    }
    for (const part of this.parts.slice(1)) {
      this.#fill("--ink", 0.6);
      context.fillRect(Math.round(this.#x(part.beginsMs)), RULER, 1, lanes.states - RULER);
    }
  }

  // ------------------------------------------------------------------ pointer

  #press(event) {
    if (event.button !== 0) return;
    const seek = (moved) => this.dispatchEvent(new CustomEvent("seek", { detail: this.at(moved.clientX - this.canvas.getBoundingClientRect().left) }));
    const touch = event.pointerType === "touch";
    if (!touch) this.canvas.setPointerCapture(event.pointerId);
    const done = new AbortController();
    const { signal } = done;
    if (!touch) {
      seek(event);
      this.canvas.addEventListener("pointermove", seek, { signal });
    }
    this.canvas.addEventListener("pointerup", (up) => (touch && seek(up), done.abort()), { signal });
    this.canvas.addEventListener("pointercancel", () => done.abort(), { signal });
  }

  #wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / 200), event.clientX - this.scroller.getBoundingClientRect().left);
  }

  #hover(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - left, event.clientY - top];
    const text = this.lanes ? this.#under(x, y) : "";
    this.tip.hidden = event.pointerType === "touch";
    this.tip.textContent = clock(this.at(x), 2) + (text ? `  ${text}` : "");
    const width = this.tip.offsetWidth;
    this.tip.style.transform = `translateX(${Math.max(4, Math.min(this.width - width - 4, x - width / 2))}px)`;
  }

  #under(x, y) {
    const { lanes, timeline } = this;
    if (!timeline) return "";
    const ms = this.at(x);
    const close = (6 * 1000) / this.perSecond;
    const within = (one) => ms >= one.fromMs && ms <= (one.toMs ?? this.durationMs);
    const mark = timeline.marks.find((one) => one.kind in DRAWN && Math.abs(one.atMs - ms) < close && y < lanes.caller + 12);
    const gap = this.gaps.find(within);
    if (gap) return `no connection, ${span(gap.toMs - gap.fromMs)}`;
    if (mark) return [MARKS[mark.kind] ?? mark.kind, mark.text && `“${mark.text}”`].filter(Boolean).join(" ");
    if (y >= lanes.states) {
      const state = timeline.states.find(within);
      return state ? `${(STATES[state.state] ?? [state.state])[0]}, ${span(state.toMs - state.fromMs)}` : "";
    }
    if (y >= lanes.tools) {
      const tool = timeline.tools.find(within);
      return tool ? `${tool.name}, ${tool.toMs === null ? "no answer" : span(tool.toMs - tool.fromMs)}${tool.failed ? ", failed" : ""}` : "";
    }
    if (y >= lanes.agent) {
      const reply = timeline.replies.find((one) => one.fromMs !== null && ms >= one.fromMs - (one.latency?.totalMs ?? 0) && ms <= one.toMs);
      if (reply && ms < reply.fromMs) return `answers after ${span(reply.latency.totalMs)}`;
      return reply ? short(reply.clauses.find((one) => one.fromMs !== null && within(one))?.text ?? reply.heard) : "";
    }
    const turn = timeline.turns.find(within);
    return turn ? short(turn.text || turn.outcome) : "";
  }
}

const short = (text) => (text.length > 60 ? `${text.slice(0, 58).trimEnd()}…` : text.trim());
