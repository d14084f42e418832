// What the server gives a page for an embed's public id: the owner's texts, and a key for one call.

import { Problem } from "../client/problems.js";
import { pause } from "../client/waiting.js";

/** @typedef {{ title?: string, greeting?: string, consent?: string, language?: string, accent?: string }} OwnerTexts */
/** @typedef {{ id: string, texts: OwnerTexts, choices: string[] }} Widget */

/** What the element says of a refusal, by status or by the server's reason.
 *  @type {Record<string, string>} */
const KINDS = { 404: "absent", foreign_origin: "foreign", minutes_used_up: "minutes", 429: "rate" };
const LONGEST_PAUSE = 30; // s

export class Embed {
  /** @type {string | null} */
  #key = null; // of the call that began with it
  /** @type {string | undefined} */
  #visitId; // of who waits in the queue
  /** Of the newest key. @type {string | undefined} */
  agentId;

  /** `server`: its origin; `onWait`: a key has to be waited for, at that place in the queue if that is known.
   *  @param {string} server @param {string} id
   *  @param {(wait: { reason: "busy" | "warming", place?: number }) => void} onWait */
  constructor(server, id, onWait) {
    this.server = server;
    this.id = id;
    this.onWait = onWait;
  }

  /** @returns {Promise<Widget>} */
  async widget() {
    const { status, body } = await this.#ask("widget");
    if (status !== 200) throw problemOf(status, body.error);
    return body.data;
  }

  /** A key for a call. To resume the call needs the one that it began with. Waits in the queue.
   *  @param {{ voice?: string, language?: string, consent: boolean }} asked
   *  @param {{ resumes: boolean, signal: AbortSignal }} options */
  async key(asked, { resumes, signal }) {
    if (resumes && this.#key) return this.#key;
    for (;;) {
      const { status, body } = await this.#ask("client_secrets", { ...asked, visitId: this.#visitId }, signal);
      if (status === 200) {
        this.#visitId = undefined;
        this.agentId = body.data.agentId;
        this.#key = body.data.value;
        return body.data.value;
      }
      const { reason, retryAfter = 3, visitId, place } = body.error?.details ?? {};
      if (status !== 503 || !["lines_busy", "warming_up"].includes(reason)) throw problemOf(status, body.error);
      if (visitId) this.#visitId = visitId;
      this.onWait({ reason: reason === "lines_busy" ? "busy" : "warming", place });
      await pause(Math.min(retryAfter, LONGEST_PAUSE) * 1000, signal);
      signal.throwIfAborted();
    }
  }

  /** @param {string} what @param {object} [asked] @param {AbortSignal} [signal] */
  async #ask(what, asked, signal) {
    /** @type {RequestInit} */
    const options = { signal, cache: "no-store", credentials: "omit" };
    if (asked) Object.assign(options, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(asked) });
    try {
      const response = await fetch(`${this.server}/api/embeds/${encodeURIComponent(this.id)}/${what}`, options);
      return { status: response.status, body: await response.json() };
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Problem("unreachable", "Blab cannot be reached", "Check the connection, and the page's connect-src.");
    }
  }
}

/** @param {number} status @param {{ message?: string, details?: { reason?: string } | null }} [error] */
function problemOf(status, error) {
  const kind = KINDS[error?.details?.reason ?? ""] ?? KINDS[status] ?? "failed";
  return new Problem(kind, error?.message ?? `HTTP ${status}`, "", { action: kind === "failed" ? "retry" : "none" });
}
