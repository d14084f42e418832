// The samples of an Ogg Opus track, any stretch of them, at exact positions and without holding the
// whole of it decoded: a stretch is the header's pages and those that it lies in. A page says where
// it ends (its granule position, in samples at 48 kHz), so decoded samples are placed by their end.
// Decoding begins a second early, because an Opus decoder needs 80 ms to settle (RFC 7845, 4.6).

import { RATE } from "/shared/peaks.js";

const EARLY = RATE;

export class Track {
  #bytes;
  #head; // length of the header's pages
  #pages = []; // of audio: {at, size, end}, `end` in samples at RATE

  /** `buffer`: the whole file. Throws where it is no Ogg Opus. */
  constructor(buffer) {
    this.#bytes = new Uint8Array(buffer);
    const view = new DataView(buffer);
    let skipped = null;
    for (let at = 0; at + 27 <= buffer.byteLength; ) {
      if (view.getUint32(at) !== 0x4f676753) throw new Error("The recording is damaged: this is no Ogg page.");
      const laced = at + 27 + view.getUint8(at + 26);
      if (laced > buffer.byteLength) break; // cut off within a page: what is before it can be heard
      let size = laced - at;
      for (let place = at + 27; place < laced; place++) size += view.getUint8(place);
      if (at + size > buffer.byteLength) break;
      if (skipped === null) skipped = view.getUint16(laced + 10, true);
      const granule = view.getBigInt64(at + 6, true);
      if (granule > 0n) this.#pages.push({ at, size, end: (Number(granule) - skipped) / 2 });
      else if (granule < 0n) this.#pages.push({ at, size, end: null }); // no packet ends here
      else this.#head = at + size;
      at += size;
    }
    for (let i = this.#pages.length - 1, end = 0; i >= 0; i--) end = this.#pages[i].end ??= end;
  }

  /** How many samples it has. */
  get length() {
    return Math.max(0, Math.round(this.#pages.at(-1)?.end ?? 0));
  }

  /** The samples from `from` up to but not including `to`; silence beyond its ends. */
  async samples(from, to) {
    const wanted = new Float32Array(to - from);
    const first = this.#pages.findIndex((page) => page.end > from - EARLY);
    if (first < 0 || to <= from) return wanted;
    const found = this.#pages.findIndex((page) => page.end >= to);
    const last = this.#pages[found < 0 ? this.#pages.length - 1 : found];
    const begins = this.#pages[first].at;
    const file = new Uint8Array(this.#head + last.at + last.size - begins);
    file.set(this.#bytes.subarray(0, this.#head));
    file.set(this.#bytes.subarray(begins, last.at + last.size), this.#head);
    const decoded = (await new OfflineAudioContext(1, 1, RATE).decodeAudioData(file.buffer)).getChannelData(0);
    const place = Math.round(last.end) - decoded.length - from; // of the first decoded sample, in what is wanted
    wanted.set(decoded.subarray(Math.max(0, -place), Math.max(0, wanted.length - place)), Math.max(0, place));
    return wanted;
  }
}
