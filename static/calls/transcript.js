// What was said in a call, in order, with the time of each word as far as it is known. Words that
// nobody heard are struck out. Below each answer, where its waiting time went.

import { clock, el, span } from "/shared/el.js";
import { MARKS } from "./axis.js";
import { timedWords } from "/shared/words.js";
import { wordsOfReply } from "./words.js";

export const STAGES = [
  ["endpointing", "Endpointing", "from the caller's last sound to the decision that the turn is over"],
  ["stt", "STT", "until the caller's words were final"],
  ["llm", "LLM", "until the first clause of the answer was written"],
  ["tts", "TTS", "until its first sound was made"],
  ["gateway", "Gateway", "until that sound left the server"],
];
const LEFT_ALONE_MS = 4000; // after the reader has scrolled
const NEAR_MS = 500;
const LINES = new Set(["key", "language", "idle", "fault", "session", "resumed"]);

/** Everything to show of a recorded call, by time; `gaps`: when it had no connection. */
export function entriesOf(timeline, gaps = []) {
  const gapAt = (ms, end) => gaps.find((gap) => Math.abs(gap[end] - ms) < NEAR_MS);
  const entries = [];
  const decided = new Map(timeline.turns.map((turn) => [turn.number, turn.decidedMs ?? turn.toMs]));
  for (const turn of timeline.turns) {
    if (!turn.text.trim() && turn.outcome !== "open") continue;
    const { fromMs, toMs, text, outcome } = turn;
    entries.push({ who: "you", fromMs, toMs, heard: timedWords(text || "…", fromMs, toMs), outcome });
  }
  for (const reply of timeline.replies) {
    if (!reply.text.trim()) continue;
    const fromMs = reply.fromMs ?? decided.get(reply.turn) ?? 0;
    const cut = reply.status === "cancelled" || reply.heard.length < reply.text.trimEnd().length;
    entries.push({ who: "blab", fromMs, toMs: reply.toMs ?? fromMs, ...wordsOfReply(reply), latency: reply.latency, cut, lost: cut && gapAt(reply.toMs, "fromMs"), silent: reply.fromMs === null });
  }
  for (const tool of timeline.tools) entries.push({ who: "tool", fromMs: tool.fromMs, toMs: tool.toMs ?? tool.fromMs, tool });
  for (const mark of timeline.marks) {
    if (!LINES.has(mark.kind)) continue;
    const gap = mark.kind === "resumed" && gapAt(mark.atMs, "toMs");
    const text = gap ? `${span(gap.toMs - gap.fromMs)} without a connection` : mark.text;
    entries.push({ who: "line", fromMs: mark.atMs, toMs: mark.atMs, mark: { ...mark, text } });
  }
  return entries.sort((a, b) => a.fromMs - b.fromMs);
}

/** The same of a call that was not recorded: nothing has a time. */
export function untimedEntries(turns) {
  return turns.flatMap((turn) => {
    const [said, text, heard] = [turn.userTranscript ?? "", turn.assistantText ?? "", turn.heardText ?? ""];
    const untimed = (words) => (words ? [{ text: words }] : []);
    const reply = { who: "blab", heard: untimed(text.startsWith(heard) ? heard : text), unheard: text.startsWith(heard) ? text.slice(heard.length) : "", latency: turn.latencies, cut: turn.interrupted };
    return [said && { who: "you", heard: untimed(said), outcome: "turn" }, text && reply].filter(Boolean);
  });
}

export class Transcript extends EventTarget {
  #entries;
  #items = [];
  #words = []; // {fromMs, toMs, node}, in order
  #current = null;
  #shown = null; // the item that was brought into view
  #said = null;
  #leftAt = -LEFT_ALONE_MS; // when the reader scrolled by themselves

  constructor(list, entries) {
    super();
    this.list = list;
    this.#entries = entries;
    this.slowest = Math.max(600, ...entries.map((entry) => entry.latency?.totalMs ?? 0));
    this.#items = entries.map((entry) => this.#item(entry));
    list.replaceChildren(...this.#items);
    this.#words.sort((a, b) => a.fromMs - b.fromMs);
    list.addEventListener("click", (event) => this.#clicked(event));
    for (const name of ["wheel", "touchmove"]) addEventListener(name, () => (this.#leftAt = performance.now()), { passive: true });
  }

  /** Where each turn or answer begins, in order. */
  get beginnings() {
    return this.#entries.filter((entry) => entry.heard && entry.fromMs !== undefined).map((entry) => entry.fromMs);
  }

  /** Marks what is said at a moment; `follow`: bring it into view. */
  set(ms, follow) {
    const word = lastBefore(this.#words, ms);
    const saying = word && ms < word.toMs + 60 ? word.node : null;
    if (saying !== this.#said) {
      this.#said?.classList.remove("said");
      saying?.classList.add("said");
      this.#said = saying;
    }
    const index = this.#entries.findLastIndex((entry) => entry.fromMs !== undefined && entry.fromMs <= ms + 1);
    const item = this.#items[index] ?? null;
    if (item !== this.#current) {
      this.#current?.removeAttribute("aria-current");
      item?.setAttribute("aria-current", "true");
      this.#current = item;
    }
    if (item && follow && item !== this.#shown && performance.now() - this.#leftAt > LEFT_ALONE_MS) {
      this.#shown = item;
      item.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    }
  }

  #clicked(event) {
    const target = event.target.closest("[data-ms]");
    if (!target || String(getSelection())) return;
    const { ms, to } = target.dataset;
    this.dispatchEvent(new CustomEvent("play", { detail: { fromMs: Number(ms), toMs: to && Number(to) } }));
  }

  #item(entry) {
    if (entry.who === "line") return el("li", { class: `line ${entry.mark.kind}` }, this.#time(entry), el("span", {}, [MARKS[entry.mark.kind], entry.mark.text].filter(Boolean).join(": ")));
    if (entry.who === "tool") return this.#tool(entry);
    const words = el("p", { class: "words", dir: "auto" }, ...entry.heard.map((word) => this.#word(word)), entry.unheard && el("del", {}, entry.unheard));
    const note = entry.cut ? (entry.silent ? "not heard" : entry.lost ? "connection lost" : "cut off") : { backchannel: "backchannel", sound: "sound", dropped: "dropped", open: "call ended" }[entry.outcome];
    const name = entry.who === "you" ? "Caller" : "Agent";
    const head = el("p", { class: "who" }, entry.fromMs === undefined ? null : this.#time(entry, name), el("b", {}, name), note && el("span", { class: "note" }, note));
    return el("li", { class: `entry ${entry.who}`, data: { outcome: entry.outcome ?? "" } }, head, words, entry.latency && this.#latency(entry.latency));
  }

  #word({ text, fromMs, toMs }) {
    if (fromMs === undefined) return text;
    const node = el("span", { class: "word", data: { ms: fromMs } }, text);
    this.#words.push({ fromMs, toMs, node });
    return node;
  }

  #time(entry, name) {
    const data = { ms: entry.fromMs, to: entry.toMs > entry.fromMs ? entry.toMs + 150 : "" };
    return el("button", { class: "at", type: "button", data, "aria-label": `Play from ${clock(entry.fromMs)}${name ? `, ${name}` : ""}` }, clock(entry.fromMs));
  }

  #tool(entry) {
    const { tool } = entry;
    const lasted = tool.toMs === null ? "no answer" : span(tool.toMs - tool.fromMs);
    const summary = el("summary", {}, el("b", {}, tool.name), el("span", { class: "note" }, tool.failed ? `failed after ${lasted}` : lasted));
    const block = (name, text) => text && el("div", {}, el("span", { class: "note" }, name), el("pre", { tabIndex: 0 }, pretty(text)));
    return el("li", { class: `entry tool${tool.failed ? " failed" : ""}` }, el("p", { class: "who" }, this.#time(entry, "Tool use")), el("details", {}, summary, block("Arguments", tool.arguments), block("Output", tool.output)));
  }

  #latency(latency) {
    const bar = el("div", { class: "bar", "aria-hidden": "true" });
    const list = el("ul");
    for (const [name, label, meaning] of STAGES) {
      const ms = Math.max(0, latency[`${name}Ms`] ?? 0);
      if (!ms) continue;
      const part = el("span", { class: `stage-${name}`, title: `${label}: ${ms} ms, ${meaning}` });
      part.style.width = `${(ms / this.slowest) * 100}%`;
      bar.append(part);
      list.append(el("li", { class: `stage-${name}`, title: meaning }, `${label} `, el("b", {}, String(ms))));
    }
    return el("div", { class: "latency" }, bar, el("strong", {}, span(latency.totalMs ?? 0)), list);
  }
}

function lastBefore(words, ms) {
  let [low, high] = [0, words.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (words[middle].fromMs <= ms + 1) low = middle + 1;
    else high = middle;
  }
  return words[low - 1];
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
