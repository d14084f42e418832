// A room: a page to build or operate with. This frame gives it its header and its access to the server,
// asks who is there where that is needed, and says what is wrong where the room cannot be opened.

import { Access, KeyNeeded } from "./access.js";
import { accountMenu } from "./account.js";
import { el } from "./el.js";
import { wireHeader } from "./header.js";
import { currentRoom } from "./rooms.js";

/**
 * Opens the room: `open(access, room)` fills `#room` by what it gets through `access`. What it throws is shown:
 * that a credential is missing or does not suffice as a card to sign in, any other error as a card in place of the
 * room. `document.body.dataset.ready` is "true" once it is open. `scopes`: what an API key needs for this room.
 */
export function openRoom(open, { scopes = [] } = {}) {
  const frame = new Frame(open, scopes);
  wireHeader();
  return frame.open();
}

class Frame {
  #open;
  #scopes;
  #access = new Access((error, userId) => this.#lost(error, userId));
  #room = document.getElementById("room");
  #card = null; // in place of the room
  #account = el("div", { class: "account" });

  constructor(open, scopes) {
    this.#open = open;
    this.#scopes = scopes;
    document.getElementById("theme").before(this.#account);
    addEventListener("pagehide", () => this.#hide(true));
    addEventListener("pageshow", (event) => event.persisted && this.#comeBack());
  }

  async open() {
    this.#card?.remove();
    this.#card = null;
    try {
      await this.#open(this.#access, this.#room);
      document.body.dataset.ready = "true";
    } catch (error) {
      await this.#show(error);
    }
    this.#account.replaceChildren(...this.#accountMenu());
  }

  async #show(error) {
    const needsKey = error instanceof KeyNeeded || (error.status === 403 && !this.#access.account);
    if (!needsKey && error.status === undefined) console.error(error);
    if (needsKey) await this.#askWho(error.message, () => this.open());
    else this.#put(problem(error.message));
  }

  /** The credential has ended under an open room: it is covered until the same person is back, and keeps what was typed. */
  #lost(error, userId) {
    if (this.#card || document.body.dataset.ready !== "true") return false;
    this.#room.hidden = true;
    this.#account.replaceChildren();
    return new Promise((resolve) => {
      const back = () => {
        if (!userId || this.#access.account?.user.id !== userId) return location.reload();
        this.#card.remove();
        this.#card = null;
        this.#room.hidden = false;
        this.#account.replaceChildren(...this.#accountMenu());
        resolve(true);
      };
      this.#askWho(error.message, back);
    });
  }

  /** The card to sign in, which is loaded when it is needed; `done()`: somebody has. */
  async #askWho(why, done) {
    const { signInCard } = await import("./sign-in.js");
    this.#put(signInCard(this.#access, why, this.#scopes, done));
  }

  #put(card) {
    this.#card = card;
    this.#room.before(card);
    card.querySelector("input")?.focus();
  }

  /** Who is signed in, their workspaces, and the way out. */
  #accountMenu() {
    const { account, pasted } = this.#access;
    const leave = () => this.#leave();
    const choose = (id) => this.#access.choose(id).then(() => location.assign(currentRoom().path || "/"), () => location.reload());
    if (account) return accountMenu(account, { choose, leave });
    const out = el("button", { class: "button small", type: "button" }, "Sign out");
    out.addEventListener("click", leave);
    return pasted ? [out] : [];
  }

  async #leave() {
    await this.#access.signOut();
    this.#room.replaceChildren();
    location.assign(`/sign-in?${new URLSearchParams({ to: currentRoom().path || "/" })}`);
  }

  /** What the browser keeps of a page that was left must not show what somebody else may not see. */
  #hide(hidden) {
    if (this.#access.account) document.body.toggleAttribute("data-left", hidden);
  }

  async #comeBack() {
    if (await this.#access.same().catch(() => false)) this.#hide(false);
    else location.reload();
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
    el("div", { class: "actions" }, again, !path || location.pathname === path ? null : el("a", { class: "button", href: path }, name)),
  );
}
