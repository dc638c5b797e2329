// The submit page: puts an example or a chosen file into the editor.
"use strict";

(() => {
  const editor = document.querySelector("#document");
  if (!editor) return;

  for (const link of document.querySelectorAll("[data-example]")) {
    link.addEventListener("click", async (event) => {
      event.preventDefault();
      const answer = await fetch(link.href);
      if (answer.ok) editor.value = await answer.text();
    });
  }

  document.querySelector("#file")?.addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (file) editor.value = await file.text();
  });
})();
