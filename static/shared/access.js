// What a page may do, and by which credential: an API key that somebody pasted, which is kept until the
// tab is closed; or the cookie of whoever signed in, which no script can read; or on the server's own
// machine a short-lived key that is given freely.

import { Api, ApiError } from "./api.js";

const KEPT = "blab.key";
const CHANGED = ["bad_csrf_token", "not_a_member"]; // somebody signed in anew, or was sent away, in another tab

/** Nothing can be done without signing in; `message` says why. */
export class KeyNeeded extends Error {}

export class Access {
  #pasted = sessionStorage.getItem(KEPT) ?? "";
  #given = "";
  #session = null; // what GET /session says
  #api = new Api((method) => this.#headers(method));
  #lost = null; // a promise while the credential has ended and somebody may sign in again
  #onLost;

  /** `onLost(error, userId)`: the credential has ended; `userId` of who was signed in, if somebody was. Requests wait
   *  for the promise that it returns, and are sent again once that is true. */
  constructor(onLost = () => false) {
    this.#onLost = onLost;
  }

  /** Takes an API key from its owner; empty: forgets it. */
  paste(key) {
    this.#pasted = key.trim();
    if (this.#pasted) sessionStorage.setItem(KEPT, this.#pasted);
    else sessionStorage.removeItem(KEPT);
  }

  /** Whether the key was pasted here. */
  get pasted() {
    return Boolean(this.#pasted);
  }

  /** Who is signed in: `{user, workspaces, workspaceId}`; null where nobody is, or a key counts instead. */
  get account() {
    return !this.#pasted && this.#session?.user ? this.#session : null;
  }

  /** Whether people may create accounts themselves. */
  get registers() {
    return this.#session?.registration === "open";
  }

  /** Signs in by `{email, password}`, or with a new account, by its `name` too. */
  async signIn(fields, { register = false } = {}) {
    this.#session = await this.#api.send("POST", register ? "/session/account" : "/session", fields);
    this.#pasted = "";
  }

  /** Ends what this browser may do, on the server too. */
  async signOut() {
    if (this.account) await this.#api.send("DELETE", "/session").catch((error) => error.status === 401 || Promise.reject(error));
    this.paste("");
    this.#session = null;
  }

  /** Chooses the workspace of this browser, from the next page on. */
  choose = (workspaceId) => this.#api.send("PATCH", "/session", { workspaceId });

  /** Makes sure that there is a credential; throws KeyNeeded. */
  async enter() {
    if (this.#pasted) return;
    this.#session ??= await this.#who();
    if (!this.#session.user && !this.#given) this.#given = await this.#mint();
  }

  /** A key for a WebSocket, which takes no cookie; throws KeyNeeded. */
  async key() {
    await this.enter();
    return this.#pasted || this.#mint();
  }

  get = (path, options) => this.#ask((api) => api.get(path, options));
  list = (path, options) => this.#ask((api) => api.list(path, options));
  post = (path, body, options) => this.#ask((api) => api.send("POST", path, body, options));
  patch = (path, body, options) => this.#ask((api) => api.send("PATCH", path, body, options));
  put = (path, body, options) => this.#ask((api) => api.send("PUT", path, body, options));
  delete = (path, options) => this.#ask((api) => api.send("DELETE", path, undefined, options));

  /** A Response that is no refusal: for uploads (`init.body` a FormData) and streams. */
  fetch = (path, init) => this.#ask((api) => api.fetch(path, init));

  /** The bytes of a file. Signed addresses begin with the server's public name: a page may fetch from its own only. */
  async file(path) {
    const { pathname, search } = new URL(path, location.href);
    return (await this.fetch(pathname + search)).arrayBuffer();
  }

  /** Whether it is still the same who is signed in: after a page comes back from the browser's cache. */
  async same() {
    return !this.account || (await this.#who()).user?.id === this.account.user.id;
  }

  #headers(method) {
    if (this.#pasted) return { Authorization: `Bearer ${this.#pasted}` };
    const { account } = this;
    if (!account) return this.#given ? { Authorization: `Bearer ${this.#given}` } : {};
    const csrf = ["GET", "HEAD"].includes(method) ? {} : { "X-CSRF-Token": account.csrfToken };
    return { "X-Workspace-Id": account.workspaceId, ...csrf };
  }

  #who = () => new Api().get("/session");

  async #mint() {
    try {
      const headers = this.account ? { "X-Workspace-Id": this.account.workspaceId } : {};
      return (await (await new Api().fetch("/studio/session", { method: "POST", headers })).json()).value;
    } catch (error) {
      throw error.status ? new KeyNeeded(error.message) : error;
    }
  }

  /** Asks once more where a credential has been replaced or has expired. */
  async #ask(work) {
    await this.#lost;
    await this.enter();
    try {
      return await work(this.#api);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (this.account && CHANGED.includes(error.details?.reason)) return this.#again(work);
      if (error.status !== 401) throw error;
      if (!this.#lost && (this.#pasted || this.account)) this.#lose(error);
      else if (!this.#lost) this.#given = await this.#mint();
      if (this.#lost && !(await this.#lost)) throw new KeyNeeded(error.message);
      return work(this.#api);
    }
  }

  #lose(error) {
    const { user } = this.account ?? {};
    const why = user ? new KeyNeeded("You are no longer signed in.") : new KeyNeeded(error.message);
    this.paste("");
    this.#session = null;
    this.#lost = Promise.resolve(this.#onLost(why, user?.id)).finally(() => (this.#lost = null));
  }

  async #again(work) {
    const { user, workspaceId } = this.account;
    const now = await this.#who();
    const same = now.user?.id === user.id && now.workspaces.some(({ id }) => id === workspaceId);
    if (same) this.#session = { ...now, workspaceId };
    else location.reload();
    return same ? work(this.#api) : new Promise(() => {});
  }
}
