// WAV files of 16 bits: made of samples, and read while they are still being made.

/** The first 44 bytes of a file with `samples` samples in each of its channels. */
export function wavHeader(samples, rate, channels = 1) {
  const view = new DataView(new ArrayBuffer(44));
  const text = (place, letters) => [...letters].forEach((letter, i) => view.setUint8(place + i, letter.charCodeAt(0)));
  const bytes = 2 * channels * samples;
  text(0, "RIFF");
  view.setUint32(4, 36 + bytes, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, channels, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * channels * rate, true);
  view.setUint16(32, 2 * channels, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, bytes, true);
  return view.buffer;
}

/** Samples, -1 to 1, as 16 bits. */
export function pcm16(samples) {
  const made = new Int16Array(samples.length);
  for (let i = 0; i < samples.length; i++) made[i] = Math.max(-1, Math.min(1, samples[i])) * 32_767;
  return made;
}

/** A mono file of Int16Arrays. */
export function wavFile(pieces, rate) {
  const samples = pieces.reduce((sum, piece) => sum + piece.length, 0);
  return new Blob([wavHeader(samples, rate), ...pieces], { type: "audio/wav" });
}

/** Reads a mono file of 16 bits piece by piece; its lengths are not believed, since a stream's maker does not know them. */
export class WavReader {
  #rest = new Uint8Array(0);
  rate = 0; // once the header is read

  /** The samples, -1 to 1, that these bytes complete. */
  push(bytes) {
    const all = new Uint8Array(this.#rest.length + bytes.length);
    all.set(this.#rest);
    all.set(bytes, this.#rest.length);
    const begins = this.rate ? 0 : this.#header(all);
    if (begins === null) {
      this.#rest = all;
      return new Float32Array(0);
    }
    const count = (all.length - begins) >> 1;
    const view = new DataView(all.buffer, begins, 2 * count);
    this.#rest = all.slice(begins + 2 * count);
    return Float32Array.from({ length: count }, (_, i) => view.getInt16(2 * i, true) / 32_768);
  }

  #header(bytes) {
    const view = new DataView(bytes.buffer);
    for (let at = 12; at + 8 <= bytes.length; ) {
      const name = view.getUint32(at);
      if (name === 0x666d7420 && at + 16 <= bytes.length) this.rate = view.getUint32(at + 12, true);
      if (name === 0x64617461) return at + 8;
      at += 8 + view.getUint32(at + 4, true);
    }
    this.rate = 0;
    return null;
  }
}
