// What happened in a call, in seconds since its beginning: events, states, marks, turns, network, tools.
// Bounds: MOST_EVENTS events, MOST_SAMPLES network samples, MOST_OTHERS of the rest; the oldest go first.

const MOST_EVENTS = 4_000;
const MOST_SAMPLES = 3_600;
const MOST_OTHERS = 1_000;

export class Journal {
  /** `{time, from: "server" | "client", event}` */
  events = [];
  /** `{from, to, state}`; `to` null: it lasts. */
  bands = [];
  /** `{time, kind: "interruption" | "backchannel" | "resume" | "reconnect"}` */
  marks = [];
  /** `{time, id, said, event, networkMs, heardMs}` */
  turns = [];
  /** `{time, rtt, jitter, loss}`: ms, ms, the share of lost packets in the last second; null: not known. */
  network = [];
  /** `{time, id, name, arguments, output, error, seconds}` */
  tools = [];
  /** How many events are gone. */
  dropped = 0;

  #clock;
  #heldAt = null;
  #said = "";
  #received = null; // packets so far

  /** `clock`: seconds since the beginning of the call. */
  constructor(clock) {
    this.#clock = clock;
  }

  event(from, event) {
    const time = this.#clock();
    this.events.push({ time, from, event });
    if (this.events.length > MOST_EVENTS) {
      this.events.shift();
      this.dropped += 1;
    }
    if (from === "server") this.#mark(time, event);
  }

  state(state) {
    const time = this.#clock();
    const last = this.bands.at(-1);
    if (last && last.to === null) last.to = time;
    if (state) keep(this.bands, { from: time, to: null, state });
  }

  reconnected() {
    keep(this.marks, { time: this.#clock(), kind: "reconnect" });
  }

  latency({ event, networkMs, heardMs }) {
    const known = this.turns.find((turn) => turn.id === event.response_id);
    if (known) Object.assign(known, { event, networkMs, heardMs });
    else keep(this.turns, { time: this.#clock(), id: event.response_id, said: this.#said, event, networkMs, heardMs });
  }

  toolStarted({ callId, name, arguments: given }) {
    keep(this.tools, { time: this.#clock(), id: callId, name, arguments: given, output: null, error: null, seconds: null });
  }

  toolEnded({ callId, output, error }) {
    const use = this.tools.find(({ id }) => id === callId);
    if (use) Object.assign(use, { output: output ?? "", error: error ?? null, seconds: this.#clock() - use.time });
  }

  /** `stats`: of the browser, empty over WebSocket; `pingMs`: of the newest round trip. */
  sample(stats, pingMs) {
    const pair = stats.find(({ type, nominated, currentRoundTripTime }) => type === "candidate-pair" && nominated && currentRoundTripTime !== undefined);
    const inbound = stats.find(({ type, kind }) => type === "inbound-rtp" && kind === "audio");
    keep(this.network, { time: this.#clock(), rtt: pair ? pair.currentRoundTripTime * 1000 : pingMs, ...this.#arrived(inbound) }, MOST_SAMPLES);
  }

  /** One line of JSON per event. */
  lines() {
    return this.events.map(({ time, from, event }) => `${JSON.stringify({ seconds: Number(time.toFixed(3)), from, event })}\n`);
  }

  #arrived(inbound) {
    if (!inbound) return { jitter: null, loss: null };
    const before = this.#received ?? inbound;
    this.#received = inbound;
    const lost = inbound.packetsLost - before.packetsLost;
    const all = lost + inbound.packetsReceived - before.packetsReceived;
    return { jitter: inbound.jitter * 1000, loss: all > 0 ? Math.max(0, lost / all) : 0 };
  }

  #mark(time, { type, transcript, item }) {
    const mark = (kind, at = time) => keep(this.marks, { time: at, kind });
    switch (type) {
      case "blab.playout.held":
        this.#heldAt = time;
        break;
      case "blab.playout.resumed":
        if (this.#heldAt !== null) mark("backchannel", this.#heldAt);
        mark("resume");
        this.#heldAt = null;
        break;
      case "conversation.item.truncated":
        mark("interruption", this.#heldAt ?? time);
        this.#heldAt = null;
        break;
      case "conversation.item.input_audio_transcription.completed":
        if (transcript.trim()) this.#said = transcript.trim();
        break;
      case "conversation.item.added":
        if (item?.role === "user") this.#said = item.content?.find((part) => part.text)?.text ?? this.#said;
        break;
    }
  }
}

function keep(list, entry, most = MOST_OTHERS) {
  list.push(entry);
  if (list.length > most) list.shift();
}
