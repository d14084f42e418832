// What the header of every page does: the navigation between rooms and the light/dark button.

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

/** A row of links; where there is no space for it, a button opens the same links as a menu. */
function fillNavigation(nav) {
  const here = currentRoom();
  const links = ROOMS.map(({ path, name }) => `<a href="${path}"${path === here.path ? ' aria-current="page"' : ""}>${name}</a>`);
  nav.setAttribute("aria-label", "Rooms");
  nav.innerHTML = `<button class="button small rooms-button" type="button" popovertarget="rooms" aria-label="${here.name}: other rooms"><span class="label">${here.name}</span></button>
    <div class="rooms-list" id="rooms" popover>${links.join("")}</div>`;
}

const current = () => root.dataset.theme ?? (dark.matches ? "dark" : "light");

/** The system decides until somebody presses it; its accessible name says what pressing it will do. */
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
      // Not remembered, but it holds for this visit.
    }
    changed();
  });
  dark.addEventListener("change", changed);
  render();
}
