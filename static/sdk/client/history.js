// The conversation as the caller knows it: what was said, and of each reply what was heard.

/** @typedef {import("../blab.js").HistoryItem} HistoryItem */
/** @typedef {import("../blab.js").ServerEvent} ServerEvent */

const MOST_ITEMS = 500; // beyond it, the oldest is forgotten

export class History {
  /** @type {HistoryItem[]} */
  items = [];
  #change;
  #settled = 0; // so many items are of conversations that are over, whose ids mean nothing any more

  /** `change` gets the item that was added or changed, or null where one is gone.
   *  @param {(item: HistoryItem | null, added: boolean) => void} change */
  constructor(change) {
    this.#change = change;
  }

  clear() {
    this.items = [];
    this.#settled = 0;
  }

  /** The conversation is over: nothing of it changes any more. */
  settle() {
    for (const item of this.items) if (item.status === "in_progress") item.status = "incomplete";
    this.#settled = this.items.length;
  }

  /** Takes a server event; unknown ones change nothing.
   *  @param {ServerEvent} event */
  handle(event) {
    const { item_id: id, item } = event;
    switch (event.type) {
      case "conversation.item.added":
      case "response.output_item.added":
        if (item?.type === "message" && (item.role === "user" || item.role === "assistant")) this.#say(item.id, item.role, textOf(item));
        break;
      case "blab.transcript.partial":
        if (this.find(id)?.status !== "completed") this.#say(id, "user", event.text, "in_progress");
        break;
      case "conversation.item.input_audio_transcription.completed":
        if (event.transcript.trim()) this.#say(id, "user", event.transcript, "completed");
        else this.#remove(id);
        break;
      case "response.output_audio_transcript.delta":
      case "response.output_text.delta":
        this.#say(id, "assistant", (this.find(id)?.text ?? "") + event.delta);
        break;
      case "response.output_audio_transcript.done":
      case "response.output_text.done":
        if (this.find(id)?.status !== "incomplete") this.#say(id, "assistant", event.transcript ?? event.text);
        break;
      case "response.done":
        for (const { id: done } of event.response.output ?? []) {
          const known = this.find(done);
          if (known?.status === "in_progress") this.#say(done, known.role, known.text, event.response.status === "completed" ? "completed" : "incomplete");
        }
        break;
      case "blab.playout.heard":
        this.#say(id, "assistant", event.heard, event.heard === event.text ? "completed" : "incomplete");
        break;
      case "conversation.item.deleted":
        this.#remove(id);
        break;
    }
  }

  /** @param {string} id */
  find(id) {
    return this.items.find((item, place) => place >= this.#settled && item.itemId === id);
  }

  /** @param {string} id @param {"user" | "assistant"} role @param {string} text
   *  @param {HistoryItem["status"]} [status] */
  #say(id, role, text, status) {
    const known = this.find(id);
    if (known?.status === "completed" && !status) return;
    if (known) Object.assign(known, { text, status: status ?? known.status });
    else this.items.push({ itemId: id, type: "message", role, text, status: status ?? (role === "user" && text ? "completed" : "in_progress") });
    if (this.items.length > MOST_ITEMS) {
      this.items.shift();
      this.#settled = Math.max(0, this.#settled - 1);
    }
    this.#change(known ?? this.items[this.items.length - 1], !known);
  }

  /** @param {string} id */
  #remove(id) {
    const item = this.find(id);
    if (!item) return;
    this.items.splice(this.items.indexOf(item), 1);
    this.#change(null, false);
  }
}

/** @param {{ content?: { text?: string, transcript?: string }[] }} item */
const textOf = (item) => (item.content ?? []).map((part) => part.text ?? part.transcript ?? "").join("");
