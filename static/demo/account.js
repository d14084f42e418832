// Who is signed in, and their way out. Loaded where somebody is.

import { accountMenu } from "/shared/account.js";
import { node } from "/shared/dom.js";

/** `session`: what GET /session says. */
export function showAccount(session) {
  const ask = async (method, body) => {
    const headers = { "Content-Type": "application/json", "X-CSRF-Token": session.csrfToken };
    const response = await fetch("/session", { method, headers, body: JSON.stringify(body) });
    if (!response.ok && response.status !== 401) throw new Error("Reload the page, and try again.");
  };
  const menu = accountMenu(session, {
    choose: (workspaceId) => ask("PATCH", { workspaceId }).then(() => location.reload()),
    leave: () => ask("DELETE").then(() => location.assign("/sign-in?to=/")),
  });
  addEventListener("pageshow", (event) => event.persisted && location.reload()); // somebody else may be
  document.getElementById("theme").before(node("div", "account", ...menu));
}
