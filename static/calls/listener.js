// The audio of a call in progress, over the realtime socket (docs/realtime.md, "Listening in").

const HEADER = 16;
const [TAKEN_BACK, BEHIND] = [1, 0.4]; // a flag; seconds between when something is said and heard here
const PROTOCOLS = ["realtime", "openai-insecure-api-key."];

export class Listener {
  #socket = null;
  #context = new AudioContext();
  #zero = null; // context time at Unix time 0
  #sources = [new Set(), new Set()]; // what is still to be heard, by track
  heard = 0; // messages with sound

  /** `onEnd(reason)`: it was closed, by the server or for a fault; empty where the call ended. */
  open(callId, key, onEnd) {
    const url = new URL("/v1/realtime", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.search = new URLSearchParams({ call_id: callId, listen: "true" });
    this.#socket = new WebSocket(url, [PROTOCOLS[0], PROTOCOLS[1] + key]);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.addEventListener("message", ({ data }) => data instanceof ArrayBuffer && this.#take(new DataView(data)));
    this.#socket.addEventListener("close", ({ code, reason }) => onEnd(code === 1000 ? "" : `Listening in ended: ${reason || "the server refused it."}`));
    this.#context.resume();
  }

  close() {
    this.#socket?.close();
    this.#context.close();
  }

  #take(view) {
    const sources = this.#sources[view.getUint8(0) ? 1 : 0];
    const at = Number(view.getBigUint64(8)) / 1000;
    this.#zero ??= this.#context.currentTime + BEHIND - at;
    const when = this.#zero + at;
    if (view.getUint8(1) & TAKEN_BACK) {
      for (const source of sources) if (source.begins >= when - 0.01) source.stop();
        else if (source.ends > when) source.stop(when);
    }
    const count = (view.byteLength - HEADER) >> 1;
    if (!count) return;
    const buffer = this.#context.createBuffer(1, count, view.getUint32(4));
    const samples = buffer.getChannelData(0);
    for (let i = 0; i < count; i++) samples[i] = view.getInt16(HEADER + 2 * i, true) / 32_768;
    if (when < this.#context.currentTime) this.#zero += this.#context.currentTime - when + 0.1; // later than thought
    const source = Object.assign(this.#context.createBufferSource(), { buffer });
    source.begins = this.#zero + at;
    source.ends = source.begins + buffer.duration;
    source.connect(this.#context.destination);
    source.addEventListener("ended", () => sources.delete(source));
    sources.add(source);
    source.start(source.begins);
    this.heard += 1;
    document.documentElement.dataset.heard = this.heard;
  }
}
