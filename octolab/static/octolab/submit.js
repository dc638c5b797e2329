// The submit page: puts an example, a chosen file, or a task from its form into the editor.
"use strict";

(() => {
  const editor = document.querySelector("#document");
  if (!editor) return;

  const write = (text) => {
    editor.value = text;
    // What listens for typing (the check of the draft) hears of this too.
    editor.dispatchEvent(new Event("input", { bubbles: true }));
  };

  for (const link of document.querySelectorAll("[data-example]")) {
    link.addEventListener("click", async (event) => {
      event.preventDefault();
      const answer = await fetch(link.href);
      if (answer.ok) write(await answer.text());
    });
  }

  document.querySelector("#file")?.addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (file) write(await file.text());
  });

  // --- tasks

  const value = (input) => {
    const text = input.value.trim();
    const unit = input.dataset.unit;
    if ("several" in input.dataset) return `[${text.replace(/[[\]{}"]/g, "")}]`;
    if (unit && unit !== "1" && text !== "" && Number.isFinite(Number(text))) return `${text} ${unit}`;
    return /^[\w$][\w$ .µ/°%+-]*$/u.test(text) ? text : JSON.stringify(text);
  };

  const snippet = (form) => {
    const given = [...form.elements].filter((input) => input.name && input.value.trim() !== "");
    const task = `  - task: ${form.dataset.task}\n`;
    return given.length ? `${task}    with: {${given.map((input) => `${input.name}: ${value(input)}`).join(", ")}}\n` : task;
  };

  // Behind the last line of the workflow: before whatever key stands there next, else at the end.
  const put = (lines) => {
    const text = editor.value.trim() === "" ? "name: A new job\n\nworkflow:\n" : editor.value.replace(/\n*$/, "\n");
    const begins = text.search(/^workflow:/m);
    if (begins < 0) return write(`${text}\nworkflow:\n${lines}`);
    const head = text.indexOf("\n", begins) + 1;
    const next = text.slice(head).search(/^[^\s#-]/m);
    const end = next < 0 ? text.length : head + next;
    const before = text.slice(0, end).replace(/\n*$/, "\n");
    write(`${before}${lines}${next < 0 ? "" : "\n"}${text.slice(end)}`);
  };

  for (const form of document.querySelectorAll("form[data-task]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      put(snippet(form));
      const said = document.querySelector("#said");
      if (said) said.textContent = `${form.dataset.task} is in the job now.`;
    });
  }
})();
