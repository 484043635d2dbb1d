// What HTML cannot do: copy a text, and show a banner while the Console does not answer.
(() => {
  "use strict";

  const reveal = (root) => {
    for (const button of root.querySelectorAll("[data-copy][hidden]")) button.hidden = false;
  };

  const copy = async (button) => {
    const source = document.getElementById(button.dataset.copy);
    if (!source) return;
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };

  const showOffline = (isOffline) => {
    const banner = document.getElementById("connection");
    if (banner) banner.hidden = !isOffline;
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
    for (const open of document.querySelectorAll("details.person[open]")) {
      if (!open.contains(event.target)) open.open = false;
    }
  });
  document.addEventListener("htmx:afterRequest", (event) => showOffline(!event.detail.successful));
  document.addEventListener("htmx:load", (event) => reveal(event.detail.elt));
  reveal(document);
})();
