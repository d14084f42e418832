// The form for all that an agent has, tools and embeds apart.

import { html } from "/vendor/lit-html/lit-html.js";
import { area, check, number, select, text } from "./field.js";
import { EAGERNESS, languageName } from "./names.js";

const MOST_INSTRUCTIONS = 20_000;

/** Where faults are shown that no control of these has. */
export const PATHS = ["name", "systemPrompt", "greeting", "language", "voice", "ttsModel", "model", "turnTaking.idleSeconds", "recording.consent", "recording.retentionDays"];

/** `room`: `{draft, faults, offers, set(path, value), preview: {busy, fault, play}}`. */
export function identity({ draft, faults, set }) {
  const left = MOST_INSTRUCTIONS - draft.systemPrompt.length;
  return html`<section class="card section" aria-labelledby="who-title">
    <h2 id="who-title">Who it is</h2>
    <div class="stack">
      ${text(faults, { path: "name", label: "Name", hint: "The agent gives itself this name." }, draft.name, (value) => set("name", value))}
      ${area(
        faults,
        {
          path: "systemPrompt",
          label: "Instructions",
          hint: `Write as you would brief a new colleague: what it is there for, what it knows, how a call goes, what it must never do.${/\[[^\]\n]+\]/.test(draft.systemPrompt) ? " Replace what stands in [brackets]." : ""}${left < 2000 ? ` ${left.toLocaleString()} characters left.` : ""}`,
        },
        draft.systemPrompt,
        (value) => set("systemPrompt", value),
        { rows: 16 },
      )}
      ${area(faults, { path: "greeting", label: "Greeting", hint: "What it says when it answers. Leave it empty to let the caller begin." }, draft.greeting, (value) => set("greeting", value), { rows: 2, max: 1000 })}
    </div>
  </section>`;
}

export function voice({ draft, faults, offers, set, preview }) {
  const languages = offers.languages.map((tag) => [tag, languageName(tag)]);
  const fits = ({ language }) => !draft.language || !language || language.split("-")[0] === draft.language.split("-")[0];
  const voices = offers.voices.filter((one) => fits(one) || one.id === draft.voice).map(({ id, name, language }) => [id, language ? `${name || id} (${languageName(language)})` : name || id]);
  return html`<section class="card section" aria-labelledby="voice-title">
    <h2 id="voice-title">Voice and language</h2>
    <div class="fields">
      ${select(faults, { path: "language", label: "Language", hint: draft.language ? "" : "It finds out what the caller speaks." }, [["", "Whatever the caller speaks"], ...languages], draft.language, (value) => set("language", value))}
      <div>
        ${select(faults, { path: "voice", label: "Voice" }, [["default", "The best for the language"], ...voices.filter(([id]) => id !== "default")], draft.voice, (value) => set("voice", value))}
        <div class="beside"><button class="button small" type="button" ?disabled=${preview.busy} @click=${preview.play}>${preview.busy ? "Listen…" : "Hear this voice"}</button><span class="fault" role="alert">${preview.fault}</span></div>
      </div>
    </div>
  </section>`;
}

export function turns({ draft, faults, set }) {
  const { eagerness, interruptible, idleSeconds } = draft.turnTaking;
  return html`<section class="card section" aria-labelledby="turns-title">
    <h2 id="turns-title">Taking turns</h2>
    <div class="fields">
      ${select(faults, { path: "turnTaking.eagerness", label: "How soon it answers" }, EAGERNESS, eagerness, (value) => set("turnTaking.eagerness", value))}
      ${number(faults, { path: "turnTaking.idleSeconds", label: "Speaks by itself after silence (seconds)", hint: "Empty: it waits." }, idleSeconds, (value) => set("turnTaking.idleSeconds", value))}
    </div>
    <div class="stack">${check("Callers may interrupt it", interruptible, (value) => set("turnTaking.interruptible", value))}</div>
  </section>`;
}

export function recording({ draft, faults, set }) {
  const { enabled, consent, retentionDays } = draft.recording;
  return html`<section class="card section" aria-labelledby="recording-title">
    <h2 id="recording-title">Recording</h2>
    <div class="stack">
      ${check("Record its calls", enabled, (value) => set("recording.enabled", value), "Both voices, the transcript and where the time went, to be looked at under Calls.")}
      ${enabled
        ? html`${area(faults, { path: "recording.consent", label: "What it says first", hint: "It is said before anything else and cannot be interrupted. In many countries callers must be informed, or asked." }, consent, (value) => set("recording.consent", value), { rows: 2, max: 2000, placeholder: "This call is recorded to improve our service." })}
            ${number(faults, { path: "recording.retentionDays", label: "Keep recordings for (days)", hint: "Empty: as long as the workspace keeps them." }, retentionDays, (value) => set("recording.retentionDays", value), { max: 36_500 })}`
        : ""}
    </div>
  </section>`;
}

export function models({ draft, faults, offers, set }) {
  const options = (list, plain) => [["", plain], ...list.map(({ id, name }) => [id, name && name !== id ? `${name} (${id})` : id])].filter(([id], at) => at > 0 || !draftHas(list, id));
  return html`<section class="card section" aria-labelledby="models-title">
    <details ?open=${Boolean(faults.of("model") || faults.of("ttsModel"))}>
      <summary><h2 id="models-title">Models</h2></summary>
      <div class="fields">
        ${select(faults, { path: "model", label: "Chat model", hint: "Thinks of what to say." }, options(offers.chat, "The usual one"), draft.model, (value) => set("model", value))}
        ${select(faults, { path: "ttsModel", label: "Speech model", hint: "Says it aloud." }, options(offers.speech, "The usual one"), draft.ttsModel, (value) => set("ttsModel", value))}
      </div>
    </details>
  </section>`;
}

const draftHas = (list, id) => list.some((one) => one.id === id);
