// How the page says what is going on: the state beside the button, the connection, and problems.

const $ = (id) => document.getElementById(id);

export class Status {
  say(title, hint) {
    if ($("state-text").textContent !== title) $("state-text").textContent = title;
    $("hint").textContent = hint;
  }

  /** For screen readers: that a call begins or ends, no more. */
  announce(text) {
    $("status").textContent = text;
  }

  connection(text, kind) {
    $("connection").dataset.kind = kind;
    if ($("connection-text").textContent !== text) $("connection-text").textContent = text;
  }

  show(problem) {
    document.body.classList.add("has-problem");
    $("problem").hidden = false;
    $("problem").dataset.kind = problem.kind;
    $("problem-title").textContent = problem.title;
    $("problem-advice").textContent = problem.advice;
    $("key-form").hidden = problem.action !== "key";
    $("retry").hidden = problem.action !== "retry";
    if (problem.action === "key") $("api-key").focus();
  }

  dismiss() {
    document.body.classList.remove("has-problem");
    $("problem").hidden = true;
  }
}

/** A call's length as a clock shows it. */
export function clockText(seconds) {
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
