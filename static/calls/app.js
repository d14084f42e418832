// The page of calls: opens what the address names.

import { openRoom } from "/shared/room.js";
import { openCall, openComparison } from "./call-room.js";
import { openList } from "./list-room.js";

openRoom(
  (access, room) => {
    const id = location.pathname.split("/")[2];
    if (!id) return openList(access, room);
    return id === "compare" ? openComparison(access, room) : openCall(access, room, id);
  },
  { scopes: ["agents:read", "agents:write"] },
);
