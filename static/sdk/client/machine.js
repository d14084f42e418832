// The states of a call, as a table. What happens to a call is an input; an input that its state does not
// list has come too late and changes nothing.
//
//   idle ──load──► loading ──loaded──► idle
//   idle, loading, ended ──dial──► opening ──opened──► live ◄──quiet, heard──► shaky
//   opening, live, shaky ──wait──► retrying ──dial──► opening
//   opening, live, shaky, retrying ──end──► ended

/** @typedef {import("../blab.js").CallState} CallState */
/** @typedef {"load" | "loaded" | "dial" | "opened" | "quiet" | "heard" | "wait" | "end"} Input */

/** @type {Record<CallState, Partial<Record<Input, CallState>>>} */
export const TABLE = {
  idle: { load: "loading", dial: "opening" },
  loading: { loaded: "idle", dial: "opening", end: "ended" },
  opening: { dial: "opening", opened: "live", wait: "retrying", end: "ended" },
  live: { quiet: "shaky", wait: "retrying", end: "ended" },
  shaky: { heard: "live", wait: "retrying", end: "ended" },
  retrying: { dial: "opening", wait: "retrying", end: "ended" },
  ended: { load: "loading", dial: "opening" },
};

/** What @openai/agents calls the connection in each state.
 *  @type {Record<CallState, import("../blab.js").ConnectionStatus>} */
export const STATUS = {
  idle: "disconnected",
  loading: "disconnected",
  opening: "connecting",
  live: "connected",
  shaky: "connected",
  retrying: "connecting",
  ended: "disconnected",
};
