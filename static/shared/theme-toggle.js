// The light/dark button: the system decides until somebody presses it.

const KEY = "blab.theme";
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");

const current = () => root.dataset.theme ?? (dark.matches ? "dark" : "light");

/** Wires the button; its accessible name says what pressing it will do. */
export function wireThemeToggle(button) {
  const render = () => {
    const next = current() === "dark" ? "light" : "dark";
    button.setAttribute("aria-label", `Switch to ${next} theme`);
    button.title = `Switch to ${next} theme`;
    button.dataset.shows = current();
  };
  button.addEventListener("click", () => {
    root.dataset.theme = current() === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(KEY, root.dataset.theme);
    } catch {
      // Not remembered, but it holds for this visit.
    }
    render();
    document.dispatchEvent(new Event("themechange"));
  });
  dark.addEventListener("change", () => {
    render();
    document.dispatchEvent(new Event("themechange"));
  });
  render();
}
