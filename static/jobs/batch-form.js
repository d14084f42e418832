// The form for a batch: one text a line, all spoken the same way.

import { el, plural } from "/shared/el.js";
import { FORMATS, dialogOf, options, voiceOptions, voicesFor } from "./forms.js";
import { languageName } from "./words.js";

export async function open(access) {
  const can = await access.get("/api/capabilities");
  const models = can.tts.models.filter((one) => one.available);
  if (!models.length) throw new Error("No engine of this server speaks now: “blab doctor” says what is missing.");
  const most = can.batch.maxItems;

  const texts = el("textarea", { name: "texts", rows: 8, required: true, dir: "auto", placeholder: "Your table is booked for eight.\nWe open at nine." });
  const count = el("p", { class: "note" }, `One text a line, at most ${most}.`);
  const model = el("select", { name: "model" }, ...options(models.map((one) => [one.id, one.id === "blab-expressive" ? "Expressive" : "Stable"])));
  const voice = el("select", { name: "voice" });
  const language = el("select", { name: "language" });
  const format = el("select", { name: "format" }, ...options(FORMATS));
  const polish = el("label", { hidden: !can.tts.polish }, el("input", { type: "checkbox", name: "polish" }), "Polish for broadcast (loudness, sibilants)");
  const partial = el("label", {}, el("input", { type: "checkbox", name: "partial" }), "If some lines cannot be spoken, speak the others");

  const choose = async () => {
    const { languages, formats } = models.find((one) => one.id === model.value);
    const spoken = Object.keys(languages).filter((tag) => languages[tag].quality !== "none");
    language.replaceChildren(...options([["", "Automatic"], ...spoken.map((tag) => [tag, languageName(tag)])]));
    for (const one of format.options) one.disabled = !formats.includes(one.value);
    voice.replaceChildren(...voiceOptions(await voicesFor(access, model.value)));
  };
  model.addEventListener("change", choose);
  texts.addEventListener("input", () => {
    const given = numbered(texts.value);
    const characters = given.reduce((sum, one) => sum + one.input.length, 0);
    count.textContent = given.length ? `${plural(given.length, "text")}, ${plural(characters, "character")}; at most ${most} texts.` : `One text a line, at most ${most}.`;
    texts.setCustomValidity(given.length > most ? `At most ${most} texts: make several batches.` : "");
  });
  await choose();

  dialogOf(
    "New batch",
    "Speak all",
    [
      el("label", {}, "Texts", texts),
      count,
      el("div", { class: "fields" }, el("label", {}, "Model", model), el("label", {}, "Voice", voice), el("label", {}, "Language", language), el("label", {}, "Format", format)),
      polish,
      partial,
    ],
    async (given, say) => {
      const lines = numbered(given.texts.value);
      const body = { model: given.model.value, voice: given.voice.value, response_format: given.format.value, polish: given.polish.checked, partial: given.partial.checked, items: lines.map(({ input }) => ({ input })) };
      if (given.language.value) body.language = given.language.value;
      say("Submitting…");
      try {
        const made = await access.post("/api/batch", body);
        location.href = `/jobs/${made.jobId}`;
      } catch (error) {
        error.lines = inLines(error, lines);
        throw error;
      }
    },
  );
}

/** The lines that say something, with their number in the field. */
const numbered = (text) => text.split("\n").map((line, i) => ({ input: line.trim(), line: i + 1 })).filter(({ input }) => input);

/** The server's faults, which count items, by line of the field. */
function inLines(error, lines) {
  const all = error.details?.errors ?? (error.details?.path ? [{ path: error.details.path, message: error.message }] : []);
  return all.map(({ path, message }) => {
    const item = /^items\[(\d+)\]/.exec(path ?? "");
    return item ? `Line ${lines[Number(item[1])]?.line}: ${message}` : message;
  });
}
