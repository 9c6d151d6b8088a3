/* All of the pages' script. Without it everything can be read and decided: what is here only saves a reload. */
"use strict";

(() => {
  const skew = Number(document.body.dataset.now) - Date.now();
  const now = () => Date.now() + skew;

  /* ---- times: the same words as pages.words says ---- */

  const ago = (at) => {
    const seconds = Math.round((now() - at) / 1000);
    const size = Math.abs(seconds);
    if (size < 5) return "just now";
    const unit = size < 90 ? `${size} s` : size < 5400 ? `${Math.round(size / 60)} min`
      : size < 129600 ? `${Math.round(size / 3600)} h` : `${Math.round(size / 86400)} days`;
    return seconds > 0 ? `${unit} ago` : `in ${unit}`;
  };

  const set = (element, text) => { if (element.textContent !== text) element.textContent = text; };

  const tick = () => {
    for (const element of document.querySelectorAll("[data-ago]")) {
      set(element, ago(Date.parse(element.closest("time").dateTime)));
    }
    for (const element of document.querySelectorAll("[data-until]")) {
      const left = Math.max(Math.floor((Number(element.dataset.until) - now()) / 1000), 0);
      set(element, `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`);
    }
  };
  tick();
  setInterval(tick, 1000);

  /* ---- the library: "/" goes to the search, words filter the list ---- */

  const search = document.querySelector("[data-filters]");
  if (search) {
    const list = document.getElementById(search.dataset.filters);
    const none = document.getElementById(`${search.dataset.filters}-none`);
    search.addEventListener("input", () => {
      const words = search.value.toLowerCase().split(/\s+/);
      let found = 0;
      for (const item of list ? list.children : []) {
        item.hidden = !words.every((word) => item.dataset.words.includes(word));
        found += item.hidden ? 0 : 1;
      }
      if (none) none.hidden = found > 0;
    });
    search.form.addEventListener("submit", (event) => {
      const shown = list ? [...list.children].filter((item) => !item.hidden) : [];
      if (shown.length === 1) {
        event.preventDefault();
        window.location.assign(shown[0].querySelector("a").href);
      }
    });
  }
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typing) return;
    event.preventDefault();
    if (search) search.focus(); else window.location.assign("/?#search");
  });
  if (search && window.location.hash === "#search") search.focus();

  /* ---- forms: the first field at fault, and no second submit of the same form ---- */

  const wrong = document.querySelector("[aria-invalid=true]") || document.querySelector("[role=alert]");
  if (wrong) wrong.focus();
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post" || event.target.dataset.download !== undefined) return;
    if (event.target.dataset.sent) event.preventDefault();
    event.target.dataset.sent = "yes";
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.forms) delete form.dataset.sent;
  });

  /* ---- live pages ---- */

  const live = document.querySelector("[data-events]");
  if (!live) return;

  const say = document.getElementById("said");
  let source = null;
  let ended = false;

  const elements = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content;
  };

  /* Takes the place of the element with the same id; what the reader opened, focused or typed stays. */
  const replace = (fresh) => {
    const old = document.getElementById(fresh.id);
    if (!old) return;
    const named = (details) => details.querySelector("summary").textContent;
    const open = new Set([...old.querySelectorAll("details[open]")].map(named));
    const typed = new Map([...old.querySelectorAll("textarea[name]")].map((area) => [area.name, area.value]));
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    old.replaceWith(fresh);
    for (const details of fresh.querySelectorAll("details")) {
      if (open.has(named(details))) details.open = true;
    }
    for (const area of fresh.querySelectorAll("textarea[name]")) {
      if (typed.has(area.name)) area.value = typed.get(area.name);
    }
    if (focused) {
      const same = focused.id ? document.getElementById(focused.id)
        : [...fresh.querySelectorAll(focused.tagName)].find((other) => other.textContent === focused.textContent);
      if (same) same.focus({ preventScroll: true });
    }
    if (fresh.dataset.title && document.title !== fresh.dataset.title) {
      document.title = fresh.dataset.title;
      set(say, fresh.dataset.title);
    }
  };

  const connect = () => {
    if (source || ended) return;
    source = new EventSource(live.dataset.events);
    source.addEventListener("parts", (event) => {
      for (const fresh of [...elements(event.data).children]) replace(fresh);
      tick();
    });
    source.addEventListener("output", (event) => {
      const { into, html, display, clears } = JSON.parse(event.data);
      const box = document.getElementById(into);
      if (!box) return;
      if (clears) box.replaceChildren();
      const fresh = elements(html);
      if (display) {
        const shown = document.createElement("div");
        shown.dataset.display = display;
        shown.append(fresh);
        const old = [...box.children].find((child) => child.dataset.display === display);
        if (old) old.replaceWith(shown); else box.append(shown);
        return;
      }
      let pre = box.lastElementChild && box.lastElementChild.matches("pre") ? box.lastElementChild : null;
      const printed = fresh.querySelector(".out > pre");
      if (printed && fresh.children.length === 1) {
        if (!pre) { pre = document.createElement("pre"); box.append(pre); }
        const atEnd = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 40;
        pre.append(...printed.childNodes);
        while (pre.childNodes.length > 2000) pre.firstChild.remove();
        if (atEnd) pre.scrollTop = pre.scrollHeight;
      } else {
        box.append(fresh);
      }
    });
    source.addEventListener("end", () => { ended = true; disconnect(); });
    source.addEventListener("error", () => {
      /* Refused for good (signed out, too many streams): look again a little later, as without script. */
      if (source && source.readyState === EventSource.CLOSED) {
        disconnect();
        setTimeout(() => { if (!document.hidden) connect(); }, 5000);
      }
    });
  };
  const disconnect = () => {
    if (source) source.close();
    source = null;
  };
  /* Browsers allow six connections to a host over HTTP/1.1: hidden pages give theirs back. */
  document.addEventListener("visibilitychange", () => { if (document.hidden) disconnect(); else connect(); });
  connect();
})();
