// An agent as the form edits it, and what of it has changed. Of a tool the form keeps more than the server:
// its parameters as rows, its headers as pairs, and whether the headers that are stored stay.

import { toolName } from "./names.js";

const FIELDS = ["name", "systemPrompt", "greeting", "language", "voice", "model", "ttsModel", "turnTaking", "recording"];
const PLAIN_TURNS = { eagerness: "auto", interruptible: true, idleSeconds: null };
const PLAIN_RECORDING = { enabled: false, consent: "", retentionDays: null };

/** What the form shows of a stored agent, or of a template. */
export function draftOf(agent) {
  return {
    name: agent.name ?? "",
    systemPrompt: agent.systemPrompt ?? "",
    greeting: agent.greeting ?? "",
    language: agent.language ?? "",
    voice: agent.voice ?? "default",
    model: agent.model ?? "",
    ttsModel: agent.ttsModel ?? "",
    turnTaking: { ...PLAIN_TURNS, ...agent.turnTaking },
    recording: { ...PLAIN_RECORDING, ...agent.recording },
    tools: (agent.tools ?? []).map((tool) => toolDraft(tool, agent.toolSecrets?.[toolName(tool)] ?? [])),
  };
}

/** The body of a PATCH: the name, and the fields that differ from the stored agent; null: none does. */
export function changesOf(draft, stored) {
  const before = draftOf(stored);
  const changed = FIELDS.filter((name) => JSON.stringify(draft[name]) !== JSON.stringify(before[name]));
  const body = Object.fromEntries(changed.map((name) => [name, draft[name]]));
  if (!sameTools(draft.tools, before.tools)) {
    body.tools = draft.tools.map(storedTool);
    body.keepToolSecrets = draft.tools.filter(keepsSecrets).map((tool) => tool.name);
  }
  return Object.keys(body).length ? { name: draft.name, ...body } : null;
}

/** The body of a POST. */
export function wholeOf(draft) {
  const given = Object.fromEntries(FIELDS.map((name) => [name, draft[name]]));
  return { ...given, tools: draft.tools.map(storedTool) };
}

const sameTools = (some, others) => JSON.stringify(some.map(compared)) === JSON.stringify(others.map(compared));
const compared = (tool) => [storedTool(tool), tool.secrets.length > 0 && keepsSecrets(tool)];

// ---------------------------------------------------------------------- tools

/** A tool for the form. `secrets`: the names of the headers that are stored with it. */
export function toolDraft(tool, secrets = []) {
  const mcp = tool.type === "mcp";
  const draft = {
    kind: mcp ? "mcp" : "http",
    name: toolName(tool),
    storedName: secrets.length ? toolName(tool) : "",
    url: (mcp ? tool.server_url : tool.url) ?? "",
    seconds: Math.round((tool.timeout_ms ?? 15_000) / 1000),
    secrets,
    keeps: secrets.length > 0,
    headers: [],
  };
  if (mcp) return { ...draft, allowed: tool.allowed_tools ?? null, asks: tool.require_approval === "always" };
  const rows = rowsOf(tool.parameters);
  return {
    ...draft,
    description: tool.description ?? "",
    method: tool.method ?? "POST",
    rows,
    schema: rows ? "" : JSON.stringify(tool.parameters, null, 2),
  };
}

/** Headers stay with the name under which they are stored. */
export const keepsSecrets = (tool) => tool.keeps && tool.secrets.length > 0 && tool.name === tool.storedName;

/** The tool as the server stores it. */
export function storedTool(tool) {
  const headers = Object.fromEntries(tool.headers.filter(([name]) => name.trim()).map(([name, value]) => [name.trim(), value]));
  const shared = { headers: keepsSecrets(tool) ? {} : headers, timeout_ms: Math.round(tool.seconds * 1000) };
  if (tool.kind === "mcp") {
    return {
      type: "mcp",
      server_label: tool.name,
      server_url: tool.url.trim(),
      ...shared,
      allowed_tools: tool.allowed,
      require_approval: tool.asks ? "always" : "never",
    };
  }
  return { type: "blab.http", name: tool.name, url: tool.url.trim(), description: tool.description, method: tool.method, parameters: parametersOf(tool), ...shared };
}

/** The JSON schema of an HTTP tool; what is no JSON goes to the server as it is, which says so. */
export function parametersOf(tool) {
  if (tool.rows) return schemaOf(tool.rows);
  try {
    return JSON.parse(tool.schema);
  } catch {
    return tool.schema;
  }
}

const TYPES = ["string", "number", "integer", "boolean"];
const OF_A_ROW = ["type", "description"];

/** A simple schema as rows `{name, type, description, required}`; null where it says more than rows can. */
export function rowsOf(schema) {
  const { type, properties = {}, required = [], ...more } = schema ?? { type: "object" };
  const entries = Object.entries(properties);
  const simple = ([, one]) => TYPES.includes(one?.type) && Object.keys(one).every((name) => OF_A_ROW.includes(name));
  if (type !== "object" || Object.keys(more).length || !entries.every(simple)) return null;
  return entries.map(([name, one]) => ({ name, type: one.type, description: one.description ?? "", required: required.includes(name) }));
}

/** The values that a schema asks for, as rows, whatever else it says of them; null where one is no simple value. */
export function inputsOf(schema) {
  const entries = Object.entries(schema?.properties ?? {});
  if (!entries.every(([, one]) => TYPES.includes(one?.type))) return null;
  return entries.map(([name, { type, description = "" }]) => ({ name, type, description }));
}

export function schemaOf(rows) {
  const named = rows.filter(({ name }) => name.trim());
  const properties = named.map(({ name, type, description }) => [name.trim(), { type, ...(description && { description }) }]);
  const required = named.filter((row) => row.required).map(({ name }) => name.trim());
  return { type: "object", properties: Object.fromEntries(properties), ...(required.length && { required }) };
}
