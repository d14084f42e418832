// What simulations, their calls and their checks are called on this page.

import { plural, span } from "/shared/el.js";
import { alternatives } from "./tree.js";

export const isActive = ({ status }) => status === "queued" || status === "running";

/** How a run stands: `[kind, text]` of a chip. */
export function verdict({ status, passed, calls, summary }) {
  if (status === "queued") return ["", "Waiting"];
  if (status === "running") return ["", `${summary.calls} of ${calls} done`];
  if (status === "cancelled") return ["", "Cancelled"];
  if (status === "failed") return ["bad", "Could not be finished"];
  if (passed) return ["good", calls === 1 ? "Passed" : `All ${calls} passed`];
  return ["bad", `${calls - summary.callsPassed} of ${calls} failed`];
}

export const CALL_STATES = { waiting: "Waiting", calling: "On the telephone", passed: "Passed", failed: "Failed", not_made: "Not called" };

export function languageName(tag) {
  try {
    return new Intl.DisplayNames([navigator.language, "en"], { type: "language" }).of(tag);
  } catch {
    return tag;
  }
}

/** A limit: "5 s", "800 ms". */
export const limit = (ms) => (ms >= 1000 ? `${ms / 1000} s` : `${ms} ms`);

const unquoted = (text) => text.replace(/^(['"])(.*)\1$/s, "$2").replaceAll("\\'", "'");
const WORDS = {
  answered: () => "Answers",
  answered_within_ms: (ms) => `Answers within ${limit(Number(ms))}`,
  reply_contains: (text) => `Says “${unquoted(text)}”`,
  reply_lacks: (text) => `Does not say “${unquoted(text)}”`,
  reply_matches: (text) => {
    const texts = alternatives(unquoted(text).replaceAll("\\\\", "\\"));
    return texts ? `Says ${texts.map((one) => `“${one}”`).join(" or ")}` : `Its words match ${unquoted(text)}`;
  },
  reply_language: (tag) => `Speaks ${languageName(unquoted(tag))}`,
  tool: (text) => `Uses the tool ${text}`,
  interrupted_within_ms: (ms) => `Falls silent within ${limit(Number(ms))}`,
  not_interrupted: () => "Goes on speaking",
  not_cut_off: () => "Lets the caller finish",
  word_error: (share) => `Hears the words (at most ${Math.round(share * 100)} % wrong)`,
  call: () => "Every line was said",
  no_fault: () => "Nothing went wrong on the server",
  ends: (text) => `The call ends: ${unquoted(text)}`,
};
const OF_WORDS = ["reply_contains", "reply_lacks", "reply_matches"];

/** A check in words: `{label, found}`; `found` is empty where the reply above says it all. */
export function checkWords({ name, passed, found }) {
  const [key] = name.split(" ", 1);
  const label = WORDS[key]?.(name.slice(key.length + 1)) ?? name;
  const trivial = OF_WORDS.includes(key) || (passed && ["call", "no_fault", "not_cut_off"].includes(key));
  const ms = found.match(/^(after|silent after) (\d+) ms$/);
  const share = key === "word_error" && found.match(/^([\d.]+):/);
  if (share) return { label, found: `${Math.round(share[1] * 100)} % wrong` };
  if (key === "reply_language") return { label, found: passed ? "" : found.replace(/: .*$/s, "") };
  return { label, found: trivial ? "" : ms ? `${ms[1]} ${span(Number(ms[2]))}` : found };
}

/** "after 640 ms", or that nothing was heard. */
export const answeredAfter = (ms) => (ms === null || ms === undefined ? "–" : span(ms));

export const aboutRun = ({ calls, repeat, atOnce }) => [plural(calls, "call"), repeat > 1 ? `each ${repeat} times` : "", atOnce > 1 ? `${atOnce} at once` : ""].filter(Boolean).join(", ");

const STAGES = { endpointing: "noticing the end", final_text: "hearing", first_token: "thinking", first_clause: "first words", first_audio: "speaking" };
/** Where the time went, in words. */
export const stageWords = (stages) =>
  Object.entries(stages)
    .map(([name, ms]) => [STAGES[name.replaceAll(" ", "_")], ms])
    .filter(([name, ms]) => name && ms > 0)
    .map(([name, ms]) => `${name} ${span(ms)}`)
    .join(" · ");
