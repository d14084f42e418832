// The conversation on the page: server events in, bubbles out.
// A caller's bubble grows with partials until the final text replaces it; the agent's grows as it
// is spoken and, where it was cut off, shows what was not heard struck through.

import { node } from "/shared/dom.js";
import { fill, latencyFigure, median, stagesOf } from "./latency.js";

const BETA_NAMES = {
  "response.audio_transcript.delta": "response.output_audio_transcript.delta",
  "response.text.delta": "response.output_text.delta",
  "conversation.item.created": "conversation.item.added",
};

export class Transcript {
  #bubbles = new Map(); // item id → bubble
  #responses = new Map(); // response id → bubble of the agent
  #waiting = new Map(); // response id → latency that came before its bubble
  #totals = [];
  #typed = new Set(); // ids this page made and shows itself, in whatever call
  #speaking = null; // the caller's bubble that is growing

  #pinned = true; // the newest turn is kept in view, until the reader scrolls away from it
  #top = 0; // where the reader last was

  /** `announcer`: a live region; `newest`: the button that leads back to the newest turn. */
  constructor({ list, scroll, empty, announcer, medianText, newest }) {
    Object.assign(this, { list, scroll, empty, announcer, medianText, newest });
    this.handlers = this.#table();
    scroll.addEventListener("scroll", () => this.#scrolled());
    newest.addEventListener("click", () => this.#pin(true));
    const follow = new ResizeObserver(() => this.#pinned && this.#pin(true));
    follow.observe(list);
    follow.observe(scroll);
  }

  /** Whether screen readers announce finished replies, and then talk beside the agent. */
  announces = false;
  /** The language of what is said, as a tag; empty: not known. */
  language = "";

  /** Takes a server event; unknown ones change nothing. */
  handle(event) {
    this.handlers[BETA_NAMES[event.type] ?? event.type]?.(event);
  }

  /** Only a movement upwards is the reader's own: what grows moves nothing up. */
  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroll;
    if (scrollHeight - scrollTop - clientHeight < 4) this.#pin(true);
    else if (scrollTop < this.#top) this.#pin(false);
    this.#top = scrollTop;
  }

  #pin(pinned) {
    this.#pinned = pinned;
    this.newest.hidden = pinned;
    if (pinned) this.scroll.scrollTop = this.scroll.scrollHeight;
  }

  /** A line of the page's own between the bubbles. */
  note(text, kind = "note") {
    const line = node("li", `line ${kind}`);
    line.append(node("span", "", text));
    this.#append(line);
    return line;
  }

  /** A typed message, shown before the server confirms it. */
  typed(itemId, text) {
    this.#typed.add(itemId);
    this.#user(itemId).finish(text);
  }

  /** Where the waiting of a turn went: a `blab.latency` event, the network's share of it and the whole,
   *  in ms, as far as this page knows them. */
  setLatency(event, networkMs, heardMs) {
    const bubble = this.#responses.get(event.response_id);
    const turn = stagesOf(event, networkMs, heardMs);
    if (bubble) bubble.latency(turn);
    else this.#waiting.set(event.response_id, turn);
    const index = this.#totals.findIndex(([id]) => id === event.response_id);
    this.#totals[index < 0 ? this.#totals.length : index] = [event.response_id, turn.total];
    const middle = median(this.#totals.map(([, total]) => total));
    this.medianText.replaceChildren(node("span", "lead", "Answers after "), node("b", "", `${middle} ms`), this.#totals.length > 1 ? node("span", "count", ` (median of ${this.#totals.length})`) : "");
  }

  /** The whole conversation as lines of text: what was not heard in brackets. */
  text() {
    return [...this.list.querySelectorAll(".turn")]
      .map((turn) => [turn.classList.contains("you") ? "You" : "Blab", spokenText(turn.querySelector(".words"))])
      .filter(([, text]) => text)
      .map(([who, text]) => `${who}: ${text}\n`)
      .join("");
  }

  /** The connection was lost; the call may go on, with the same ids. */
  suspend() {
    for (const bubble of this.#bubbles.values()) bubble.suspend();
  }

  /** The call is over: nothing grows any more; ids start afresh. */
  endCall() {
    for (const bubble of new Set([...this.#bubbles.values(), ...this.#responses.values()])) bubble.settle();
    this.#bubbles.clear();
    this.#responses.clear();
    this.#waiting.clear();
    this.#speaking = null;
  }

  #table() {
    const user = (event) => this.#user(event.item_id);
    const spoken = (event) => this.#agent(event).say(event.delta);
    const written = (event) => this.#agent(event).replace(event.transcript ?? event.text);
    const heard = (event) => this.#bubbles.get(event.item_id)?.cut(event.text, event.heard);
    const held = (on) => (event) => (this.#bubbles.get(event.item_id) ?? this.#responses.get(event.response_id))?.hold(on);
    return {
      "input_audio_buffer.speech_started": (event) => this.#speechStarted(event),
      "input_audio_buffer.speech_stopped": (event) => this.#bubbles.get(event.item_id)?.pause(),
      "session.created": (event) => this.#session(event.session),
      "session.updated": (event) => this.#session(event.session),
      "blab.language": (event) => this.#languageFound(event),
      "blab.languages": async (event) => (await (this.tools ??= import("./transcript-tools.js"))).languages(this, event),
      "input_audio_buffer.cleared": () => this.#forgetEmpty(),
      "blab.transcript.partial": (event) => user(event).partial(event.text),
      "conversation.item.input_audio_transcription.delta": (event) => user(event).delta(event.delta),
      "conversation.item.input_audio_transcription.completed": (event) => this.#finalText(event),
      "conversation.item.input_audio_transcription.failed": (event) => user(event).finish("(not understood)"),
      "conversation.item.added": (event) => this.#itemAdded(event.item),
      "conversation.item.deleted": (event) => this.#remove(event.item_id),
      "conversation.item.truncated": (event) => this.#bubbles.get(event.item_id)?.truncate(event.audio_end_ms),
      "response.created": (event) => this.#waitingReply(event.response),
      "response.output_item.added": (event) => event.item?.role === "assistant" && this.#agent({ ...event, item_id: event.item.id }),
      "response.output_audio_transcript.delta": spoken,
      "response.output_text.delta": spoken,
      "response.output_audio_transcript.done": written,
      "response.output_text.done": written,
      "response.done": (event) => this.#replyDone(event.response),
      "blab.playout.heard": heard,
      "blab.playout.held": held(true),
      "blab.playout.resumed": held(false),
    };
  }

  #session(session) {
    this.language = session?.blab?.language_in_use ?? session?.audio?.input?.transcription?.language ?? this.language;
    if (session?.blab?.languages_loading?.[0]) this.handlers["blab.languages"](session.blab);
  }

  /** The turn is spoken in another language than its bubble was opened for; those to come are, too. */
  #languageFound(event) {
    if (event.spoken ?? true) this.language = event.language;
    this.#bubbles.get(event.item_id)?.speaks(event.language);
  }

  #speechStarted(event) {
    this.#forgetEmpty();
    this.#speaking = this.#user(event.item_id);
    this.#speaking.listen();
  }

  /** A sound that became no words leaves no bubble. */
  #forgetEmpty() {
    if (this.#speaking?.isEmpty) this.#remove(this.#speaking.id);
    this.#speaking = null;
  }

  #finalText(event) {
    const text = event.transcript.trim();
    if (!text) return this.#remove(event.item_id);
    this.#user(event.item_id).finish(text);
    return this.#announce(`You said: ${text}`);
  }

  #itemAdded(item) {
    if (item?.role !== "user" || this.#bubbles.has(item.id) || this.#typed.has(item.id)) return;
    const text = item.content?.find((part) => part.type === "input_text")?.text;
    if (text) this.#user(item.id).finish(text);
  }

  #waitingReply(response) {
    if (this.#responses.has(response.id)) return;
    const bubble = new AgentBubble(null);
    this.#responses.set(response.id, bubble);
    this.#append(bubble.element);
  }

  #replyDone(response) {
    const bubble = this.#responses.get(response.id);
    if (!bubble) return;
    bubble.end(response.status, response.status_details);
    if (bubble.isEmpty && response.status !== "failed") bubble.element.remove();
    else if (response.status === "completed") this.#announce(`Blab: ${bubble.text}`);
    else if (response.status === "cancelled") this.#announce("Blab stopped.");
  }

  #user(id) {
    let bubble = this.#bubbles.get(id);
    if (!bubble) {
      bubble = new UserBubble(id);
      this.#bubbles.set(id, bubble);
      this.#append(bubble.element);
    }
    return bubble;
  }

  #agent({ response_id: responseId, item_id: itemId }) {
    let bubble = this.#bubbles.get(itemId) ?? this.#responses.get(responseId);
    if (!bubble) {
      bubble = new AgentBubble(itemId);
      this.#append(bubble.element);
    }
    bubble.id = itemId;
    this.#bubbles.set(itemId, bubble);
    this.#responses.set(responseId, bubble);
    const turn = this.#waiting.get(responseId);
    if (turn) bubble.latency(turn);
    this.#waiting.delete(responseId);
    return bubble;
  }

  #remove(id) {
    this.#bubbles.get(id)?.element.remove();
    this.#bubbles.delete(id);
  }

  #append(element) {
    this.empty.hidden = true;
    const words = element.querySelector(".words");
    if (words && this.language) words.lang = this.language;
    this.list.append(element);
  }

  /** For screen readers, where the reader wants it: by default only a call's beginning and end and errors
   *  are announced. */
  #announce(text) {
    if (this.announces) this.announcer.replaceChildren(node("p", "", text));
  }
}

/** What both kinds of bubble share: a name for screen readers, a text, a tail for remarks. */
class Bubble {
  constructor(id, side, name) {
    this.id = id;
    this.text = "";
    this.element = node("li", `turn ${side}`);
    this.body = node("p", "bubble");
    this.words = node("span", "words");
    this.words.dir = "auto";
    this.remark = node("p", "remark");
    this.remark.hidden = true;
    this.body.append(node("span", "visually-hidden", `${name}: `), this.words);
    this.element.append(this.body, this.remark);
  }

  get isEmpty() {
    return this.text.trim() === "";
  }

  say(text) {
    this.text = text;
    this.words.textContent = text;
  }

  speaks(language) {
    this.words.lang = language;
  }

  mark(state) {
    this.element.dataset.state = state;
  }

  comment(text) {
    this.remark.textContent = text;
    this.remark.hidden = !text;
  }

  suspend() {}

  settle() {
    if (this.isEmpty) this.element.remove();
    else if (!["cut", "failed"].includes(this.element.dataset.state)) this.mark("done");
  }
}

class UserBubble extends Bubble {
  constructor(id) {
    super(id, "you", "You");
    this.streamed = "";
    this.hasPartials = false;
    this.mark("live");
  }

  /** The caller makes a sound: dots until the first words. */
  listen() {
    if (this.isEmpty) this.words.replaceChildren(dots());
    this.mark("live");
  }

  pause() {
    if (this.element.dataset.state === "live") this.mark("settling");
  }

  /** The words so far; those that the last partial had already are settled, the rest fresh. */
  partial(text) {
    this.hasPartials = true;
    this.#grow(text);
  }

  /** For servers that send only additions. */
  delta(text) {
    this.streamed += text ?? "";
    if (!this.hasPartials) this.#grow(this.streamed);
  }

  finish(text) {
    this.say(text);
    this.streamed = "";
    this.mark("done");
  }

  #grow(text) {
    if (!text.trim()) return;
    const before = this.text.split(" ");
    const now = text.split(" ");
    let same = 0;
    while (same < now.length && now[same] === before[same]) same++;
    this.text = text;
    const settled = now.slice(0, same).join(" ");
    const fresh = now.slice(same).join(" ");
    this.words.replaceChildren(settled, settled && fresh ? " " : "", node("span", "fresh", fresh));
    this.mark("live");
  }
}

class AgentBubble extends Bubble {
  #figure = null;
  #suspended = false;

  constructor(id) {
    super(id, "blab", "Blab");
    this.words.replaceChildren(dots());
    this.mark("thinking");
  }

  /** The next words, as they begin to be spoken. */
  say(delta) {
    if (this.isEmpty) this.words.replaceChildren();
    this.text += delta;
    this.words.append(node("span", "fresh", delta));
    if (this.element.dataset.state === "thinking") this.mark("speaking");
  }

  /** The whole text so far, should it differ from what was streamed. */
  replace(text) {
    if (typeof text !== "string" || text === this.text || this.element.dataset.state === "cut") return;
    this.text = text;
    this.words.textContent = text;
  }

  /** The call ended while it was being spoken: the rest was never heard. */
  settle() {
    if (["speaking", "held"].includes(this.element.dataset.state)) {
      this.mark("cut");
      this.comment("The call ended here");
    }
    super.settle();
  }

  /** The connection was lost; what is spoken now is no longer heard. */
  suspend() {
    this.#suspended = ["speaking", "held"].includes(this.element.dataset.state);
  }

  hold(on) {
    if (!["speaking", "held"].includes(this.element.dataset.state)) return;
    this.mark(on ? "held" : "speaking");
    this.comment(on ? "Waiting: you are speaking" : "");
  }

  truncate(milliseconds) {
    this.mark("cut");
    const what = this.#suspended ? "The connection was lost" : "You cut in";
    this.comment(`${what} after ${(milliseconds / 1000).toFixed(1)} s`);
  }

  /** Of `text` only the beginning `heard` reached the caller's ear. */
  cut(text, heard) {
    if (typeof heard !== "string" || typeof text !== "string" || heard === text) return;
    const rest = text.startsWith(heard) ? text.slice(heard.length) : text;
    if (!rest.trim()) return;
    this.text = text;
    const unheard = document.createElement("del");
    unheard.dir = "auto";
    unheard.append(node("span", "visually-hidden", "not heard: "), rest.trim());
    this.words.replaceChildren(heard.trimEnd(), heard ? " " : "", unheard);
    this.mark("cut");
    if (this.remark.hidden || this.remark.textContent.startsWith("Waiting")) this.comment("You cut in");
  }

  end(status, details) {
    if (status === "failed") {
      this.mark("failed");
      if (this.isEmpty) this.words.textContent = "";
      this.comment(details?.error?.message ?? "The answer failed.");
    } else if (status === "cancelled") {
      this.mark("cut");
      if (this.remark.hidden || this.remark.textContent.startsWith("Waiting")) this.comment("Stopped");
    } else if (this.element.dataset.state !== "cut") {
      this.mark("done");
      this.comment(status === "incomplete" ? "The answer was too long and ends here" : "");
    }
  }

  latency(turn) {
    if (!this.#figure) {
      this.#figure = latencyFigure();
      this.element.append(this.#figure);
    }
    fill(this.#figure, turn);
  }
}

function spokenText(words) {
  const copy = words.cloneNode(true);
  for (const dots of copy.querySelectorAll(".dots, .visually-hidden")) dots.remove();
  for (const unheard of copy.querySelectorAll("del")) unheard.replaceWith(`[not heard: ${unheard.textContent}]`);
  return copy.textContent.trim();
}

function dots() {
  const holder = node("span", "dots");
  holder.setAttribute("aria-hidden", "true");
  holder.append(node("i"), node("i"), node("i"));
  return holder;
}
