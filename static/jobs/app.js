// The room of jobs: all of them (/jobs), or one (/jobs/ID); and the forms for batches and dubs.

import { el } from "/shared/el.js";
import { openRoom } from "/shared/room.js";
import { JobList } from "./list.js";
import { OneJob } from "./one.js";

/** A button that opens a form, which is loaded when it is needed. */
function opener(text, load, access) {
  const button = el("button", { class: "button", type: "button" }, text);
  button.addEventListener("click", async () => {
    button.disabled = true;
    const { open } = await load();
    await open(access).catch((error) => alertUnder(button, error.message));
    button.disabled = false;
  });
  return button;
}

function alertUnder(button, message) {
  const fault = button.closest(".head").parentElement.querySelector(".fault");
  fault.textContent = message;
}

openRoom(
  async (access, room) => {
    const id = location.pathname.split("/")[2];
    if (id) return new OneJob(access, await access.get(`/api/jobs/${id}`)).open(room);
    const batch = opener("New batch", () => import("./batch-form.js"), access);
    const dub = opener("Dub a recording", () => import("./dub-form.js"), access);
    return new JobList(access).open(room, batch, dub);
  },
  { scopes: ["jobs:read", "batch:write", "dubbing:write"] },
);
