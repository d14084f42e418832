// The form for a dub: a recording of somebody who speaks, and the language that it shall speak.

import { el } from "/shared/el.js";
import { FORMATS, dialogOf, options, voiceOptions, voicesFor } from "./forms.js";
import { languageName } from "./words.js";

const MODEL = "blab-stable";
const MB = 1_000_000;

export async function open(access) {
  const [{ dubbing, limits }, voices] = await Promise.all([access.get("/api/capabilities"), voicesFor(access, MODEL)]);
  if (!dubbing.available) throw new Error(`This server does not dub now: ${dubbing.reason ?? "an engine is missing."}`);
  const { targets, drafts } = dubbing;
  const sources = [...new Set([...Object.keys(targets), ...Object.keys(drafts)])];

  const file = el("input", { type: "file", name: "file", required: true, accept: "audio/*,video/*" });
  const source = el("select", { name: "source" }, ...options([["", "Automatic"], ...sources.map((tag) => [tag, languageName(tag)])]));
  const target = el("select", { name: "target", required: true });
  const voice = el("select", { name: "voice" });
  const format = el("select", { name: "format" }, ...options(FORMATS));
  const draftBox = el("input", { type: "checkbox", name: "draft" });
  const draft = el("label", {}, draftBox, el("span", {}, "If no translator here knows the two languages, let the chat model translate. It may say something else than the recording: read the result before you use it."));

  const into = (table) => new Set(source.value ? (table[source.value] ?? []) : Object.values(table).flat());
  const chooseTarget = () => {
    const sure = into(targets);
    const chosen = target.value;
    const all = [...new Set([...sure, ...into(drafts)])].filter((tag) => tag !== source.value);
    target.replaceChildren(...options(all.map((tag) => [tag, languageName(tag) + (sure.has(tag) ? "" : " (draft)")])));
    if (all.includes(chosen)) target.value = chosen;
    chooseVoice();
  };
  const chooseVoice = () => {
    const sure = into(targets).has(target.value);
    draft.hidden = sure && Boolean(source.value);
    draftBox.required = !sure;
    voice.replaceChildren(...voiceOptions(voices, target.value));
  };
  source.addEventListener("change", chooseTarget);
  target.addEventListener("change", chooseVoice);
  chooseTarget();

  dialogOf(
    "Dub a recording",
    "Dub it",
    [
      el("label", {}, `Recording, audio or video, at most ${Math.floor(limits.maxUploadBytes / MB).toLocaleString()} MB`, file),
      el("div", { class: "fields" }, el("label", {}, "Spoken in", source), el("label", {}, "Dub into", target), el("label", {}, "Voice", voice), el("label", {}, "Format", format)),
      draft,
    ],
    async (given, say) => {
      const [chosen] = given.file.files;
      if (chosen.size > limits.maxUploadBytes) throw new Error("The recording is larger than this server takes.");
      say(`Uploading ${chosen.name} (${(chosen.size / MB).toFixed(1)} MB)…`);
      const form = new FormData();
      form.append("file", chosen);
      const uploaded = await (await access.fetch("/api/dubbing/source", { method: "POST", body: form })).json();
      const body = { sourceStorageKey: uploaded.data.storageKey, targetLanguage: given.target.value, voice: given.voice.value, model: MODEL, format: given.format.value };
      if (given.source.value) body.sourceLanguage = given.source.value;
      if (!draft.hidden) body.allowDraft = given.draft.checked;
      say("Submitting…");
      location.href = `/jobs/${(await access.post("/api/dubbing", body)).jobId}`;
    },
  );
}
