/* Tells an approver in their browser when something new waits for them, once they have asked for it on the page Now.
   Each page of this service that stays open asks; a notification has the proposal's id, so several pages make one. */
"use strict";

(() => {
  const EVERY = 15000;
  const ON = "runbooks-notify";
  const KNOWN = "runbooks-notified";
  if (!("Notification" in window)) return;

  const offer = document.getElementById("notify");
  let timer = null;
  let stopped = false; /* by a click on this page */

  const wanted = () => localStorage.getItem(ON) === "yes" && Notification.permission === "granted";

  const show = () => {
    if (!offer) return;
    const [button, said] = offer.children;
    const blocked = Notification.permission === "denied";
    offer.hidden = false;
    button.hidden = blocked;
    button.textContent = wanted() ? "Stop notifying me here" : "Notify me here";
    if (blocked) said.textContent = "This browser does not let this service notify you; its settings for this page say so.";
    else if (wanted()) said.textContent = "This browser tells you when something waits for you, for as long as a page of this service stays open.";
    else if (stopped) said.textContent = "Switched off: nothing is told here.";
  };

  /* Ids that were told, here or on another page; the latest ones are enough. */
  const known = () => new Set(JSON.parse(localStorage.getItem(KNOWN) || "[]"));
  const remember = (ids) => localStorage.setItem(KNOWN, JSON.stringify([...ids].slice(-200)));

  const tell = (title, body, tag, path) => {
    const told = new Notification(title, { body, tag, requireInteraction: true });
    told.addEventListener("click", () => {
      window.focus();
      window.location.assign(path);
      told.close();
    });
  };

  const look = async (quietly) => {
    clearTimeout(timer);
    if (!wanted()) return;
    try {
      const answer = await fetch("/waiting", { headers: { Accept: "application/json" }, redirect: "error" });
      if (answer.status === 401) {
        tell("You are signed out", "Nothing more is told here until you sign in again.", "signed-out", "/login");
        return;
      }
      if (answer.ok) {
        const { waiting } = await answer.json();
        const ids = known();
        for (const one of waiting) {
          if (!ids.has(one.id) && !quietly) tell("Waits for you", `${one.title} (${one.risk} risk)`, one.id, `/proposals/${one.id}`);
          ids.add(one.id);
        }
        remember(ids);
      }
    } catch {
      /* The service or the network is away: the next look may reach it. */
    }
    timer = setTimeout(look, EVERY);
  };

  if (offer) {
    offer.firstElementChild.addEventListener("click", async () => {
      if (wanted()) {
        localStorage.removeItem(ON);
        stopped = true;
      } else if (await Notification.requestPermission() === "granted") {
        localStorage.setItem(ON, "yes");
        look(true); /* what waits already stands on this page */
      }
      show();
    });
  }
  show();
  look();
})();
