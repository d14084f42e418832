// Scenarios as an object: what a new one is, and how what is said is written in one field. Their format is that of
// `blab simulate` (docs/simulation.md).

/** What a newcomer begins with: it suits any agent, and shows each kind of check. */
export const example = () => ({
  defaults: { expect: { answered_within_ms: 5000, not_cut_off: true } },
  scenario: [
    { name: "asks what it can do", line: [{ say: "Hello. What can you help me with?" }] },
    { name: "pauses to think", line: [{ say: ["I have a question about", 700, "your opening hours."] }] },
    {
      name: "interrupts",
      line: [
        { say: "Please explain in detail how you can help me." },
        { say: "Sorry, wait a moment. I have another question.", over_reply_ms: 1500, expect: { interrupted_within_ms: 1500 } },
      ],
    },
  ],
});

export const newLine = () => ({ say: "" });
export const newScenario = (tree) => ({ name: freeName(tree, "new caller"), line: [newLine()] });

function freeName({ scenario }, wanted) {
  const taken = new Set(scenario.map(({ name }) => name));
  let name = wanted;
  for (let number = 2; taken.has(name); number++) name = `${wanted} ${number}`;
  return name;
}

/** A copy of a scenario, with a name of its own. */
export const copyOf = (tree, scenario) => ({ ...structuredClone(scenario), name: freeName(tree, scenario.name) });

const PAUSE = /\[(\d{1,5}) ms\]/;

/** Parts as one text: `I would like [700 ms] a table`. */
export const textOf = (parts) => (Array.isArray(parts) ? parts.map((part) => (typeof part === "number" ? `[${part} ms]` : part)).join(" ") : parts ?? "");

/** The parts of such a text: itself where it has no pause. */
export function partsOf(text) {
  if (!PAUSE.test(text)) return text;
  return text
    .split(PAUSE)
    .map((part, at) => (at % 2 ? Number(part) : part.trim()))
    .filter((part) => part !== "");
}

const SPECIAL = /[.*+?^${}()|[\]\\]/g;
/** The texts between which a regular expression chooses; null where it does anything else. */
export function alternatives(pattern) {
  if (typeof pattern !== "string") return null;
  const texts = pattern.split(/(?<!\\)\|/).map((one) => one.replace(/\\([.*+?^${}()|[\]\\])/g, "$1"));
  return texts.length > 1 && patternOf(texts) === pattern ? texts : null;
}
const patternOf = (texts) => texts.map((one) => one.replace(SPECIAL, "\\$&")).join("|");

/** What an answer has to contain, in one field: `nine | 9` where either will do. */
export const wantedText = ({ reply_contains: text, reply_matches: pattern }) => text ?? alternatives(pattern)?.join(" | ") ?? "";

export function wantText(expect, written) {
  const texts = written.split("|").map((one) => one.trim()).filter(Boolean);
  const either = texts.length > 1;
  if (either || alternatives(expect.reply_matches)) put(expect, ["reply_matches"], either ? patternOf(texts) : undefined);
  put(expect, ["reply_contains"], either ? undefined : written);
}

/** The recordings that a line says. */
export const recordingsOf = ({ audio }) => (Array.isArray(audio) ? audio : [audio]).filter((part) => typeof part === "string");

/** Sets a member of an object, or takes it away where the value says nothing; empty objects within go, too. */
export function put(object, path, value) {
  const [name, ...rest] = path;
  if (rest.length) {
    const inner = { ...object[name] };
    put(inner, rest, value);
    put(object, [name], Object.keys(inner).length ? inner : undefined);
  } else if (value === undefined || value === "" || value === false || Number.isNaN(value)) {
    delete object[name];
  } else {
    object[name] = value;
  }
}

const SCENARIO = ["name", "line", "channel", "noise_dbfs", "instructions"];
const LINE = ["say", "audio", "text", "over_reply_ms", "expect"];
const EXPECT = ["reply_contains", "reply_lacks", "answered_within_ms", "not_cut_off", "interrupted_within_ms", "reply_language"];

/** What of a scenario has no field in the form: the names of its keys. */
export function besides(scenario) {
  const found = Object.keys(scenario).filter((name) => !SCENARIO.includes(name));
  for (const line of scenario.line ?? []) {
    found.push(...Object.keys(line).filter((name) => !LINE.includes(name)));
    const expect = Object.entries(line.expect ?? {});
    const shown = (name, value) => (EXPECT.includes(name) && !Array.isArray(value)) || (name === "reply_matches" && !line.expect.reply_contains && alternatives(value));
    found.push(...expect.filter(([name, value]) => !shown(name, value)).map(([name]) => name));
  }
  return [...new Set(found)];
}

/** How many seconds a run takes at least, about. */
export function secondsOf({ scenario }, repeat, atOnce) {
  const lines = scenario.reduce((sum, { line }) => sum + (line?.length ?? 0), 0);
  return Math.ceil((lines * 9 + scenario.length * 3) * repeat / atOnce);
}
