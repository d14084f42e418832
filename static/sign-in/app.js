// The page to sign in at: whoever may go on is led to where they wanted to go.

import { openRoom } from "/shared/room.js";

/** A page of this server; the call page where the address names none. */
function target() {
  const given = new URLSearchParams(location.search).get("to") ?? "/";
  const { origin, pathname, search } = new URL(URL.canParse(given, location.origin) ? given : "/", location.origin);
  return origin === location.origin && pathname !== location.pathname ? pathname + search : "/";
}

openRoom(async (access) => {
  await access.enter();
  location.replace(target());
});
