// The workbench: three benches, each at an address of its own. What is written on one stays while another
// is open, since a bench is opened once.

import { openRoom } from "/shared/room.js";
import { el, parts } from "/shared/el.js";
import { openSpeech } from "./speech.js";
import { openTranscription } from "./transcription.js";
import { openVoices } from "./voices.js";

const BENCHES = { speech: ["Speech", openSpeech], transcription: ["Transcription", openTranscription], voices: ["Voices", openVoices] };
const SCOPES = ["tts:read", "tts:write", "stt:read", "stt:write", "voices:read", "voices:write", "jobs:read"];

openRoom(
  async (access, room) => {
    const view = parts("workbench");
    const opened = new Map();

    const show = async () => {
      const [, , named, ...rest] = location.pathname.split("/");
      const name = named in BENCHES ? named : "speech";
      const [title, open] = BENCHES[name];
      for (const other of Object.keys(BENCHES)) {
        if (other === name) view[other].setAttribute("aria-current", "page");
        else view[other].removeAttribute("aria-current");
      }
      for (const bench of opened.values()) bench.leave?.();
      if (!opened.has(name)) opened.set(name, await open(access, go));
      const bench = opened.get(name);
      view.bench.replaceChildren(bench.root);
      document.title = `${title} – Blab`;
      await bench.enter?.(rest[0] ?? "");
    };
    const go = (path) => {
      history.pushState(null, "", path);
      return show().catch((error) => view.bench.replaceChildren(el("p", { class: "fault", role: "alert" }, error.message)));
    };

    document.addEventListener("click", (event) => {
      const link = event.target.closest('a[href^="/workbench"]');
      if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      event.preventDefault();
      go(link.getAttribute("href"));
    });
    addEventListener("popstate", show);
    await show();
    room.replaceChildren(view.root);
  },
  { scopes: SCOPES },
);
