// A room: a page to build or operate with. This frame gives it its header and its access to the server,
// asks for a credential where one is needed, and says what is wrong where the room cannot be opened.

import { Access, KeyNeeded } from "./access.js";
import { el } from "./el.js";
import { wireHeader } from "./header.js";
import { currentRoom } from "./rooms.js";

/**
 * Opens the room: `open(access, room)` fills `#room` by what it gets through `access`. What it throws is shown:
 * an ApiError of status 401 or 403 as a request to sign in, any other error as a card in place of the room.
 * `document.body.dataset.ready` is "true" once it is open. `scopes`: what an API key needs for this room.
 */
export function openRoom(open, { scopes = [] } = {}) {
  const frame = new Frame(open, scopes);
  wireHeader();
  return frame.open();
}

class Frame {
  #open;
  #scopes;
  #access = new Access();
  #room = document.getElementById("room");
  #card = null; // in place of the room
  #forget = el("button", { class: "button small", type: "button", hidden: true }, "Sign out");

  constructor(open, scopes) {
    this.#open = open;
    this.#scopes = scopes;
    document.getElementById("theme").before(this.#forget);
    this.#forget.addEventListener("click", () => {
      this.#access.paste("");
      location.reload();
    });
  }

  async open() {
    this.#card?.remove();
    this.#card = null;
    try {
      await this.#open(this.#access, this.#room);
      document.body.dataset.ready = "true";
    } catch (error) {
      this.#show(error);
    }
    this.#forget.hidden = !this.#access.pasted;
  }

  #show(error) {
    const needsKey = error instanceof KeyNeeded || error.status === 403;
    if (!needsKey && !error.status) console.error(error);
    this.#card = needsKey ? this.#signIn(error.message) : problem(error.message);
    this.#room.before(this.#card);
    this.#card.querySelector("input")?.focus();
  }

  #signIn(why) {
    const field = el("input", { class: "field", id: "api-key", type: "password", autocomplete: "off", placeholder: "blab_sk_…", required: true });
    const scopes = this.#scopes.flatMap((scope, i) => [i ? ", " : "", el("code", {}, scope)]);
    const form = el(
      "form",
      { class: "card sign-in" },
      el("h1", {}, "An API key, please"),
      el("p", {}, why),
      el("label", { htmlFor: "api-key" }, "API key", ...(scopes.length ? [" with ", ...scopes] : [])),
      el("div", { class: "field-row" }, field, el("button", { class: "button primary", type: "submit" }, "Use this key")),
      el("p", { class: "small" }, "It is kept in this tab only, until the tab is closed."),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#access.paste(field.value);
      this.open();
    });
    return form;
  }
}

/** Why the room cannot be shown, and what to do: try again, or go to its entrance. */
function problem(message) {
  const { path, name } = currentRoom();
  const again = el("button", { class: "button", type: "button" }, "Try again");
  again.addEventListener("click", () => location.reload());
  return el(
    "div",
    { class: "card problem", role: "alert" },
    el("h1", {}, "This cannot be shown"),
    el("p", {}, message),
    el("div", { class: "actions" }, again, location.pathname === path ? null : el("a", { class: "button", href: path }, `${name}`)),
  );
}
