// Words with times. A clause is the finest that a recording knows, so within one, and within what a
// caller said in one go, words share the time by their letters.

const segmenter = new Intl.Segmenter(undefined, { granularity: "word" });

/** The words of a text with what follows each (spaces, marks), in any script. */
export function wordsOf(text) {
  const words = [];
  for (const { segment, isWordLike } of segmenter.segment(text)) {
    if (words.length && (!isWordLike || /['’-]$/.test(words.at(-1)))) words[words.length - 1] += segment;
    else words.push(segment);
  }
  return words;
}

/** [{text, fromMs, toMs}] for a text that is said between two moments. */
export function timedWords(text, fromMs, toMs) {
  const words = wordsOf(text);
  const total = words.reduce((sum, word) => sum + word.length, 0) || 1;
  let letters = 0;
  const place = () => Math.round(fromMs + ((toMs - fromMs) * letters) / total);
  return words.map((word) => {
    const begins = place();
    letters += word.length;
    return { text: word, fromMs: begins, toMs: place() };
  });
}

/** A reply's words: those that were heard with times, then the others without. */
export function wordsOfReply(reply) {
  const heard = [];
  let unheard = "";
  for (const clause of reply.clauses) {
    if (clause.heard && clause.fromMs !== null) heard.push(...timedWords(clause.heard, clause.fromMs, clause.toMs));
    else if (clause.heard) heard.push({ text: clause.heard, fromMs: reply.fromMs, toMs: reply.toMs });
    unheard += clause.text.slice(clause.heard.length);
  }
  const said = heard.map((word) => word.text).join("");
  if (!reply.clauses.length || said.length < reply.heard.length) {
    // the log does not know its clauses
    const words = reply.fromMs === null ? [] : timedWords(reply.heard, reply.fromMs, reply.toMs);
    return { heard: words, unheard: reply.text.slice(reply.heard.length) };
  }
  return { heard, unheard: unheard || reply.text.slice(reply.heard.length) };
}
