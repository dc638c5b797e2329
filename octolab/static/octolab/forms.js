// What forms and buttons do beyond HTML: ask before something that cannot be taken back, stop the lab, copy a text.
"use strict";

(() => {
  const ANSWER_MS = 4000;

  document.addEventListener("submit", (event) => {
    const question = event.submitter?.dataset.confirm || event.target.dataset.confirm;
    if (question && !window.confirm(question)) {
      event.preventDefault();
      return;
    }
    if (event.target.matches("form.stops")) {
      event.preventDefault();
      stop(event.target);
    }
  });

  // An emergency stop that did not get through must never look as if it had.
  const stop = async (form) => {
    const button = form.querySelector("button");
    const wish = new FormData(form);
    wish.set("answer", "only");
    button.disabled = true;
    try {
      const answer = await fetch(form.action, { method: "POST", body: wish, signal: AbortSignal.timeout(ANSWER_MS) });
      if (answer.status !== 204) {
        throw new Error(answer.redirected ? "you are not signed in any more" : `it answered ${answer.status}`);
      }
      location.assign(form.action);
    } catch (error) {
      const why = error.name === "TimeoutError" ? "it did not answer in time" : error.message;
      const note = document.createElement("div");
      note.className = "stopped";
      note.setAttribute("role", "alert");
      note.textContent = "NOT STOPPED, as far as this page knows: the server was not reached or refused"
        + ` (${why}). Use the emergency stop on the wall. Then load this page again and look.`;
      document.querySelector("main").before(note);
      button.disabled = false;
    }
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.dataset.done = "copied";
    } catch {
      button.dataset.done = "select it and press Ctrl+C";
    }
    button.setAttribute("aria-label", `${button.dataset.label || "Copy"}: ${button.dataset.done}`);
    setTimeout(() => delete button.dataset.done, 4000);
  });
})();
