// The card that asks who is there: e-mail and password, a new account, or an API key.

import { el } from "./el.js";

const field = (label, properties) => el("label", {}, label, el("input", properties));
const EMAIL = { name: "email", type: "email", autocomplete: "username", maxLength: 320, required: true };
const WAYS = {
  password: {
    title: "Sign in",
    action: "Sign in",
    fields: () => [field("E-mail", EMAIL), field("Password", { name: "password", type: "password", autocomplete: "current-password", maxLength: 1024, required: true })],
    enter: (access, fields) => access.signIn(fields),
  },
  account: {
    title: "Create an account",
    action: "Create account",
    fields: () => [
      field("Name", { name: "name", autocomplete: "name", maxLength: 200 }),
      field("E-mail", EMAIL),
      field("Password, 8 characters or more", { name: "password", type: "password", autocomplete: "new-password", minLength: 8, maxLength: 1024, required: true }),
    ],
    enter: (access, fields) => access.signIn(fields, { register: true }),
  },
  key: {
    title: "An API key, please",
    action: "Use this key",
    fields: (scopes) => [
      el(
        "label",
        {},
        el("span", {}, "API key", ...scopes.flatMap((scope, i) => [i ? ", " : " with ", el("code", {}, scope)])),
        el("input", { name: "key", type: "password", autocomplete: "off", placeholder: "blab_sk_…", required: true }),
      ),
      el("p", { class: "small" }, "It is kept in this tab only, until the tab is closed."),
    ],
    enter: (access, { key }) => access.paste(key),
  },
};
const OFFERS = { password: "Sign in with e-mail", account: "Create an account", key: "Use an API key" };

/** `why`: what the server said; `scopes`: what an API key needs; `done()`: there is a credential now. */
export function signInCard(access, why, scopes, done) {
  const card = el("form", { class: "card sign-in stack" });
  card.addEventListener("submit", (event) => {
    event.preventDefault();
    enter(access, card, done);
  });
  show("password", access, card, why, scopes);
  return card;
}

function show(name, access, card, why, scopes) {
  const way = WAYS[name];
  const others = Object.keys(OFFERS).filter((other) => other !== name && (other !== "account" || access.registers));
  const buttons = others.map((other) => {
    const button = el("button", { class: "button quiet small", type: "button" }, OFFERS[other]);
    button.addEventListener("click", () => {
      show(other, access, card, "", scopes);
      card.elements[0].focus();
    });
    return button;
  });
  card.dataset.way = name;
  card.replaceChildren(
    el("h1", {}, way.title),
    el("p", { class: "note", hidden: !why }, why),
    ...way.fields(scopes),
    el("p", { class: "fault", role: "alert" }),
    el("button", { class: "button primary", type: "submit" }, way.action),
    el("div", { class: "actions ways" }, ...buttons),
  );
}

async function enter(access, card, done) {
  const fault = card.querySelector(".fault");
  const submit = card.querySelector("[type=submit]");
  fault.textContent = "";
  submit.disabled = true;
  try {
    await WAYS[card.dataset.way].enter(access, Object.fromEntries(new FormData(card)));
    done();
  } catch (error) {
    fault.textContent = error.message;
    submit.disabled = false;
    card.querySelector("[type=password]").select();
  }
}
