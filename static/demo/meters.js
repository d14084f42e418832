// Level meters and the orb: one requestAnimationFrame loop, running only during a call.

const FLOOR_DB = -56;
const CEILING_DB = -12;
const POINTS = 96;
const REPORT_MS = 250;

/** A smoothed level 0..1 of an AnalyserNode: fast up, slow down. */
class Level {
  constructor() {
    this.value = 0;
    this.samples = new Float32Array(1024);
  }

  read(analyser) {
    let target = 0;
    if (analyser) {
      analyser.getFloatTimeDomainData(this.samples);
      let sum = 0;
      for (const sample of this.samples) sum += sample * sample;
      const db = 10 * Math.log10(sum / this.samples.length + 1e-10);
      target = Math.min(1, Math.max(0, (db - FLOOR_DB) / (CEILING_DB - FLOOR_DB)));
    }
    this.value += (target - this.value) * (target > this.value ? 0.5 : 0.14);
    return this.value;
  }
}

/** Shows a level as a bar (scaled, so that only the compositor works) and to assistive technology. */
class Bar {
  constructor(element) {
    this.element = element;
    this.fill = element.querySelector(".fill");
    this.reported = 0;
  }

  show(value, now) {
    this.fill.style.transform = `scaleX(${value.toFixed(3)})`;
    if (now - this.reported < REPORT_MS) return;
    this.reported = now;
    const percent = Math.round(value * 100);
    this.element.setAttribute("aria-valuenow", percent);
    this.element.setAttribute("aria-valuetext", percent < 8 ? "silent" : `${percent} percent`);
  }
}

export class Meters {
  #frame = 0;
  #you = new Level();
  #blab = new Level();
  #recoil = 0;
  #still = matchMedia("(prefers-reduced-motion: reduce)");

  /** Elements of the page: canvas and the two role=meter elements. */
  constructor({ canvas, youMeter, blabMeter }) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.youBar = new Bar(youMeter);
    this.blabBar = new Bar(blabMeter);
    this.input = null;
    this.output = null;
    this.held = false;
    new ResizeObserver(() => this.#resize()).observe(canvas);
    document.addEventListener("themechange", () => this.#readColours());
    this.#readColours();
  }

  /** Begins to follow two analysers (either may be null). */
  start(input, output) {
    this.input = input;
    this.output = output;
    if (!this.#frame) this.#frame = requestAnimationFrame((now) => this.#tick(now));
  }

  stop() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.input = this.output = null;
    this.held = false;
    this.#you = new Level();
    this.#blab = new Level();
    this.youBar.show(0, Infinity);
    this.blabBar.show(0, Infinity);
    this.youBar.reported = this.blabBar.reported = 0;
    this.#draw(0, 0, 0);
  }

  /** The agent was interrupted: the orb flinches. */
  interrupt() {
    this.#recoil = 1;
  }

  #tick(now) {
    const you = this.#you.read(this.input);
    const blab = this.held ? this.#blab.read(null) : this.#blab.read(this.output);
    this.youBar.show(you, now);
    this.blabBar.show(blab, now);
    this.#draw(you, blab, now);
    this.#frame = requestAnimationFrame((next) => this.#tick(next));
  }

  #resize() {
    const scale = Math.min(2, devicePixelRatio || 1);
    const size = this.canvas.clientWidth;
    this.canvas.width = this.canvas.height = Math.round(size * scale);
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
    this.size = size;
    this.#draw(this.#you.value, this.#blab.value, 0);
  }

  #readColours() {
    const style = getComputedStyle(this.canvas);
    const probe = (name) => {
      this.canvas.style.color = `var(${name})`;
      return style.color;
    };
    this.colours = { you: probe("--you"), blab: probe("--blab"), blabLight: probe("--blab-light"), glow: probe("--glow") };
    // The same hue with no opacity: fading to "transparent" would pass through grey.
    this.colours.glowEdge = this.colours.glow.replace("rgb(", "rgba(").replace(")", ", 0)");
    this.canvas.style.color = "";
    if (this.size) this.#draw(this.#you.value, this.#blab.value, 0);
  }

  /** Inside: what the agent says, as a breathing body. Outside: what the caller says, as rings. */
  #draw(you, blab, now) {
    const { context, size, colours } = this;
    if (!size) return;
    const time = this.#still.matches ? 0 : now / 1000;
    this.#recoil *= 0.9;
    const recoil = this.#still.matches ? 0 : this.#recoil;
    const centre = size / 2;
    const body = size * (0.285 + 0.085 * blab - 0.045 * recoil);
    context.clearRect(0, 0, size, size);
    this.#halo(centre, body * 1.75, blab);
    this.#ring(centre, size * (0.36 + 0.09 * you), 0.012 * size * you, time * 1.3, colours.you, 0.25 + 0.75 * you, 2 + 3 * you);
    this.#ring(centre, size * (0.385 + 0.1 * you), 0.02 * size * you, -time, colours.you, 0.7 * you, 1.5);
    this.#blob(centre, body, size * (0.006 + 0.03 * blab), time * 1.6);
  }

  #halo(centre, reach, strength) {
    const radius = Math.min(reach, centre);
    const { context, colours } = this;
    const gradient = context.createRadialGradient(centre, centre, radius * 0.4, centre, centre, radius);
    gradient.addColorStop(0, colours.glow);
    gradient.addColorStop(1, colours.glowEdge);
    context.globalAlpha = 0.35 + 0.65 * strength;
    context.fillStyle = gradient;
    context.beginPath();
    context.arc(centre, centre, radius, 0, 2 * Math.PI);
    context.fill();
    context.globalAlpha = 1;
  }

  #ring(centre, radius, wobble, phase, colour, alpha, width) {
    const { context } = this;
    context.globalAlpha = alpha;
    context.strokeStyle = colour;
    context.lineWidth = width;
    this.#outline(centre, Math.min(radius, centre - width - wobble), wobble, phase);
    context.stroke();
    context.globalAlpha = 1;
  }

  #blob(centre, radius, wobble, phase) {
    const { context, colours } = this;
    context.globalAlpha = this.held ? 0.25 : 0.92;
    const light = context.createRadialGradient(centre - radius * 0.4, centre - radius * 0.5, 0, centre, centre, radius * 1.15);
    light.addColorStop(0, colours.blabLight);
    light.addColorStop(1, colours.blab);
    context.fillStyle = light;
    this.#outline(centre, radius, wobble, phase);
    context.fill();
    context.globalAlpha = 1;
  }

  /** A closed, slightly wavy circle. */
  #outline(centre, radius, wobble, phase) {
    const { context } = this;
    context.beginPath();
    for (let point = 0; point <= POINTS; point++) {
      const angle = (point / POINTS) * 2 * Math.PI;
      const wave = Math.sin(3 * angle + phase) + 0.6 * Math.sin(5 * angle - 1.4 * phase);
      const r = radius + wobble * wave;
      context.lineTo(centre + r * Math.cos(angle), centre + r * Math.sin(angle));
    }
    context.closePath();
  }
}
