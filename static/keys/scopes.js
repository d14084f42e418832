// What a key may do, in words: by group, its scopes.

export const GROUPS = [
  ["Agents and calls", { "agents:write": "Make and steer calls, change agents, chat", "agents:read": "Read agents, calls and recordings" }],
  ["Speech", { "tts:write": "Turn text into speech", "tts:read": "Fetch finished speech" }],
  ["Transcription", { "stt:write": "Transcribe recordings", "stt:read": "Read and export transcripts" }],
  ["Voices", { "voices:write": "Clone and delete voices", "voices:read": "List voices" }],
  ["Batches", { "batch:write": "Speak many texts at once", "batch:read": "Fetch what was spoken" }],
  ["Dubbing", { "dubbing:write": "Dub recordings into another language", "dubbing:read": "Fetch dubbed recordings" }],
  ["Jobs", { "jobs:read": "Follow, cancel, retry and delete jobs" }],
  ["Projects", { "projects:write": "Create, change and delete projects", "projects:read": "List projects" }],
  ["Webhooks", { "webhooks:write": "Change webhooks, send events again", "webhooks:read": "Read webhooks and their deliveries" }],
  ["Usage", { "usage:read": "Read usage and cost" }],
  ["API keys", { "api-keys:write": "Make and revoke keys", "api-keys:read": "List keys" }],
];
export const ALL = GROUPS.flatMap(([, scopes]) => Object.keys(scopes));
/** What changes nothing: following a job also lets one cancel and delete it. */
const READING = ALL.filter((scope) => scope.endsWith(":read") && scope !== "jobs:read");
export const PRESETS = [
  ["Everything", ALL],
  ["Calls only", ["agents:write", "agents:read"]],
  ["Read only", READING],
  ["Nothing", []],
];

/** "Speech, Jobs; only read: Agents and calls, Voices". */
export function summary(scopes) {
  const held = new Set(scopes);
  if (ALL.every((scope) => held.has(scope))) return "Everything";
  if (scopes.length === READING.length && READING.every((scope) => held.has(scope))) return "Read everything, change nothing";
  const named = { whole: [], ":read": [], ":write": [] };
  for (const [name, group] of GROUPS) {
    const mine = Object.keys(group).filter((scope) => held.has(scope));
    if (!mine.length) continue;
    const whole = mine.length === Object.keys(group).length;
    named[whole ? "whole" : mine[0].slice(mine[0].indexOf(":"))].push(name);
  }
  named.whole.push(...scopes.filter((scope) => !ALL.includes(scope)));
  const said = [["", named.whole], ["only read: ", named[":read"]], ["only write: ", named[":write"]]];
  const text = said.filter(([, names]) => names.length).map(([how, names]) => how + names.join(", ")).join("; ");
  return text ? text.charAt(0).toUpperCase() + text.slice(1) : "Nothing but say whose it is";
}
