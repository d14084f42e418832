// Applies the chosen colour scheme before the first paint; a classic script so that it blocks.
// "auto" (nothing stored) leaves the choice to the system.
(() => {
  const KEY = "blab.theme";
  let stored = null;
  try {
    stored = localStorage.getItem(KEY);
  } catch {
    // Storage may be forbidden; the system's scheme then holds.
  }
  if (stored === "light" || stored === "dark") document.documentElement.dataset.theme = stored;
})();
document.documentElement.classList.remove("no-js");
