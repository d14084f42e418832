// Whether a call would be answered, by /readyz. Its 503 has several meanings; the body's reasons tell
// them apart, never the status alone.

import { pause } from "./waiting.js";

const EVERY_MS = 1000;

/** @typedef {import("../blab.js").ServerState} ServerState */

/** Asks once. `server`: its origin. "full": every line is in use; "warming": it lives but would not answer
 *  yet.
 *  @param {string} server
 *  @returns {Promise<{ state: ServerState, detail: string }>} */
export async function serverState(server) {
  let response;
  try {
    response = await fetch(`${server}/readyz`, { cache: "no-store", signal: AbortSignal.timeout(5000) });
  } catch {
    return { state: "unreachable", detail: "" };
  }
  // A server without that address has nothing to wait for.
  if (response.ok || response.status === 404) return { state: "ready", detail: "" };
  const body = await response.json().catch(() => ({}));
  const reasons = Object.keys(body.reasons ?? {});
  const full = reasons.length > 0 && reasons.every((reason) => reason === "admission");
  return { state: full ? "full" : "warming", detail: typeof body.detail === "string" ? body.detail : "" };
}

/** Calls `onState` with each state until one of `enough` is met; resolves with it, or with null when
 *  `signal` is aborted.
 *  @param {string} server
 *  @param {(state: ServerState, detail: string) => void} onState
 *  @param {AbortSignal} signal
 *  @param {ServerState[]} enough */
export async function untilReady(server, onState, signal, enough = ["ready"]) {
  while (!signal.aborted) {
    const { state, detail } = await serverState(server);
    if (signal.aborted) return null;
    onState(state, detail);
    if (enough.includes(state)) return state;
    await pause(EVERY_MS, signal);
  }
  return null;
}
