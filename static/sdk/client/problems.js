// Everything that can go wrong, in words that a caller can act on.

import { serverState } from "./readiness.js";

/** @typedef {import("../blab.js").Problem} Declared */

/** Something the caller must know. `action`: what they can do; `again`: the call reconnects by itself.
 *  @implements {Declared} */
export class Problem extends Error {
  /** @param {string} kind @param {string} title @param {string} advice
   *  @param {{ action?: "retry" | "key" | "none", again?: boolean }} options */
  constructor(kind, title, advice, { action = "retry", again = false } = {}) {
    super(title);
    this.name = "Problem";
    this.kind = kind;
    this.title = title;
    this.advice = advice;
    this.action = action;
    this.again = again;
  }
}

const UNKNOWN_HANDLE = "resumption_not_found";
const HANDLE_IN_USE = "resumption_conflict"; // the server has not noticed yet that its connection is lost
const READY_ADVICE = "Its speech and language models are loading. You will be connected when they are ready.";

export const problems = {
  insecure: () =>
    new Problem(
      "insecure",
      "The microphone needs a secure page",
      "Browsers allow the microphone only on https:// pages and on localhost. Open Blab at one of those addresses. You can still type.",
      { action: "none" },
    ),
  unsupported: () =>
    new Problem("unsupported", "This browser cannot make calls", "Use a current Chrome, Edge, Firefox or Safari.", { action: "none" }),
  full: () => new Problem("full", "All lines are busy", "You will be connected as soon as one is free.", { again: true }),
  warming: () => new Problem("warming", "The server is loading", READY_ADVICE, { again: true }),
  // A browser does not say why a WebSocket was refused, and this server says it by other means.
  closedDoor: () =>
    new Problem("closed", "The call did not get through", "A proxy or firewall may be blocking WebSocket. Try WebRTC instead."),
  /** @param {string} [message] */
  key: (message) =>
    new Problem("key", "This server needs a key", `${message ? sentence(message) : "Paste an API key."} This page forgets it when you reload or close the tab.`, { action: "key" }),
  /** @param {string} [message] */
  refused: (message) => new Problem("refused", "The server refused the call", message ? sentence(message) : "It gave no reason."),
  unreachable: () =>
    new Problem("unreachable", "Blab cannot be reached", "Check that the server is running and that you are online."),
  media: () =>
    new Problem(
      "media",
      "No audio path to the server",
      "A firewall may be blocking WebRTC (UDP). Try WebSocket instead.",
    ),
  lost: () => new Problem("lost", "The connection was lost", "The conversation so far stays on this page.", { again: true }),
  gone: () => new Problem("gone", "The call was lost", "It could not be resumed in time. The conversation so far stays on this page."),
  restarting: () => new Problem("lost", "The server is shutting down", "It may be restarting. The conversation so far stays on this page.", { again: true }),
};

/** The sentence with a full stop, so that more can follow.
 *  @param {string} text */
function sentence(text) {
  const trimmed = String(text).trim();
  return /[.!?…]$/.test(trimmed) ? trimmed : `${trimmed}.`;
}

/** @type {Record<string, [kind: string, title: string, advice: string]>} */
const MICROPHONE = {
  NotAllowedError: ["mic-refused", "The microphone is blocked", "Allow it for this page (the icon beside the address), then try again. You can also type."],
  SecurityError: ["mic-refused", "The microphone is blocked", "This browser, or a policy on it, does not allow it here. You can still type."],
  NotFoundError: ["mic-missing", "No microphone found", "Plug one in or switch it on, then try again. You can also type."],
  OverconstrainedError: ["mic-missing", "No suitable microphone found", "Choose another one in the system's sound settings. You can also type."],
  NotReadableError: ["mic-busy", "The microphone is in use", "Another program is using it. Close that program, then try again. You can also type."],
  AbortError: ["mic-busy", "The microphone did not start", "Unplug it and plug it in again, or choose another one. You can also type."],
};

/** The Problem behind a getUserMedia error.
 *  @param {any} error */
export function microphoneProblem(error) {
  const known = MICROPHONE[error.name];
  return known ? new Problem(...known) : new Problem("mic", "The microphone did not start", error.message);
}

/** A Problem for whatever was thrown; what is none is a fault of the program and goes to the console.
 *  @param {any} error */
export function asProblem(error) {
  if (error instanceof Problem) return error;
  console.error(error);
  return new Problem("fault", "Something went wrong on this page", String(error?.message ?? error));
}

/** The Problem behind an HTTP answer that is not a success.
 *  @param {Response} response @param {string} server */
export async function responseProblem(response, server) {
  const { code, message } = await errorOf(response);
  if (code === UNKNOWN_HANDLE) return problems.gone();
  if (code === HANDLE_IN_USE) return problems.lost();
  if (response.status === 503) return waitingProblem(server);
  if (response.status === 429) return problems.refused(message || "Too many requests came from this address.");
  if (response.status === 401 || response.status === 403) return problems.key(message);
  return problems.refused(message || `HTTP ${response.status}`);
}

/** The Problem behind a WebSocket's end; null for a call that ended as it should. `message`: what the
 *  server's last `error` event said.
 *  @param {{ code: number, reason: string }} event @param {boolean} wasOpen @param {string} message
 *  @param {string} server */
export async function closeProblem({ code, reason }, wasOpen, message, server) {
  if (code === 1000) return null;
  if (code === 1013) return waitingProblem(server);
  if (code === 4001) return problems.key(message || reason);
  if (code === 1008 && reason.startsWith(UNKNOWN_HANDLE)) return problems.gone();
  if (code === 1008 && reason.startsWith(HANDLE_IN_USE)) return problems.lost();
  if (code === 1008) return problems.refused(message || reason);
  if (code === 1001 || code === 1012) return problems.restarting();
  if (wasOpen) return problems.lost();
  const { state } = await serverState(server);
  return { warming: problems.warming, full: problems.full, ready: problems.closedDoor, unreachable: problems.unreachable }[state]();
}

/** Why a call has to wait: the server says which of the two by /readyz.
 *  @param {string} server */
async function waitingProblem(server) {
  const { state } = await serverState(server);
  if (state === "warming") return problems.warming();
  return state === "unreachable" ? problems.unreachable() : problems.full();
}

/** @param {Response} response */
async function errorOf(response) {
  try {
    const { code = "", message = "" } = (await response.clone().json())?.error ?? {};
    return { code, message };
  } catch {
    return { code: "", message: "" };
  }
}
