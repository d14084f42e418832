// The page of agents: opens what the address names.

import { openRoom } from "/shared/room.js";
import { openAgent, openNew } from "./agent-room.js";
import { openList, openTemplates } from "./list-room.js";

openRoom(
  (access, room) => {
    const id = location.pathname.split("/")[2];
    if (!id) return openList(access, room);
    if (id !== "new") return openAgent(access, room, id);
    const template = new URLSearchParams(location.search).get("template");
    return template ? openNew(access, room, template) : openTemplates(room);
  },
  { scopes: ["agents:read", "agents:write"] },
);
