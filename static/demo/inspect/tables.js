// Latency per turn, the network, tool uses: as tables, newest first.

import { clockText, node } from "/shared/dom.js";
import { stagesOf } from "../latency.js";

const STAGES = ["endpointing", "stt", "token", "clause", "tts", "gateway", "network", "device"];
const HEADS = ["Endpoint.", "STT", "Token", "Clause", "TTS", "Gateway", "Network", "Device"];
const MOST_ROWS = 100; // on the page; the journal has more

function turnsTable(journal, onSeek) {
  const rows = newest(journal.turns).map((turn) => {
    const { stages, total, measured } = stagesOf(turn.event, turn.networkMs, turn.heardMs);
    const ms = STAGES.map((name) => cell(stages[name] ?? "–", "number"));
    const sum = cell(String(total), "number total");
    sum.title = measured ? "measured on this page" : "as far as the server and the network know it";
    return row([seekCell(turn.time, onSeek), cell(turn.said || "–", "said"), sum, ...ms]);
  });
  return table(["At", "You said", "ms", ...HEADS], rows, "No turn yet.");
}

function networkTable(journal) {
  const { network } = journal;
  const latest = network.at(-1);
  const tiles = node(
    "dl",
    "tiles",
    tile("Round trip", latest?.rtt, "ms", network.map(({ rtt }) => rtt)),
    tile("Jitter", latest?.jitter, "ms", network.map(({ jitter }) => jitter)),
    tile("Loss", latest?.loss === null || latest?.loss === undefined ? null : latest.loss * 100, "%", network.map(({ loss }) => loss)),
  );
  const note = latest && latest.jitter === null ? "A WebSocket shows no packets: only the round trip is known." : "";
  return node("div", "network", tiles, node("p", "note", note || (latest ? "Once a second, the last two minutes." : "Nothing measured yet.")));
}

function toolsTable(journal, onSeek) {
  const rows = newest(journal.tools).map((use) => {
    const state = use.seconds === null ? "running" : use.error ? "failed" : `${use.seconds.toFixed(2)} s`;
    return row([
      seekCell(use.time, onSeek),
      cell(use.name ?? "–"),
      cell(use.arguments ?? "", "code"),
      cell(use.error ? JSON.stringify(use.error) : (use.output ?? ""), "code"),
      cell(state, use.error ? "failed" : ""),
    ]);
  });
  return table(["At", "Tool", "Arguments", "Output", "Took"], rows, "The agent has used no tool.");
}

const newest = (list) => list.slice(-MOST_ROWS).reverse();

function table(heads, rows, nothing) {
  if (!rows.length) return node("p", "note", nothing);
  const head = node("tr", "", ...heads.map((text) => Object.assign(node("th", "", text), { scope: "col" })));
  return node("table", "facts", node("thead", "", head), node("tbody", "", ...rows));
}

const row = (cells) => node("tr", "", ...cells);
const cell = (text, className = "") => Object.assign(node("td", className, String(text)), { dir: className === "said" ? "auto" : "" });

function seekCell(time, onSeek) {
  const button = node("button", "seek", clockText(time));
  button.type = "button";
  button.title = "Show on the time axis";
  button.addEventListener("click", () => onSeek(time));
  return node("td", "", button);
}

/** A figure with the line of its last two minutes. */
function tile(name, value, unit, values) {
  const known = typeof value === "number";
  const figure = node("dd", "", known ? node("b", "", value >= 10 ? String(Math.round(value)) : value.toFixed(1)) : "–", known ? ` ${unit}` : "", sparkline(values.slice(-120)));
  return node("div", "tile", node("dt", "", name), figure);
}

function sparkline(values) {
  if (!values.some((value) => value !== null)) return "";
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 120 28");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const most = Math.max(1e-9, ...values.map((value) => value ?? 0));
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  line.setAttribute("points", values.map((value, place) => `${place + 120 - values.length},${26 - 24 * ((value ?? 0) / most)}`).join(" "));
  svg.append(line);
  return svg;
}

export const TABLES = { turns: turnsTable, network: networkTable, tools: toolsTable };
