// The voices that can be chosen: those of the workspace and those that engines have.

import { el } from "/shared/el.js";

const NAMES = new Intl.DisplayNames(undefined, { type: "language" });
const PLAIN_NAMES = new Map();

/** "en-GB" → "British English", as this browser's language calls it. */
export function languageName(tag) {
  if (!PLAIN_NAMES.has(tag)) {
    let name = tag;
    try {
      name = NAMES.of(tag) ?? tag;
    } catch {
      // No tag of BCP 47: it stands as it is.
    }
    PLAIN_NAMES.set(tag, name.charAt(0).toUpperCase() + name.slice(1));
  }
  return PLAIN_NAMES.get(tag);
}

const SENTENCES = {
  de: "Guten Tag, so klinge ich.",
  en: "Hello, this is how I sound.",
  es: "Hola, así es como sueno.",
  fr: "Bonjour, voici ma voix.",
  it: "Ciao, questa è la mia voce.",
  pt: "Olá, é assim que eu soo.",
};

/** What a voice of a language says when it is tried. */
export const sentenceIn = (language) => SENTENCES[language?.split("-")[0]] ?? SENTENCES.en;

const QUALITY = { weak: "weak", robotic: "robotic" };

export class VoiceList extends EventTarget {
  own = [];
  builtin = [];
  #access;

  constructor(access) {
    super();
    this.#access = access;
  }

  async load() {
    const own = async () => {
      const found = [];
      for (let cursor; ; ) {
        const { data, meta } = await this.#access.list("/api/voices", { query: { limit: 100, cursor } });
        found.push(...data);
        if (!meta?.hasMore) return found;
        cursor = meta.nextCursor;
      }
    };
    const [mine, catalogue] = await Promise.all([own(), this.#access.get("/api/voices/catalog")]);
    this.own = mine;
    this.builtin = catalogue.voices;
    this.dispatchEvent(new Event("change"));
  }

  /** A voice by its id: {id, name, language}; undefined if there is none. */
  find(id) {
    return this.own.find((voice) => voice.id === id) ?? this.builtin.find((voice) => voice.id === id);
  }

  nameOf(id) {
    return !id || id === "default" ? "Default voice" : (this.find(id)?.name ?? id);
  }

  /** Fills a <select> with the voices of a model; keeps what is chosen. */
  fill(select, model) {
    const chosen = select.value;
    const groups = Map.groupBy(
      this.builtin.filter((voice) => !model || voice.models.includes(model)),
      (voice) => voice.language,
    );
    const label = ({ name, engine, quality }, voices) => {
      const twice = voices.filter((voice) => voice.name === name).length > 1;
      const more = [twice && engine, QUALITY[quality]].filter(Boolean).join(", ");
      return more ? `${name} (${more})` : name;
    };
    const mine = this.own.filter((voice) => !model || voice.model === model);
    select.replaceChildren(
      el("option", { value: "default" }, "Default voice"),
      mine.length ? el("optgroup", { label: "Your voices" }, ...mine.map((voice) => el("option", { value: voice.id }, voice.name))) : "",
      ...[...groups]
        .sort(([a], [b]) => languageName(a).localeCompare(languageName(b)))
        .map(([language, voices]) => el("optgroup", { label: languageName(language) }, ...voices.map((voice) => el("option", { value: voice.id }, label(voice, voices))))),
    );
    select.value = chosen;
    if (!select.value) select.value = "default";
  }
}

const lists = new WeakMap();

/** The one list of an access, loaded. */
export async function voicesOf(access) {
  if (!lists.has(access)) lists.set(access, new VoiceList(access));
  const list = lists.get(access);
  if (!list.builtin.length) await list.load();
  return list;
}

/** The speeds of a slider from -2 to 2: 0.25 to 4, each step the same factor; at 0 the voice's own. */
export const speedOf = (slider) => Math.round(100 * 2 ** Number(slider.value)) / 100;
