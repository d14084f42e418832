// The room of webhooks: all of them (/webhooks), or one with its deliveries (/webhooks/ID).

import { codeSamples } from "/shared/code.js";
import { confirmed } from "/shared/confirm.js";
import { el, moment } from "/shared/el.js";
import { openRoom } from "/shared/room.js";
import { Deliveries } from "./deliveries.js";
import { eventNames } from "./events.js";
import { WebhookForm, enabledSwitch } from "./form.js";
import { verification } from "./samples.js";

async function openList(access, room) {
  const list = el("div");
  const said = el("p", { class: "note", role: "status" });
  const show = async () => {
    const webhooks = await access.get("/api/webhooks");
    list.replaceChildren(webhooks.length ? table(access, webhooks, said) : empty(create));
  };
  const create = () => new WebhookForm(access, undefined, show);
  const button = el("button", { class: "button primary", type: "button" }, "New webhook");
  button.addEventListener("click", create);
  await show();
  room.replaceChildren(
    el("div", { class: "head" }, el("h1", {}, "Webhooks"), button),
    el("p", { class: "lead" }, "When a job ends, Blab sends an event to each address that listens to it, signed, and again for three days until it is accepted."),
    said,
    list,
  );
}

function empty(create) {
  const start = el("button", { class: "button", type: "button" }, "Make the first webhook");
  start.addEventListener("click", create);
  return el("div", { class: "empty" }, el("p", {}, "No address is informed yet."), start);
}

function table(access, webhooks, said) {
  const head = ["Address", "When", "On"].map((name) => el("th", { scope: "col" }, name));
  const row = (webhook) =>
    el(
      "tr",
      {},
      el("td", { class: "address" }, el("a", { href: `/webhooks/${webhook.id}` }, webhook.url), el("span", { class: "note made" }, `made ${moment(webhook.createdAt)}`)),
      el("td", { class: "number" }, enabledSwitch(access, webhook, (text) => (said.textContent = text))),
      el("td", { class: "whole", data: { label: "When:" } }, eventNames(webhook.events)),
    );
  return el(
    "table",
    { class: "table stacked hooks" },
    el("caption", { class: "visually-hidden" }, "Webhooks"),
    el("thead", {}, el("tr", {}, head[0], el("th", { scope: "col", class: "number" }, "On"), head[1])),
    el("tbody", {}, ...webhooks.map(row)),
  );
}

async function openOne(access, room, id) {
  const webhook = await access.get(`/api/webhooks/${id}`);
  const said = el("p", { class: "said", role: "status" });
  const say = (text) => (said.textContent = text);
  const deliveries = new Deliveries(access, webhook, say);
  await deliveries.show();
  const test = el("button", { class: "button primary", type: "button" }, "Send a test event");
  const change = el("button", { class: "button", type: "button" }, "Change");
  const remove = el("button", { class: "button danger", type: "button" }, "Delete");
  const title = el("h1", { class: "hook-title" });
  const when = el("dd");
  const show = () => {
    title.textContent = webhook.url;
    when.textContent = eventNames(webhook.events);
  };
  show();
  test.addEventListener("click", async () => {
    test.disabled = true;
    await deliveries.send("test");
    test.disabled = false;
  });
  change.addEventListener("click", () => new WebhookForm(access, webhook, (saved) => (Object.assign(webhook, saved), show())));
  remove.addEventListener("click", async () => {
    const done = await confirmed({
      title: "Delete this webhook?",
      text: "Nothing is sent to it any more, what waits neither, and the record of its deliveries is deleted. This cannot be undone.",
      action: "Delete the webhook",
      work: () => access.delete(`/api/webhooks/${id}`),
    });
    if (done) location.href = "/webhooks";
  });
  document.title = `${webhook.url} – Blab`;
  room.replaceChildren(
    el("p", { class: "back" }, el("a", { href: "/webhooks" }, "All webhooks")),
    el("div", { class: "head" }, title, el("div", { class: "actions" }, test, change, remove)),
    said,
    el(
      "dl",
      { class: "facts" },
      el("div", {}, el("dt", {}, "On"), el("dd", {}, enabledSwitch(access, webhook, say))),
      el("div", {}, el("dt", {}, "When"), when),
      el("div", {}, el("dt", {}, "Made"), el("dd", {}, moment(webhook.createdAt))),
    ),
    el("section", { "aria-labelledby": "deliveries" }, el("h2", { id: "deliveries" }, "Deliveries"), el("p", { class: "note" }, "Of the last 30 days, at most 100."), deliveries.root),
    el(
      "section",
      { "aria-labelledby": "verify" },
      el("h2", { id: "verify" }, "How the receiver checks a signature"),
      el("p", { class: "note" }, "The secret was shown when the webhook was made. If it is lost, make another webhook. An event may arrive twice: its webhook-id is the same then."),
      codeSamples(verification(webhook.url)),
    ),
  );
}

openRoom(
  (access, room) => {
    const id = location.pathname.split("/")[2];
    return id ? openOne(access, room, id) : openList(access, room);
  },
  { scopes: ["webhooks:read", "webhooks:write"] },
);
