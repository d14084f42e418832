// The chart by day, by uPlot: a bar for each day. A table beside it says the same.

import { el } from "/shared/el.js";
import { date } from "./words.js";

const HEIGHT = 260;
const MOST_BAR = 48;

export class DayChart {
  #chart = null;
  #days = [];
  #measure = null;
  #plot = el("div", { class: "plot", role: "img" });
  #tip = el("p", { class: "tip", hidden: true, "aria-hidden": "true" });
  root = el("div", { class: "chart" }, this.#plot, this.#tip);

  constructor() {
    new ResizeObserver(() => this.#chart?.setSize(this.#size())).observe(this.#plot);
    document.addEventListener("themechange", () => this.#days.length && this.show(this.#days, this.#measure));
  }

  /** `days`: the server's, the oldest first; `measure`: one of MEASURES. */
  show(days, measure) {
    [this.#days, this.#measure] = [days, measure];
    const most = days.reduce((best, one) => (one[measure.field] > best[measure.field] ? one : best));
    this.#plot.setAttribute("aria-label", `${measure.name} by day, from ${date(days[0].day)} to ${date(days.at(-1).day)}; most on ${date(most.day)}: ${measure.text(most[measure.field])}. The table below has all days.`);
    this.#chart?.destroy();
    const { uPlot } = globalThis;
    const bars = uPlot.paths.bars({ size: [0.72, MOST_BAR], gap: 1, radius: 0.12 });
    const [fill, text, line] = ["--blab", "--soft", "--line"].map((name) => colour(this.root, name));
    const axis = { stroke: text, font: "12px system-ui, sans-serif", ticks: { show: false } };
    const options = {
      ...this.#size(),
      legend: { show: false },
      padding: [8, 4, 0, 0],
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      scales: { x: { range: (_, low, high) => [low - 43_200, high + 43_200] }, y: { range: (_, __, high) => [0, high > 0 ? high * 1.08 : 1] } },
      axes: [
        { ...axis, grid: { show: false }, values: (_, splits) => splits.map((seconds) => label(seconds)), size: 32, space: 62, incrs: [1, 2, 7, 14, 28, 61, 91].map((step) => step * 86_400) },
        { ...axis, grid: { stroke: line, width: 1 }, values: (_, splits) => splits.map((value) => measure.short(value)), size: measure.field === "audioMs" ? 62 : 52, space: 44, incrs: measure.field === "cost" ? undefined : steps(measure.field) },
      ],
      series: [{}, { paths: bars, fill, stroke: fill, width: 0, points: { show: false } }],
      hooks: { setCursor: [(chart) => this.#point(chart)] },
    };
    this.#chart = new uPlot(options, [days.map(({ day }) => Date.parse(`${day}T00:00:00Z`) / 1000), days.map((one) => one[measure.field])], this.#plot);
  }

  #size() {
    return { width: Math.max(240, this.#plot.clientWidth), height: HEIGHT };
  }

  #point(chart) {
    const { idx, left } = chart.cursor;
    const day = idx === null || left < 0 ? null : this.#days[idx];
    this.#tip.hidden = !day;
    if (!day) return;
    this.#tip.textContent = `${date(day.day)}: ${this.#measure.text(day[this.#measure.field])}`;
    const x = chart.valToPos(chart.data[0][idx], "x") + chart.bbox.left / devicePixelRatio;
    const half = this.#tip.offsetWidth / 2;
    this.#tip.style.left = `${Math.min(Math.max(0, x - half), this.root.clientWidth - 2 * half)}px`;
  }
}

const LABEL = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone: "UTC" });
const label = (seconds) => LABEL.format(new Date(seconds * 1000));

/** Whole numbers, or whole minutes and hours. */
function steps(field) {
  const found = [];
  if (field === "audioMs") for (const minutes of [0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3000, 6000, 12_000, 30_000]) found.push(minutes * 60_000);
  else for (let ten = 1; ten <= 1e12; ten *= 10) found.push(ten, 2 * ten, 5 * ten);
  return found;
}

/** A colour of the theme, as a canvas takes it. */
function colour(root, name) {
  const probe = el("span", { hidden: true });
  probe.style.color = `var(${name})`;
  root.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
