/* All of the pages' own script. Without it everything can be read and decided: what is here only saves a reload.

   A page that changes while it is looked at holds one element with hx-sse:connect (the macro `live` of
   parts/say.html); htmx's extension keeps the connection, comes back when it breaks and rests while the page is hidden,
   unless what it shows comes to an end.
   What the server sends (runbooks_app/web/live.py):

     event: parts    HTML: elements with ids. Each is morphed into the one with its id, so that what the reader opened,
                     typed and focused stays. data-title on one of them names the page anew, data-icon its symbol.
     event: output   JSON {into, html, display, clears}: HTML to append to the element with the id `into`; in place of
                     what is there under the same `display`; after clearing it where `clears`.
     event: end      nothing more will come */
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

  /* ---- the library: "/" goes to the search; htmx takes the list from the server while one types ---- */

  const search = document.querySelector("#search[hx-get]");
  const typing = "input, textarea, select, [contenteditable]";
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest(typing)) return;
    event.preventDefault();
    if (search) search.focus(); else window.location.assign("/#search");
  });
  if (search) {
    if (window.location.hash === "#search") search.focus();
    search.addEventListener("htmx:after:swap", () => {
      const asked = new URLSearchParams(window.location.search); /* the incident that it is for stays */
      if (search.value) asked.set("q", search.value); else asked.delete("q");
      window.history.replaceState(null, "", `/?${asked}`.replace(/\?$/, ""));
    });
    /* What was typed before htmx was there. */
    search.addEventListener("htmx:after:init", () => {
      if (search.value.trim() !== document.getElementById("found").dataset.words) htmx.trigger(search, "input");
    });
  }

  /* ---- forms: the first field at fault, no second submit of the same form, nothing typed is lost unasked ---- */

  const wrong = document.querySelector("[aria-invalid=true]") || document.querySelector("[role=alert]");
  if (wrong) wrong.focus();
  /* Going to a #place takes the focus away again. */
  window.addEventListener("load", () => { if (wrong && document.activeElement === document.body) wrong.focus(); });
  const AGAIN = 10000; /* what was sent and led nowhere, stopped perhaps, can be sent again by then */
  let sent = null;
  const rest = () => {
    for (const form of document.forms) delete form.dataset.sent;
    sent = null;
  };
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post") return;
    if (event.target.dataset.sent) event.preventDefault();
    sent = event.target;
    if (sent.dataset.download !== undefined) return;
    sent.dataset.sent = "yes";
    setTimeout(rest, AGAIN);
  });
  window.addEventListener("pageshow", rest);
  const lost = (field) => field.form !== sent && field.form.method === "post"
    && (field.value !== field.defaultValue || (field.value && field.closest("[data-unsaved]")));
  window.addEventListener("beforeunload", (event) => {
    const stays = sent && sent.dataset.download !== undefined; /* a file comes, and no other page */
    if (!stays && [...document.querySelectorAll("form textarea")].some(lost)) event.preventDefault();
    if (stays || event.defaultPrevented) rest();
  });

  /* ---- long runs: a cell's line gives way to the cell, where its link would lead without this ---- */

  const unfold = async (id, address) => {
    const told = { headers: { "HX-Request": "true" }, redirect: "manual" };
    const answer = await fetch(address, told).catch(() => null);
    if (!answer || !answer.ok) return false;
    const text = await answer.text();
    const target = document.getElementById(id); /* now: a live page may have made it anew meanwhile */
    await htmx.swap({ sourceElement: target, target, text, swap: "outerHTML" });
    return true;
  };
  document.addEventListener("click", async (event) => {
    const link = event.target.closest(".folded > a");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    const line = link.parentElement;
    line.setAttribute("aria-busy", "true");
    if (await unfold(line.id, link.href)) document.getElementById(line.id).querySelector(".anchor").focus({ preventScroll: true });
    else window.location.assign(link.href); /* signed out, away: the link leads to who says so */
  });

  /* ---- live pages ---- */

  const live = document.getElementById("live");
  if (!live) return;

  const RETRY = 5000;
  const LONGEST_PRINT = 2000; /* pieces of text that a running cell shows */
  const said = document.getElementById("said");
  const adrift = document.getElementById("adrift");

  const elements = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content;
  };

  const name = ({ title, icon }) => {
    if (icon) document.getElementById("icon").setAttribute("href", icon);
    if (!title || document.title === title) return;
    document.title = title;
    set(said, title);
  };

  /* A part may gain another fold before the one that the reader opened: they are told apart by what they say. */
  const fold = (details) => details.id || details.querySelector("summary").textContent;
  const morph = async (target, fresh) => {
    const opened = new Set([...target.querySelectorAll("details[open]")].map(fold));
    await htmx.swap({ sourceElement: live, target, text: fresh.outerHTML, swap: "outerMorph" });
    for (const details of target.querySelectorAll("details")) {
      if (opened.has(fold(details))) details.open = true;
    }
  };

  /* Where one types stays where it is on the screen, whatever grows above it. */
  const inPlace = async (change) => {
    const field = document.activeElement && document.activeElement.matches(typing) ? document.activeElement : null;
    const top = () => field.getBoundingClientRect().top;
    const before = field ? top() : 0;
    await change();
    if (field && field.isConnected && top() !== before) window.scrollBy({ top: top() - before, behavior: "instant" });
  };

  const takeIn = async (html) => {
    for (const fresh of [...elements(html).children]) {
      const target = document.getElementById(fresh.id);
      if (target && !target.isEqualNode(fresh)) {
        /* A cell that the reader opened stays open; where it is sent because it changed, as it is now. */
        for (const line of fresh.querySelectorAll(".folded")) {
          const open = document.getElementById(line.id);
          if (open && !open.matches(".folded")) line.replaceWith(open.cloneNode(true));
        }
        if (fresh.matches(".folded") && !target.matches(".folded")) await unfold(fresh.id, fresh.firstElementChild.href);
        else await morph(target, fresh);
      }
      name(fresh.dataset);
    }
    tick();
  };

  const print = ({ into, html, display, clears }) => {
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
    const printed = fresh.querySelector(".out > pre");
    if (!printed || fresh.children.length !== 1) {
      box.append(fresh);
      return;
    }
    let pre = box.lastElementChild;
    if (!pre || !pre.matches("pre")) {
      pre = document.createElement("pre");
      box.append(pre);
    }
    const atEnd = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 40;
    pre.append(...printed.childNodes);
    while (pre.childNodes.length > LONGEST_PRINT) pre.firstChild.remove();
    if (atEnd) pre.scrollTop = pre.scrollHeight;
  };

  let connection = null;
  let ended = false;
  live.addEventListener("htmx:sse:after:connection", (event) => {
    connection = event.detail.connection;
    adrift.hidden = true;
  });
  live.addEventListener("htmx:sse:before:message", ({ detail: { message, waitUntil } }) => {
    if (message.event === "parts") waitUntil(inPlace(() => takeIn(message.data)));
    if (message.event === "output") print(JSON.parse(message.data));
    if (message.event === "end") ended = true;
  });
  live.addEventListener("htmx:sse:error", () => { adrift.hidden = false; });
  live.addEventListener("htmx:sse:close", () => { connection = null; });
  /* Refused (signed out, too many streams) or not reached: htmx comes back only to what it once was connected to. */
  live.addEventListener("htmx:finally:request", () => {
    if (connection || ended) return;
    adrift.hidden = false;
    setTimeout(() => htmx.trigger(live, "again"), RETRY);
  });
  window.addEventListener("pagehide", () => { if (connection) connection.abortController.abort(); });
})();
