// Words with times, where only the time of a whole text is known: they share it by their letters.

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
