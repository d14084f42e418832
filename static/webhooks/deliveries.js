// The deliveries of one webhook: newest first, each to be opened, read and sent again.

import { copyButton } from "/shared/code.js";
import { ago, el, moment, span } from "/shared/el.js";
import { eventName } from "./events.js";

const EVERY_MS = 10_000;
const OUTCOME_MS = 1000;
const OUTCOME_TRIES = 30;

export class Deliveries {
  #access;
  #path;
  #said;
  #rows = new Map(); // by the delivery's id
  #empty = el("p", { class: "empty" }, "Nothing has been sent here yet. Send a test event to see how one arrives.");
  root = el("div", { class: "deliveries" });

  /** `said`: shows a line of text. */
  constructor(access, webhook, said) {
    this.#access = access;
    this.#path = `/api/webhooks/${webhook.id}`;
    this.#said = said;
  }

  async show() {
    await this.#refresh();
    setInterval(() => document.visibilityState === "visible" && this.#refresh().catch(() => {}), EVERY_MS);
  }

  /** Posts to `path` below the webhook, and waits until what it submitted has been tried. */
  async send(path) {
    this.#said("Sending…");
    try {
      const { jobId } = await this.#access.post(`${this.#path}/${path}`);
      for (let i = 0; i < OUTCOME_TRIES; i += 1) {
        await new Promise((resolve) => setTimeout(resolve, OUTCOME_MS));
        const made = (await this.#refresh()).find((one) => one.jobId === jobId);
        if (made) return this.#said(outcome(made));
      }
      this.#said("It has not been sent yet: the workers are busy, or none runs. It appears below once it is.");
    } catch (error) {
      this.#said(error.message);
    }
  }

  async #refresh() {
    const made = await this.#access.get(`${this.#path}/deliveries`);
    const attempts = new Map(made.map((one) => [one.id, one.attempt]));
    for (const one of made.toReversed().filter(({ id }) => !this.#rows.has(id))) {
      this.#rows.set(one.id, this.#row(one, attempts));
      this.root.prepend(this.#rows.get(one.id)); // what is there stays, with what is unfolded and focused
    }
    for (const [id, row] of this.#rows) if (!attempts.has(id)) row.remove(), this.#rows.delete(id);
    if (made.length) this.#empty.remove();
    else this.root.append(this.#empty);
    return made;
  }

  #row(made, attempts) {
    const fine = made.status === "delivered";
    const repeats = made.repeats && `repeats ${attempts.get(made.repeats) ?? ""}`.trim();
    const next = made.nextAttemptAt && new Date(made.nextAttemptAt) > Date.now();
    const row = el(
      "details",
      { class: "delivery" },
      el(
        "summary",
        {},
        el("span", { class: `chip ${fine ? "good" : "bad"}` }, fine ? "Delivered" : "Failed"),
        el("span", { class: "delivery-event" }, eventName(made.event)),
        el("span", { class: "note" }, made.responseStatus ? `HTTP ${made.responseStatus}` : "no answer"),
        el("span", { class: "note" }, [`attempt ${made.attempt}`, repeats].filter(Boolean).join(", "), ...(next ? [", next ", ago(made.nextAttemptAt)] : [])),
        el("span", { class: "note when" }, ago(made.createdAt)),
      ),
    );
    row.addEventListener("toggle", () => {
      if (row.open && row.childElementCount === 1) row.append(this.#inside(made));
    });
    return row;
  }

  #inside(made) {
    const facts = [
      ["Sent", `${moment(made.createdAt)}, took ${span(made.durationMs)}`],
      ["Event", el("code", {}, made.event)],
      ["webhook-id", el("code", {}, made.eventId)],
      ["Answer", made.responseStatus ? `HTTP ${made.responseStatus}` : "none"],
      ["Why it failed", made.error],
      ["Next attempt", made.nextAttemptAt && new Date(made.nextAttemptAt) > Date.now() ? ago(made.nextAttemptAt) : null],
    ];
    const again = el("button", { class: "button small", type: "button" }, "Send it again");
    again.addEventListener("click", async () => {
      again.disabled = true;
      await this.send(`deliveries/${made.id}/redeliver`);
      again.disabled = false;
    });
    const body = el("code", {}, "…");
    const inside = el(
      "div",
      { class: "delivery-inside" },
      el("dl", { class: "facts" }, ...facts.filter(([, value]) => value).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
      el("div", { class: "actions" }, again, copyButton(body, "Copy the body")),
      el("pre", { tabIndex: 0, "aria-label": "What was sent" }, body),
      el("p", { class: "note" }, "What the receiver answered is not stored, but its status."),
    );
    this.#fill(made, body, again);
    return inside;
  }

  async #fill(made, body, again) {
    try {
      const { body: sent } = await this.#access.get(`${this.#path}/deliveries/${made.id}`);
      again.disabled = sent === null;
      body.textContent = sent === null ? "What was sent is not stored any more." : JSON.stringify(JSON.parse(sent), null, 2);
    } catch (error) {
      body.textContent = error.message;
    }
  }
}

function outcome(made) {
  if (made.status === "delivered") return `Delivered: the receiver answered HTTP ${made.responseStatus} after ${span(made.durationMs)}.`;
  const next = made.nextAttemptAt ? ` The next attempt is made by itself.` : "";
  return `Not accepted. ${made.error}${next}`;
}

