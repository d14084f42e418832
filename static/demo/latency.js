// Where the waiting time of a turn went: a stacked bar with its figures.

import { node } from "/shared/dom.js";

const STAGES = [
  ["endpointing", "Endpointing", "from your last sound to the decision that you are done"],
  ["stt", "STT", "until your words were final"],
  ["token", "First token", "until the chat model began to answer"],
  ["clause", "Clause", "until the first clause of the answer was written"],
  ["tts", "TTS", "until its first sound was made"],
  ["gateway", "Gateway", "until that sound left the server"],
  ["network", "Network", "round trip and playout buffer, measured by this page"],
  ["device", "Device", "the rest until you heard it: capture, playout, sound card"],
];
const SCALE_MS = 1200; // a full bar, unless a turn took longer

/** The stages of a `blab.latency` event in ms. `networkMs` null: not known; `heardMs`: what this page
 *  measured from the last sound at the microphone to the first at the loudspeaker. That is the total
 *  where it is known, and what no stage explains is the device's: capture, playout, sound card. */
export function stagesOf(event, networkMs = null, heardMs = null) {
  const stages = {};
  let sum = 0;
  const token = event.first_token_ms ?? 0;
  const reached = {
    endpointing: event.endpointing_ms,
    stt: event.stt_ms,
    token,
    clause: (event.llm_ms ?? 0) - token,
    tts: event.tts_ms,
  };
  for (const [name, ms] of Object.entries(reached)) {
    stages[name] = Math.max(0, Math.round(ms ?? 0));
    sum += stages[name];
  }
  stages.gateway = Math.round(event.gateway_ms ?? Math.max(0, (event.total_ms ?? sum) - sum));
  stages.network = networkMs === null ? null : Math.round(networkMs);
  const explained = sum + stages.gateway + (stages.network ?? 0);
  stages.device = heardMs === null ? null : Math.max(0, Math.round(heardMs) - explained);
  return { stages, total: heardMs === null ? explained : Math.round(heardMs), measured: heardMs !== null };
}

/** A <figure> for one turn; give it to `fill` again when the network's share is known. */
export function latencyFigure() {
  const figure = document.createElement("figure");
  figure.className = "latency";
  const bar = document.createElement("div");
  bar.className = "latency-bar";
  bar.setAttribute("aria-hidden", "true");
  const caption = document.createElement("figcaption");
  figure.append(bar, caption);
  return figure;
}

export function fill(figure, { stages, total, measured }) {
  const [bar, caption] = figure.children;
  const scale = Math.max(SCALE_MS, total);
  const parts = STAGES.filter(([name]) => stages[name]);
  bar.replaceChildren(
    ...parts.map(([name, label, meaning]) => {
      const part = document.createElement("span");
      part.className = `stage-${name}`;
      part.style.width = `${(stages[name] / scale) * 100}%`;
      part.title = `${label}: ${stages[name]} ms, ${meaning}`;
      return part;
    }),
  );
  const sum = node("strong", "latency-total", `${total} ms`);
  sum.title = measured ? "measured on this page, from your last sound to the first sound of the answer" : "as far as the server and the network know it";
  const list = node("ul", "latency-list");
  list.append(
    ...parts.map(([name, label, meaning]) => {
      const item = node("li", `stage-${name}`);
      item.title = meaning;
      item.append(`${label} `, node("b", "", String(stages[name])));
      return item;
    }),
  );
  caption.replaceChildren(node("span", "visually-hidden", "Answered after "), sum, list);
}

/** The middle one of the totals so far. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : Math.round((sorted[middle - 1] + sorted[middle]) / 2);
}
