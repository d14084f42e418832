// The room of API keys: a list, a form whose key is shown once, and the end of a key.

import { codeSamples, secretField } from "/shared/code.js";
import { confirmed } from "/shared/confirm.js";
import { ago, el, moment } from "/shared/el.js";
import { openRoom } from "/shared/room.js";
import { GROUPS, PRESETS, summary } from "./scopes.js";

const DAY = 86_400_000;
const SOON = 7 * DAY;

class Keys {
  #access;
  #list = el("div");
  #said = el("p", { class: "note", role: "status" });

  constructor(access) {
    this.#access = access;
  }

  async open(room) {
    await this.#show();
    const create = el("button", { class: "button primary", type: "button" }, "New key");
    create.addEventListener("click", () => new KeyForm(this.#access, () => this.#show()));
    room.replaceChildren(
      el("div", { class: "head" }, el("h1", {}, "API keys"), create),
      el("p", { class: "lead" }, "With a key, a program uses this workspace: its calls, speech, transcripts and agents. Give each program a key of its own, which may do no more than it needs."),
      this.#said,
      this.#list,
    );
  }

  async #show() {
    const keys = await this.#access.get("/api/api-keys");
    this.#list.replaceChildren(keys.length ? this.#table(keys) : this.#empty());
  }

  #empty() {
    const start = el("button", { class: "button", type: "button" }, "Make the first key");
    start.addEventListener("click", () => new KeyForm(this.#access, () => this.#show()));
    return el("div", { class: "empty" }, el("p", {}, "No program has a key yet."), start);
  }

  #table(keys) {
    const head = ["Name", "Begins with", "May", "Last used", "Expires"].map((name) => el("th", { scope: "col" }, name));
    return el(
      "table",
      { class: "table stacked keys" },
      el("caption", { class: "visually-hidden" }, "API keys"),
      el("thead", {}, el("tr", {}, ...head, el("th", { scope: "col" }, el("span", { class: "visually-hidden" }, "Actions")))),
      el("tbody", {}, ...keys.map((key) => this.#row(key))),
    );
  }

  #row(key) {
    const revoke = el("button", { class: "button small danger", type: "button", "aria-label": `Revoke ${key.name}` }, "Revoke");
    revoke.addEventListener("click", () => this.#revoke(key));
    return el(
      "tr",
      {},
      el("td", { class: "key-name", dir: "auto" }, key.name, el("span", { class: "note made" }, `made ${moment(key.createdAt)}`)),
      el("td", { class: "prefix" }, el("code", {}, `${key.prefix}…`)),
      el("td", { class: "may whole", data: { label: "May:" } }, el("span", { title: key.scopes.join(" ") }, summary(key.scopes))),
      el("td", { class: "whole", data: { label: "Last used:" } }, key.lastUsedAt ? ago(key.lastUsedAt) : "never"),
      el("td", { data: { label: "Expires:" } }, expiry(key.expiresAt)),
      el("td", { class: "number" }, revoke),
    );
  }

  async #revoke(key) {
    const done = await confirmed({
      title: `Revoke “${key.name}”?`,
      text: "Programs that use this key are refused from now on, within a few seconds. This cannot be undone.",
      action: "Revoke the key",
      work: () => this.#access.delete(`/api/api-keys/${key.id}`),
    });
    if (!done) return;
    await this.#show();
    this.#said.textContent = `“${key.name}” is revoked.`;
  }
}

function expiry(iso) {
  if (!iso) return "never";
  const left = new Date(iso) - Date.now();
  if (left <= 0) return el("span", { class: "chip bad" }, "expired");
  return el("span", { class: left < SOON ? "chip soon" : "", title: moment(iso) }, ago(iso));
}

/** The dialog that makes a key, and then shows it. */
class KeyForm {
  #access;
  #changed;
  #dialog;
  #form;
  #fault = el("p", { class: "fault", role: "alert" });

  constructor(access, changed) {
    this.#access = access;
    this.#changed = changed;
    this.#form = this.#fields();
    this.#dialog = el("dialog", { class: "wide", "aria-labelledby": "key-title" }, this.#form);
    this.#dialog.addEventListener("close", () => this.#dialog.remove());
    document.body.append(this.#dialog);
    this.#dialog.showModal();
  }

  #fields() {
    const name = el("input", { name: "name", required: true, maxLength: 200, autocomplete: "off", placeholder: "The program that will use it" });
    const until = el("label", { hidden: true }, "Last day", el("input", { name: "day", type: "date", min: isoDay(Date.now()) }));
    const expires = el(
      "select",
      { name: "expires" },
      ...[["", "Never"], ["7", "In 7 days"], ["30", "In 30 days"], ["90", "In 90 days"], ["365", "In a year"], ["day", "On a day"]].map(([value, text]) => el("option", { value }, text)),
    );
    expires.addEventListener("change", () => {
      until.hidden = expires.value !== "day";
      until.querySelector("input").required = !until.hidden;
    });
    const cancel = el("button", { class: "button", type: "button" }, "Cancel");
    cancel.addEventListener("click", () => this.#dialog.close());
    const form = el(
      "form",
      { class: "stack" },
      el("h2", { id: "key-title" }, "New key"),
      el("div", { class: "fields key-fields" }, el("label", {}, "Name", name), el("label", {}, "Expires", expires), until),
      this.#scopes(),
      this.#fault,
      el("div", { class: "dialog-actions" }, cancel, el("button", { class: "button primary", type: "submit" }, "Make the key")),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#make();
    });
    return form;
  }

  #scopes() {
    const box = (scope, text) => el("label", {}, el("input", { type: "checkbox", name: "scope", value: scope }), el("span", {}, text, " ", el("code", { class: "note" }, scope)));
    const presets = PRESETS.map(([name, scopes]) => {
      const button = el("button", { class: "button small", type: "button" }, name);
      button.addEventListener("click", () => {
        for (const one of this.#form.elements.scope) one.checked = scopes.includes(one.value);
      });
      return button;
    });
    const groups = GROUPS.map(([name, scopes]) => el("fieldset", { class: "group scope-group" }, el("legend", {}, name), ...Object.entries(scopes).map(([scope, text]) => box(scope, text))));
    return el("fieldset", { class: "group" }, el("legend", {}, "It may"), el("div", { class: "actions" }, ...presets), el("div", { class: "scope-groups" }, ...groups));
  }

  async #make() {
    const { name, expires, day, scope } = this.#form.elements;
    const submit = this.#form.querySelector("[type=submit]");
    const scopes = [...scope].filter((one) => one.checked).map((one) => one.value);
    const body = { name: name.value.trim(), scopes };
    if (expires.value === "day") body.expiresAt = new Date(`${day.value}T23:59:59`).toISOString();
    else if (expires.value) body.expiresAt = new Date(Date.now() + Number(expires.value) * DAY).toISOString();
    submit.disabled = true;
    try {
      const made = await this.#access.post("/api/api-keys", body);
      this.#reveal(body.name, made.key);
      await this.#changed();
    } catch (error) {
      this.#fault.textContent = error.message;
      submit.disabled = false;
    }
  }

  /** Escape does not close it: the key could not be shown again. */
  #reveal(name, key) {
    const done = el("button", { class: "button primary", type: "button" }, "I have it");
    done.addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("cancel", (event) => event.preventDefault());
    this.#dialog.replaceChildren(
      el(
        "div",
        { class: "stack revealed" },
        el("h2", { id: "key-title", tabIndex: -1 }, `The key “${name}”`),
        el("p", {}, "Copy it now and keep it where the program finds it: it is shown this once, and not stored in clear."),
        secretField("The key", key),
        codeSamples(samples(key)),
        el("div", { class: "dialog-actions" }, done),
      ),
    );
    this.#dialog.querySelector("h2").focus();
  }
}

const isoDay = (moment) => new Date(moment - new Date().getTimezoneOffset() * 60_000).toISOString().slice(0, 10);

/** Whether the key works, from three languages. */
const samples = (key) => ({
  curl: `export BLAB_KEY=${key}
curl -s ${location.origin}/api/auth/me -H "Authorization: Bearer $BLAB_KEY"`,
  Python: `from openai import OpenAI

client = OpenAI(base_url="${location.origin}/v1", api_key="${key}")
print([model.id for model in client.models.list()])`,
  JavaScript: `// on your own server: a key must not be in a web page
const response = await fetch("${location.origin}/api/auth/me", {
  headers: { Authorization: "Bearer ${key}" },
});
console.log(await response.json());`,
});

openRoom((access, room) => new Keys(access).open(room), { scopes: ["api-keys:read", "api-keys:write"] });
