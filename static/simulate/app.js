// The room of simulated callers: what they say and earlier runs (/simulate), one run (/simulate/ID), or two
// side by side (/simulate/ID?with=ID).

import { openRoom } from "/shared/room.js";
import { openEditor } from "./editor.js";
import { openReport } from "./report.js";

openRoom(
  (access, room) => {
    const id = location.pathname.split("/")[2];
    return id ? openReport(access, room, id) : openEditor(access, room);
  },
  { scopes: ["agents:read", "agents:write"] },
);
