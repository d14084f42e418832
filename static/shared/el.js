// Elements and figures, as all rooms write them.

/** An element; `properties` are set as such, `data` and `aria-…` as attributes, `class` as its classes. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") made.className = value;
    else if (name === "data") Object.assign(made.dataset, value);
    else if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** The elements of a clone of a template, by their `data-part`. */
export function parts(id) {
  const root = document.getElementById(id).content.cloneNode(true).firstElementChild;
  const found = { root };
  for (const one of root.querySelectorAll("[data-part]")) found[one.dataset.part] = one;
  return found;
}

/** 83400 → "1:23.4"; with no `digits`, "1:23". */
export function clock(ms, digits = 1) {
  const unit = 10 ** digits;
  const whole = Math.floor(Math.max(0, ms) * unit / 1000 + 1e-6);
  const seconds = Math.floor(whole / unit);
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  const behind = digits ? `.${String(whole % unit).padStart(digits, "0")}` : "";
  return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(seconds % 60)}${behind}`;
}

/** 640 → "640 ms", 1210 → "1.21 s". */
export const span = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`);

const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const TIME = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** The day of a moment, in words. */
export function day(iso) {
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(iso).setHours(0, 0, 0, 0)) / 86_400_000);
  return days === 0 ? "Today" : days === 1 ? "Yesterday" : DAY.format(new Date(iso));
}
export const time = (iso) => TIME.format(new Date(iso));
export const moment = (iso) => MOMENT.format(new Date(iso));

export const plural = (count, one) => `${count.toLocaleString()} ${one}${count === 1 ? "" : "s"}`;

/** The middle one. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : Math.round((sorted[middle - 1] + sorted[middle]) / 2);
}

const AGO = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
/** Seconds of each unit, and how many of them are named in it. */
const UNITS = [["second", 1, 60], ["minute", 60, 60], ["hour", 3600, 36], ["day", 86_400, 60], ["month", 2_629_800, 18], ["year", 31_557_600, Infinity]];

/** How long ago a moment was, or how far ahead it is, in words; with the moment itself as its title. */
export function ago(iso) {
  const seconds = (new Date(iso) - Date.now()) / 1000;
  const [unit, size] = UNITS.find(([, one, most]) => Math.round(Math.abs(seconds) / one) < most);
  const text = unit === "second" && Math.abs(seconds) < 10 ? "just now" : AGO.format(Math.round(seconds / size), unit);
  return el("time", { dateTime: iso, title: moment(iso) }, text);
}
