// The dialog that makes or changes a webhook; of a new one it shows the secret, once.

import { codeSamples, secretField } from "/shared/code.js";
import { el } from "/shared/el.js";
import { ENDS, KINDS } from "./events.js";
import { verification } from "./samples.js";

export class WebhookForm {
  #access;
  #webhook;
  #saved;
  #dialog;
  #form;
  #fault = el("p", { class: "fault", role: "alert" });

  /** `webhook`: the one to change, or nothing; `saved` is called with what the server has then. */
  constructor(access, webhook, saved) {
    this.#access = access;
    this.#webhook = webhook;
    this.#saved = saved;
    this.#form = this.#fields();
    this.#dialog = el("dialog", { class: "wide", "aria-labelledby": "hook-title" }, this.#form);
    this.#dialog.addEventListener("close", () => this.#dialog.remove());
    document.body.append(this.#dialog);
    this.#dialog.showModal();
  }

  #fields() {
    const url = el("input", { name: "url", type: "url", required: true, maxLength: 2048, autocomplete: "off", placeholder: "https://example.com/hook", value: this.#webhook?.url ?? "" });
    const cancel = el("button", { class: "button", type: "button" }, "Cancel");
    cancel.addEventListener("click", () => this.#dialog.close());
    const form = el(
      "form",
      { class: "stack" },
      el("h2", { id: "hook-title" }, this.#webhook ? "Change the webhook" : "New webhook"),
      el("label", {}, "Address that takes the events (POST, JSON)", url),
      this.#events(),
      this.#fault,
      el("div", { class: "dialog-actions" }, cancel, el("button", { class: "button primary", type: "submit" }, this.#webhook ? "Save" : "Make the webhook")),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
    return form;
  }

  #events() {
    const given = new Set(this.#webhook?.events ?? ["*"]);
    const all = el("input", { type: "checkbox", checked: given.has("*") });
    const boxes = KINDS.map(([kind, name]) =>
      el(
        "tr",
        {},
        el("th", { scope: "row" }, name),
        ...ENDS.map(([end, how]) => el("td", {}, el("label", {}, el("input", { type: "checkbox", name: "event", value: `${kind}.${end}`, checked: given.has(`${kind}.${end}`), "aria-label": `${name} ${how}` }), how))),
      ),
    );
    const some = el("table", { class: "choice" }, el("caption", { class: "visually-hidden" }, "Events"), el("tbody", {}, ...boxes));
    const mark = () => (some.hidden = all.checked);
    all.name = "all";
    all.addEventListener("change", mark);
    mark();
    return el("fieldset", { class: "group" }, el("legend", {}, "When"), el("label", {}, all, "Everything that happens to jobs"), some);
  }

  async #save() {
    const { url, all, event } = this.#form.elements;
    const events = all.checked ? ["*"] : [...event].filter((one) => one.checked).map((one) => one.value);
    if (!events.length) {
      this.#fault.textContent = "Choose at least one event: without any, nothing is sent.";
      return;
    }
    const submit = this.#form.querySelector("[type=submit]");
    submit.disabled = true;
    this.#fault.textContent = "";
    try {
      const body = { url: url.value.trim(), events };
      if (this.#webhook) {
        const saved = await this.#access.patch(`/api/webhooks/${this.#webhook.id}`, body);
        this.#dialog.close();
        await this.#saved(saved);
      } else {
        const made = await this.#access.post("/api/webhooks", body);
        this.#reveal(made);
        await this.#saved(made);
      }
    } catch (error) {
      this.#fault.textContent = error.message;
      submit.disabled = false;
    }
  }

  /** Escape does not close it: the secret could not be shown again. */
  #reveal(webhook) {
    const done = el("a", { class: "button primary", href: `/webhooks/${webhook.id}` }, "I have it");
    this.#dialog.addEventListener("cancel", (event) => event.preventDefault());
    this.#dialog.replaceChildren(
      el(
        "div",
        { class: "stack revealed" },
        el("h2", { id: "hook-title", tabIndex: -1 }, "The webhook’s secret"),
        el("p", {}, "With it, your receiver checks that an event came from here. Copy it now: it is shown this once."),
        secretField("The secret", webhook.secret),
        codeSamples(verification(webhook.url, webhook.secret)),
        el("div", { class: "dialog-actions" }, done),
      ),
    );
    this.#dialog.querySelector("h2").focus();
  }
}

/** The switch that turns a webhook on and off. */
export function enabledSwitch(access, webhook, said) {
  const box = el("input", { type: "checkbox", role: "switch", checked: webhook.enabled, "aria-label": `Deliver to ${webhook.url}` });
  box.addEventListener("change", async () => {
    box.disabled = true;
    try {
      const { url, events } = webhook;
      webhook.enabled = (await access.patch(`/api/webhooks/${webhook.id}`, { url, events, enabled: box.checked })).enabled;
      said(webhook.enabled ? "Switched on: events are delivered." : "Switched off: nothing is delivered until it is on again.");
    } catch (error) {
      said(error.message);
    }
    box.checked = webhook.enabled;
    box.disabled = false;
  });
  return box;
}
