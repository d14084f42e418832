// The header of every page: navigation and the light/dark button.

import { node } from "./dom.js";
import { ROOMS, currentRoom } from "./rooms.js";

const KEY = "blab.theme";
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");

/** Wires `<nav class="rooms" data-rooms>` and the button `#theme`. */
export function wireHeader() {
  const nav = document.querySelector("nav[data-rooms]");
  if (nav) fillNavigation(nav);
  wireThemeToggle(document.getElementById("theme"));
}

/** A row of links, or where there is no space a menu of them. */
function fillNavigation(nav) {
  const here = currentRoom();
  const links = ROOMS.map(({ path, name }) => {
    const link = Object.assign(node("a", "", name), { href: path });
    if (path === here.path) link.ariaCurrent = "page";
    return link;
  });
  const menu = Object.assign(node("div", "rooms-list", ...links), { popover: "auto" });
  const button = node("button", "button small rooms-button", node("span", "label", here.name));
  Object.assign(button, { type: "button", ariaLabel: `${here.name}: other rooms`, popoverTargetElement: menu });
  nav.ariaLabel = "Rooms";
  nav.replaceChildren(button, menu);
}

const current = () => root.dataset.theme ?? (dark.matches ? "dark" : "light");

/** The system decides until somebody presses it. */
function wireThemeToggle(button) {
  const render = () => {
    const next = current() === "dark" ? "light" : "dark";
    button.ariaLabel = button.title = `Switch to ${next} theme`;
    button.dataset.shows = current();
  };
  const changed = () => {
    render();
    document.dispatchEvent(new Event("themechange"));
  };
  button.addEventListener("click", () => {
    root.dataset.theme = current() === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(KEY, root.dataset.theme);
    } catch {
      // It holds for this visit.
    }
    changed();
  });
  dark.addEventListener("change", changed);
  render();
}
