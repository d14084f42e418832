// Hearing a voice before it is chosen: a short call of its own, in which Blab says one sentence.

import { Call } from "/sdk/blab.js";

const LONGEST_MS = 15_000;
const SENTENCES = {
  de: "Guten Tag, so klinge ich.",
  en: "Hello, this is how I sound.",
  es: "Hola, así es como sueno.",
  fr: "Bonjour, voici ma voix.",
  it: "Ciao, questa è la mia voce.",
  pt: "Olá, é assim que eu soo.",
};

/** Resolves when the sentence has been heard; throws a Problem. `options`: of the call that it makes;
 *  `language`: a tag; empty: English. */
export async function preview(options, { voice, language }) {
  const session = { audio: { ...(language && { input: { transcription: { language } } }), ...(voice && { output: { voice } }) } };
  const call = new Call({ ...options, session });
  const heard = new Promise((resolve, reject) => {
    call.on("audio_stopped", resolve);
    call.on("error", ({ error }) => reject(new Error(error?.message)));
    call.on("connection_change", ({ state, problem }) => ["retrying", "ended"].includes(state) && (problem ? reject(problem) : resolve()));
  });
  const late = setTimeout(() => call.close(), LONGEST_MS);
  try {
    await Promise.race([call.connect({ microphone: false }), heard]);
    call.sendEvent({ type: "blab.say", text: SENTENCES[(language || "en").split("-")[0]] ?? SENTENCES.en });
    await heard;
  } finally {
    clearTimeout(late);
    call.close();
  }
}
