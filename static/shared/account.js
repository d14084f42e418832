// The menu of whoever is signed in: their workspaces, and the way out.

import { node } from "./dom.js";

/** A button with its menu. `choose(workspaceId)` and `leave()` do what is chosen; the menu shows what they throw. */
export function accountMenu({ user, workspaces, workspaceId }, { choose, leave }) {
  const name = user.name || user.email;
  const who = node("p", "small", user.email);
  const action = (text, act) => {
    const button = Object.assign(node("button", "", text), { type: "button" });
    button.addEventListener("click", () => act().catch((error) => Object.assign(who, { role: "alert", textContent: `You are still signed in. ${error.message}` })));
    return button;
  };
  const choices = workspaces.map(({ id, name: text }) => {
    const choice = action(text, () => choose(id));
    if (id === workspaceId) choice.ariaCurrent = "true";
    return choice;
  });
  const menu = node("div", "menu", who, ...choices, action("Sign out", leave));
  Object.assign(menu, { id: "account", popover: "auto" });
  const button = node("button", "button small", name);
  Object.assign(button, { type: "button", ariaLabel: `Account of ${name}`, popoverTargetElement: menu });
  return [button, menu];
}
