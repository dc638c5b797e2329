// Keeps pages live: one websocket per page; an event makes the fragments that show its subject load again.
// A fragment says what it shows: <section id="…" hx-get="…" hx-trigger="refresh" data-live="job device">, and with
// data-pace="1500" that it is asked for at most every 1500 ms; the last event is never left out.
// What is on the page counts as fresh as long as the server answers and no fragment waits for a newer answer;
// otherwise the page says how old it is. While the websocket is away, all fragments are asked for every few seconds.
"use strict";

(() => {
  const light = document.querySelector(".live");
  if (!light) return;

  const notice = document.querySelector("#link-notice");
  const age = notice.querySelector(".age");
  const said = document.querySelector("#said");
  const job = document.body.dataset.job || "";
  const PACE_MS = 400;
  const RETRY_MS = 3000;
  const WITHOUT_SOCKET_MS = 5000;
  const PATIENCE_MS = 12000;  // the banner is asked for every 5 s
  const HICCUP_MS = 1500;
  let seq = "";
  let retryMs = 500;
  let greeted = false;
  let wasGood = false;  // whether a fragment was ever answered
  let socketOpen = false;
  let heardAt = Date.now();  // when the server last answered anything
  let freshAt = Date.now();  // until when what is shown was known to be so
  let askedAllAt = Date.now();
  const pending = new Map();  // id of a fragment → timer of its next question
  const askedAt = new Map();
  const flying = new Set();
  const missed = new Set();
  const behind = new Map();  // id of a fragment → since when it waits for a newer answer
  const live = new Map();  // id of a step → its last progress
  const announced = new Map();
  const unfolded = new Set();  // ids of what somebody has unfolded in a fragment that is replaced

  const show = (state, text) => {
    if (light.textContent !== text) light.textContent = text;
    light.dataset.state = state;
  };

  // --- fragments

  const refresh = (element, afterMs = 0) => {
    const id = element.id;
    // An answer that is under way may have been made before what has just happened: ask once more behind it.
    if (flying.has(id)) missed.add(id);
    if (flying.has(id) || pending.has(id)) return;
    const waits = Number(element.dataset.pace || PACE_MS) - (Date.now() - (askedAt.get(id) || 0));
    pending.set(id, setTimeout(() => {
      pending.delete(id);
      const now = document.getElementById(id);
      if (now) htmx.trigger(now, "refresh"); else behind.delete(id);
    }, Math.max(0, afterMs, waits)));
  };

  const refreshAll = () => {
    askedAllAt = Date.now();
    for (const element of document.querySelectorAll("[data-live]")) {
      if (!behind.has(element.id)) behind.set(element.id, Date.now());
      refresh(element);
    }
  };

  document.body.addEventListener("htmx:beforeRequest", (event) => {
    const asked = event.detail.requestConfig.elt;
    if (!asked.matches("[data-live]")) return;
    flying.add(asked.id);
    askedAt.set(asked.id, Date.now());
  });

  document.body.addEventListener("htmx:afterRequest", (event) => {
    const asked = event.detail.requestConfig.elt;
    if (!asked.matches("[data-live]")) return;
    flying.delete(asked.id);
    if (missed.delete(asked.id)) refresh(asked);
    if (event.detail.successful) {
      heardAt = Date.now();
      behind.delete(asked.id);
    } else {
      if (!behind.has(asked.id)) behind.set(asked.id, Date.now());
      refresh(asked, RETRY_MS);
    }
    look();
  });

  // A session that has ended answers with the sign-in page, which is no fragment: load anew what was a page before.
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    const came = new URL(event.detail.xhr.responseURL || location.href).pathname;
    const wanted = new URL(event.detail.requestConfig.path, location.href).pathname;
    if (came !== wanted) {
      event.detail.shouldSwap = false;
      if (wasGood) location.reload();
    } else if (!event.detail.isError) wasGood = true;
    for (const details of event.detail.target.querySelectorAll?.("details[open][id]") ?? []) unfolded.add(details.id);
  });

  document.body.addEventListener("htmx:afterSettle", () => {
    for (const [step, message] of live) onLive(message, step);
    for (const id of unfolded) document.getElementById(id)?.setAttribute("open", "");
    unfolded.clear();
    for (const element of document.querySelectorAll("[data-said]")) {
      const before = announced.get(element.dataset.said);
      const text = element.textContent.trim();
      announced.set(element.dataset.said, text);
      if (before !== undefined && before !== text) said.textContent = `${element.dataset.said}: ${text}`;
    }
  });
  for (const element of document.querySelectorAll("[data-said]")) {
    announced.set(element.dataset.said, element.textContent.trim());
  }

  // --- what the server says

  const onEvent = (message) => {
    seq = message.seq;
    const kinds = new Set([message.kind, message.job ? "job" : ""]);
    for (const element of document.querySelectorAll("[data-live]")) {
      const shown = element.dataset.live.split(" ");
      if (shown.some((kind) => kinds.has(kind))) refresh(element);
    }
  };

  const onLive = (message, step) => {
    for (const bar of document.querySelectorAll(`progress[data-step="${CSS.escape(step)}"]`)) {
      if (typeof message.progress === "number") bar.value = message.progress;
    }
    for (const text of document.querySelectorAll(`[data-step-text="${CSS.escape(step)}"]`)) {
      if (message.text) text.textContent = message.text;
    }
    for (const text of document.querySelectorAll(`[data-step-reading="${CSS.escape(step)}"]`)) {
      const said = Object.entries(message.reading || {}).map(([name, value]) => {
        const short = typeof value === "number" ? Number(value.toPrecision(5)) : value;
        return `${name.replaceAll("_", " ")} ${short}`;
      });
      text.textContent = said.join(", ");
    }
  };

  const connect = () => {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const query = new URLSearchParams();
    if (seq !== "") query.set("since", seq);
    if (job) query.set("job", job);
    const socket = new WebSocket(`${scheme}://${location.host}/ws/events?${query}`);
    socket.onmessage = (frame) => {
      heardAt = Date.now();
      const message = JSON.parse(frame.data);
      if (message.type === "hello") {
        // Whatever was missed while there was no socket, and whatever failed meanwhile, is asked for once more.
        if (greeted) refreshAll();
        greeted = socketOpen = true;
        retryMs = 500;
        if (seq === "") seq = message.seq;
        look();
      }
      if (message.type === "event") onEvent(message);
      if (message.type === "live" && message.step_id) {
        live.set(message.step_id, { ...live.get(message.step_id), ...message });
        onLive(message, message.step_id);
      }
    };
    socket.onclose = (closing) => {
      socketOpen = false;
      if (closing.code === 4401 && wasGood) {
        location.reload();
        return;
      }
      setTimeout(connect, retryMs);
      retryMs = Math.min(retryMs * 2, 15000);
      look();
    };
  };

  // --- how old is what is shown?

  const look = () => {
    const now = Date.now();
    const oldest = Math.min(now, ...behind.values());
    const shows = document.querySelector("[data-live]") !== null;
    const stale = shows && (now - oldest > HICCUP_MS || now - heardAt > PATIENCE_MS);
    if (!stale && (socketOpen || (behind.size === 0 && askedAllAt > freshAt))) freshAt = Math.max(freshAt, heardAt);
    show(socketOpen && !stale ? "on" : greeted || stale ? "off" : "wait",
         socketOpen && !stale ? "live" : greeted || stale ? "reconnecting…" : "connecting…");
    if (notice.hidden === stale) notice.hidden = !stale;
    document.body.toggleAttribute("data-stale", stale);
    if (stale) age.textContent = spoken(now - freshAt);
    if (!socketOpen && shows && now - askedAllAt > WITHOUT_SOCKET_MS) refreshAll();
  };

  const spoken = (ms) => {
    const seconds = Math.max(1, Math.round(ms / 1000));
    return seconds < 100 ? `${seconds} s` : seconds < 6000 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
  };

  setInterval(look, 1000);
  document.addEventListener("visibilitychange", look);
  window.addEventListener("offline", look);
  // A page that the browser has kept for its Back button is the past.
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  connect();
})();
