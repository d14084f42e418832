// What differs between two configurations of an agent: by field, and in long texts by word.

import { EAGERNESS, languageName, toolName } from "./names.js";

const MOST_CELLS = 4_000_000; // of the table in which words are compared; a longer text is compared by lines

/** `[{label, long, parts}]` for each field that differs; `parts`: `[kind, text]` with kind same, gone or new. */
export function difference(before, after) {
  const found = [];
  const add = (label, old, now, long = false) => {
    if (old !== now) found.push({ label, long, parts: long ? compare(old, now) : [["gone", old], ["new", now]].filter(([, text]) => text) });
  };
  const of = (name) => [before[name] ?? "", after[name] ?? ""];
  add("Name", ...of("name"));
  add("Instructions", ...of("systemPrompt"), true);
  add("Greeting", ...of("greeting"), true);
  add("Language", ...of("language").map((tag) => (tag ? languageName(tag) : "Any language")));
  add("Voice", ...of("voice"));
  add("Speech model", ...of("ttsModel"));
  add("Chat model", ...of("model"));
  const turns = [before.turnTaking, after.turnTaking];
  add("How soon it answers", ...turns.map(({ eagerness }) => EAGERNESS.find(([id]) => id === eagerness)?.[1] ?? eagerness));
  add("Can be interrupted", ...turns.map(({ interruptible }) => (interruptible ? "Yes" : "No")));
  add("Speaks after silence", ...turns.map(({ idleSeconds }) => (idleSeconds ? `${idleSeconds} s` : "No")));
  const recordings = [before.recording, after.recording];
  add("Recording", ...recordings.map(({ enabled }) => (enabled ? "On" : "Off")));
  add("Recording: what it says first", ...recordings.map(({ consent }) => consent), true);
  add("Recording is kept", ...recordings.map(({ retentionDays }) => (retentionDays ? `${retentionDays} days` : "As long as calls")));
  for (const [name, old, now] of pairedTools(before, after)) add(`Tool ${name}`, old, now, true);
  return found;
}

/** Tools by name, as text; empty where there is none. */
function pairedTools(before, after) {
  const texts = [before, after].map(({ tools, toolSecrets }) => new Map(tools.map((tool) => [toolName(tool), toolText(tool, toolSecrets[toolName(tool)])])));
  const names = new Set([...texts[0].keys(), ...texts[1].keys()]);
  return [...names].map((name) => [name, texts[0].get(name) ?? "", texts[1].get(name) ?? ""]);
}

function toolText(tool, secrets = []) {
  const { type, ...fields } = tool;
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`);
  if (secrets.length) lines.push(`headers: ${secrets.join(", ")}`);
  return [type === "mcp" ? "MCP server" : "HTTP tool", ...lines].join("\n");
}

/** Two texts as parts in order. */
export function compare(before, after) {
  const words = (text) => text.match(/\s+|[^\s]+/g) ?? [];
  const lines = (text) => text.match(/[^\n]*\n|[^\n]+/g) ?? [];
  let [old, now] = [words(before), words(after)];
  if (old.length * now.length > MOST_CELLS) [old, now] = [lines(before), lines(after)];
  let start = 0;
  while (start < old.length && start < now.length && old[start] === now[start]) start += 1;
  let end = 0;
  while (end < old.length - start && end < now.length - start && old.at(-1 - end) === now.at(-1 - end)) end += 1;
  const middle = changed(old.slice(start, old.length - end), now.slice(start, now.length - end));
  return joined([["same", old.slice(0, start).join("")], ...middle, ["same", end ? old.slice(-end).join("") : ""]]);
}

/** By the longest common subsequence; what has none in common is replaced as a whole. */
function changed(old, now) {
  if (old.length * now.length > MOST_CELLS) return [["gone", old.join("")], ["new", now.join("")]];
  const width = now.length + 1;
  const table = new Uint16Array((old.length + 1) * width);
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = now.length - 1; j >= 0; j -= 1) {
      table[i * width + j] = old[i] === now[j] ? table[(i + 1) * width + j + 1] + 1 : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
    }
  }
  const parts = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < now.length) {
    if (i < old.length && j < now.length && old[i] === now[j]) {
      parts.push(["same", old[i]]);
      i += 1;
      j += 1;
    } else if (j >= now.length || (i < old.length && table[(i + 1) * width + j] >= table[i * width + j + 1])) {
      parts.push(["gone", old[i]]);
      i += 1;
    } else {
      parts.push(["new", now[j]]);
      j += 1;
    }
  }
  return parts;
}

/** Neighbours of a kind are one part; a short word between two changes belongs to them. */
function joined(parts) {
  const blocks = [];
  for (const [kind, text] of parts) {
    if (!text) continue;
    const same = kind === "same";
    if (blocks.at(-1)?.same !== same) blocks.push({ same, gone: "", new: "" });
    const block = blocks.at(-1);
    if (same || kind === "gone") block.gone += text;
    if (same || kind === "new") block.new += text;
  }
  const merged = [];
  blocks.forEach((block, at) => {
    const between = block.same && at > 0 && at < blocks.length - 1 && block.gone.length <= SHORT && !block.gone.includes("\n");
    const last = merged.at(-1);
    if (last && !last.same && (between || !block.same)) {
      last.gone += block.gone;
      last.new += block.new;
    } else merged.push({ ...block });
  });
  return merged.flatMap((block) => (block.same ? [["same", block.gone]] : [["gone", block.gone], ["new", block.new]].filter(([, text]) => text)));
}

const SHORT = 5;
const SHOWN = 160; // characters of what stays the same, on each side of a change

/** The parts, with what stays the same far from any change left out. */
export function shortened(parts) {
  return parts.map(([kind, text], at) => {
    if (kind !== "same" || text.length <= 2.5 * SHOWN) return [kind, text];
    const head = at === 0 ? "" : text.slice(0, SHOWN);
    const tail = at === parts.length - 1 ? "" : text.slice(-SHOWN);
    return [kind, `${head} … ${tail}`];
  });
}
