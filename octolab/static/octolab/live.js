// Keeps pages live: one websocket per page; an event makes the fragments that show its subject load again.
// A fragment says what it shows: <section id="…" hx-get="…" hx-trigger="refresh" data-live="job device">.
"use strict";

(() => {
  const light = document.querySelector(".live");
  if (!light) return;

  const job = document.body.dataset.job || "";
  const MIN_REFRESH_MS = 400;
  let seq = "";
  let retryMs = 500;
  let greeted = false;
  const pending = new Map();

  const show = (state, text) => {
    light.dataset.state = state;
    light.textContent = text;
  };

  const refresh = (element) => {
    if (pending.has(element)) return;
    const since = Date.now() - Number(element.dataset.refreshedAt || 0);
    pending.set(element, setTimeout(() => {
      pending.delete(element);
      const now = document.getElementById(element.id) || element;
      now.dataset.refreshedAt = String(Date.now());
      htmx.trigger(now, "refresh");
    }, Math.max(0, MIN_REFRESH_MS - since)));
  };

  const onEvent = (message) => {
    seq = message.seq;
    const kinds = new Set([message.kind, message.job ? "job" : ""]);
    for (const element of document.querySelectorAll("[data-live]")) {
      const shown = element.dataset.live.split(" ");
      if (shown.some((kind) => kinds.has(kind))) refresh(element);
    }
  };

  const onLive = (message) => {
    for (const bar of document.querySelectorAll(`progress[data-step="${CSS.escape(message.step_id || "")}"]`)) {
      if (typeof message.progress === "number") bar.value = message.progress;
    }
    for (const text of document.querySelectorAll(`[data-step-text="${CSS.escape(message.step_id || "")}"]`)) {
      if (message.text) text.textContent = message.text;
    }
  };

  const connect = () => {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const query = new URLSearchParams();
    if (seq !== "") query.set("since", seq);
    if (job) query.set("job", job);
    const socket = new WebSocket(`${scheme}://${location.host}/ws/events?${query}`);
    socket.onopen = () => {
      retryMs = 500;
      show("on", "live");
    };
    socket.onmessage = (frame) => {
      const message = JSON.parse(frame.data);
      if (message.type === "hello") {
        greeted = true;
        if (seq === "") seq = message.seq;
      }
      if (message.type === "event") onEvent(message);
      if (message.type === "live") onLive(message);
    };
    socket.onclose = (closing) => {
      if (closing.code === 4401 && greeted) {
        show("off", "signed out");
        location.reload();
        return;
      }
      show("off", "reconnecting…");
      setTimeout(connect, retryMs);
      retryMs = Math.min(retryMs * 2, 15000);
    };
  };

  connect();
})();
