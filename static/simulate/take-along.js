// The same run from a shell or in continuous integration: its file and its command.

import { codeSamples } from "/shared/code.js";
import { download } from "/shared/dom.js";
import { el } from "/shared/el.js";
import { tomlOf } from "./toml.js";

const FILE = "callers.toml";

export function takeAlong(run) {
  const options = [run.repeat > 1 ? ` --repeat ${run.repeat}` : "", run.atOnce > 1 ? ` --at-once ${run.atOnce}` : ""].join("");
  const command = `blab simulate ${FILE} --url ${location.origin} --key "$BLAB_KEY" --agent ${run.agentId}${options}`;
  const github = `- name: Simulated callers\n  env:\n    BLAB_KEY: \${{ secrets.BLAB_KEY }}\n  run: ${command} --junit callers.xml`;
  const samples = codeSamples({ Shell: `${command} --junit callers.xml`, "GitHub Actions": github });
  const save = el("button", { class: "button", type: "button" }, `Save ${FILE}`);
  save.addEventListener("click", () => download(FILE, [run.source ?? tomlOf(run.scenarios)], "application/toml"));
  const names = Object.keys(run.recordings);
  const dialog = el(
    "dialog",
    { class: "wide", "aria-labelledby": "take-title" },
    el(
      "form",
      { method: "dialog" },
      el("h2", { id: "take-title" }, "The same from a shell, and for CI"),
      el("p", {}, "Save the file, put a key with agents:write and tts:write into BLAB_KEY (", el("a", { href: "/keys" }, "make one"), "), and run:"),
      samples,
      el("p", { class: "note" }, "It calls the newest version of the agent. The exit code is 0 if every check passed; callers.xml is JUnit's format."),
      names.length ? el("p", { class: "note" }, `Put these recordings beside the file: ${names.join(", ")}.`) : null,
      el("div", { class: "dialog-actions" }, el("button", { class: "button" }, "Close"), save),
    ),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
