// Both tracks of a call on one time axis: waves, bands for what the agent does, marks where it was
// interrupted, a backchannel held it, it went on, or the connection came back.

const LANE = 56; // px: half above the axis of a track, half below
const BAND = 6;
const TOP = 18;
const BOTTOM = 20;
const PEAKS_A_SECOND = 50;
const LONGEST_VIEW = 600; // s
const SHORTEST_VIEW = 2;
const FIRST_VIEW = 30;
const STEPS = [0.5, 1, 2, 5, 10, 15, 30, 60, 120];

export const HEIGHT = TOP + 2 * LANE + BAND + BOTTOM;
export const MARKS = { interruption: "Interruption", backchannel: "Backchannel", resume: "Goes on", reconnect: "Reconnected" };
const SIGNS = { interruption: "✕", backchannel: "○", resume: "▸", reconnect: "↻" };

export class Timeline {
  #canvas;
  #context;
  #scale = 1;
  #colours = {};
  #dragged = null;
  #span = FIRST_VIEW;
  #to = FIRST_VIEW; // the right edge
  #follows = true; // the newest is kept in view
  playhead = null;
  onSeek = () => {};

  /** `source`: `{journal, recording}`. */
  constructor(canvas, source) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.source = source;
    new ResizeObserver(() => this.#resize()).observe(canvas);
    document.addEventListener("themechange", () => this.#readColours());
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#drag(event));
    canvas.addEventListener("pointerup", (event) => this.#release(event));
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.#readColours();
  }

  get #end() {
    return Math.max(this.source.recording.time, this.source.recording.end);
  }

  zoom(factor) {
    this.#span = Math.min(LONGEST_VIEW, Math.max(SHORTEST_VIEW, this.#span * factor));
    this.draw();
  }

  /** The whole call. */
  fit() {
    this.#span = Math.max(SHORTEST_VIEW, this.#end - this.source.recording.dropped);
    this.#follows = true;
    this.draw();
  }

  /** Brings a moment into view. */
  show(time) {
    this.#follows = false;
    this.#to = time + this.#span / 2;
    this.draw();
  }

  reset() {
    this.#span = this.#to = FIRST_VIEW;
    this.#follows = true;
    this.playhead = null;
    this.draw();
  }

  draw() {
    const { width } = this;
    if (!width) return;
    if (this.#follows) this.#to = Math.max(this.#span, this.#end);
    this.#to = Math.max(this.source.recording.dropped + this.#span, this.#to);
    const { journal, recording } = this.source;
    const context = this.#context;
    context.clearRect(0, 0, width, HEIGHT);
    this.#axis();
    this.#wave(recording.peaks[0], TOP + LANE / 2, this.#colours.you);
    this.#wave(recording.peaks[1], TOP + LANE + BAND + LANE / 2, this.#colours.blab);
    for (const band of journal.bands) this.#band(band);
    for (const mark of journal.marks) this.#mark(mark);
    if (this.playhead !== null) this.#line(this.playhead, this.#colours.ink, 0, HEIGHT - BOTTOM);
  }

  // ------------------------------------------------------------------ parts

  #x(time) {
    return ((time - this.#to) / this.#span + 1) * this.width;
  }

  #time(x) {
    return this.#to + (x / this.width - 1) * this.#span;
  }

  #axis() {
    const context = this.#context;
    const step = STEPS.find((each) => (each / this.#span) * this.width >= 56) ?? 300;
    context.fillStyle = this.#colours.soft;
    context.font = "11px ui-sans-serif, system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    const first = Math.max(0, Math.ceil((this.#to - this.#span) / step) * step);
    for (let time = first; time <= this.#to; time += step) {
      const x = this.#x(time);
      this.#line(time, this.#colours.line, TOP, HEIGHT - BOTTOM);
      const text = time % 1 ? time.toFixed(1) : time >= 60 ? `${Math.floor(time / 60)}:${String(time % 60).padStart(2, "0")}` : `${time}`;
      if (x > 12 && x < this.width - 12) context.fillText(text, x, HEIGHT - 6);
    }
  }

  /** One column a pixel: the loudest of the peaks that fall into it. */
  #wave(peaks, middle, colour) {
    const { dropped } = this.source.recording;
    const context = this.#context;
    context.fillStyle = colour;
    for (let x = 0; x < this.width; x++) {
      const from = Math.max(0, Math.floor((this.#time(x) - dropped) * PEAKS_A_SECOND));
      const to = Math.min(peaks.length, Math.max(from + 1, Math.ceil((this.#time(x + 1) - dropped) * PEAKS_A_SECOND)));
      let peak = 0;
      for (let i = from; i < to; i++) peak = Math.max(peak, peaks[i]);
      if (from >= peaks.length || this.#time(x) < dropped) continue;
      const half = Math.max(0.5, Math.sqrt(peak) * (LANE / 2 - 3));
      context.fillRect(x, middle - half, 1, 2 * half);
    }
  }

  #band({ from, to, state }) {
    if (state === "listening") return;
    const end = Math.min(this.width, this.#x(to ?? this.#end));
    const begin = Math.max(0, this.#x(from));
    if (end <= begin) return;
    this.#context.fillStyle = this.#colours[state];
    this.#context.fillRect(begin, TOP + LANE, Math.max(1, end - begin), BAND);
  }

  #mark({ time, kind }) {
    const x = this.#x(time);
    if (x < -8 || x > this.width + 8) return;
    const context = this.#context;
    const colour = this.#colours[kind];
    context.setLineDash([2, 3]);
    this.#line(time, colour, TOP, HEIGHT - BOTTOM);
    context.setLineDash([]);
    context.fillStyle = colour;
    context.font = "600 12px ui-sans-serif, system-ui, sans-serif";
    context.textAlign = "center";
    context.fillText(SIGNS[kind], x, TOP - 5);
  }

  #line(time, colour, from, to) {
    const x = Math.round(this.#x(time)) + 0.5;
    const context = this.#context;
    context.strokeStyle = colour;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x, from);
    context.lineTo(x, to);
    context.stroke();
  }

  // ------------------------------------------------------------------ hands

  #press(event) {
    this.#canvas.setPointerCapture(event.pointerId);
    this.#dragged = { x: event.offsetX, to: this.#to, moved: false };
  }

  #drag({ offsetX }) {
    const dragged = this.#dragged;
    if (!dragged) return;
    const moved = offsetX - dragged.x;
    dragged.moved ||= Math.abs(moved) > 4;
    if (dragged.moved) this.#move(dragged.to - (moved / this.width) * this.#span);
  }

  #release({ offsetX }) {
    const time = this.#time(offsetX);
    if (this.#dragged && !this.#dragged.moved && time >= 0 && time <= this.#end) this.onSeek(time);
    this.#dragged = null;
  }

  #wheel(event) {
    if (event.ctrlKey) this.zoom(Math.exp(event.deltaY / 200));
    else if (event.deltaX) this.#move(this.#to + (event.deltaX / this.width) * this.#span);
    else return;
    event.preventDefault();
  }

  #move(to) {
    this.#follows = to >= this.#end;
    this.#to = to;
    this.draw();
  }

  // ------------------------------------------------------------------ looks

  #resize() {
    this.#scale = Math.min(2, devicePixelRatio || 1);
    this.width = this.#canvas.clientWidth;
    this.#canvas.width = Math.round(this.width * this.#scale);
    this.#canvas.height = Math.round(HEIGHT * this.#scale);
    this.#context.setTransform(this.#scale, 0, 0, this.#scale, 0, 0);
    this.draw();
  }

  #readColours() {
    const style = getComputedStyle(this.#canvas);
    const names = { you: "--you", blab: "--blab", ink: "--ink", soft: "--soft", line: "--line" };
    Object.assign(names, { hearing: "--you", thinking: "--stage-token", speaking: "--blab", held: "--warn" });
    Object.assign(names, { interruption: "--danger", backchannel: "--you", resume: "--blab", reconnect: "--warn" });
    for (const [name, property] of Object.entries(names)) {
      this.#canvas.style.color = `var(${property})`;
      this.#colours[name] = style.color;
    }
    this.#canvas.style.color = "";
    this.draw();
  }
}
