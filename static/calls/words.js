// The words of a reply with times. A clause is the finest that a recording knows.

import { timedWords } from "/shared/words.js";

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
