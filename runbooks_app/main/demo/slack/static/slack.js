// Follows the channel: waits for a change, fetches the messages, puts them in place. Without this script the
// page reloads itself now and then, and every form works as it stands.
"use strict";
const page = document.body.dataset;
const list = document.getElementById("messages");
const form = document.getElementById("say");
const modal = document.getElementById("form");
let revision = page.revision;

const atEnd = () => list.scrollHeight - list.scrollTop - list.clientHeight < 80;
const toEnd = () => { list.scrollTop = list.scrollHeight; };

// A form in which somebody writes stays as it is, unless the app has answered it.
async function showForm() {
  const answer = await fetch(`/form?${new URLSearchParams({ channel: page.channel, as: page.as })}`);
  if (!answer.ok) return;
  const fresh = document.createElement("template");
  fresh.innerHTML = await answer.text();
  const state = (place) => place.querySelector("form")?.dataset.state;
  if (state(fresh.content) === state(modal)) return;
  const typed = [...modal.querySelectorAll("[id]")].map((field) => [field.id, field.value]);
  const same = modal.querySelector("[name=view]")?.value === fresh.content.querySelector("[name=view]")?.value;
  modal.replaceChildren(fresh.content);
  if (same) for (const [id, value] of typed) if (value !== undefined) document.getElementById(id).value = value;
  modal.querySelector("input:not([type=hidden]), select, textarea")?.focus();
}

async function show() {
  await showForm();
  if (list.contains(document.activeElement) && document.activeElement.matches("input, select")) return;
  const query = new URLSearchParams({ channel: page.channel, as: page.as });
  const answer = await fetch(`/messages?${query}`);
  if (!answer.ok) return;
  const closed = [...list.querySelectorAll("details:not([open])")].map((thread) => thread.id);
  const stay = !atEnd();
  const focused = document.activeElement?.closest("[data-press], form")?.closest("article")?.id;
  list.innerHTML = await answer.text();
  for (const id of closed) document.getElementById(id)?.removeAttribute("open");
  if (focused) document.getElementById(focused)?.querySelector("a, button")?.focus({ preventScroll: true });
  if (!stay) toEnd();
}

async function follow() {
  for (;;) {
    try {
      const answer = await fetch(`/changes?since=${revision}`);
      const told = await answer.json();
      if (String(told.revision) !== String(revision)) {
        revision = told.revision;
        await show();
      }
    } catch {
      // The server is away for a moment; ask again shortly.
      await new Promise((done) => setTimeout(done, 2000));
    }
  }
}

document.addEventListener("submit", async (event) => {
  const sent = event.target;
  if (sent.method !== "post") return;
  event.preventDefault();
  // Not `sent.action`: a field of that name stands in its place.
  const data = new FormData(sent, event.submitter);
  const button = sent.querySelector("button");
  button.disabled = true;
  if (sent === form) form.elements.text.value = "";
  try {
    await fetch(sent.getAttribute("action"), { method: "POST", body: new URLSearchParams(data) });
    toEnd();
  } finally {
    button.disabled = false;
    if (sent === form) form.elements.text.focus();
    else if (list.contains(sent)) sent.querySelector("input[name=text]")?.blur();
    show();
  }
});

// A button with an address opens it, and is told to the service as well, as in Slack.
document.addEventListener("click", (event) => {
  const pressed = event.target.closest("[data-press]");
  if (!pressed) return;
  const { ts, block, action } = pressed.dataset;
  const body = new URLSearchParams({ channel: page.channel, as: page.as, ts, block, action });
  fetch("/press", { method: "POST", body, keepalive: true });
});

form?.elements.as.addEventListener("change", (event) => {
  location.search = new URLSearchParams({ channel: page.channel, as: event.target.value });
});

toEnd();
follow();
