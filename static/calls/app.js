// The page of calls: opens the room that the address names, once there is a key.

import { wireThemeToggle } from "/shared/theme-toggle.js";
import { Access, KeyNeeded } from "./access.js";
import { openCall, openComparison } from "./call-room.js";
import { openList } from "./list-room.js";

const $ = (id) => document.getElementById(id);
const access = new Access();

async function open() {
  const room = $("room");
  const id = location.pathname.split("/")[2];
  $("sign-in").hidden = true;
  try {
    if (!id) await openList(access, room);
    else if (id === "compare") await openComparison(access, room);
    else await openCall(access, room, id);
    document.body.dataset.ready = "true";
  } catch (error) {
    show(error);
  }
  $("forget").hidden = !access.pasted;
}

function show(error) {
  if (error instanceof KeyNeeded || error.status === 403) {
    $("sign-in").hidden = false;
    $("sign-in-why").textContent = error.message;
    $("api-key").focus();
    return;
  }
  $("problem").hidden = false;
  $("problem-text").textContent = error.message;
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  access.paste($("api-key").value);
  $("api-key").value = "";
  open();
});
$("forget").addEventListener("click", () => {
  access.paste("");
  location.reload();
});
wireThemeToggle($("theme"));
open();
