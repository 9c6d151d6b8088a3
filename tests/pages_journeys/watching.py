"""A browser's window in which whatever somebody else's text does is noted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

SWEEP = """() => {
  const found = [], schemes = ["http:", "https:", location.protocol];
  const own = new Set(["hx-get", "hx-trigger", "hx-target", "hx-swap", "hx-sync", "hx-include", "hx-select",
    "hx-sse:connect", "hx-sse:close", "hx-push-url", "hx-boost"]);
  const config = '{"sse": {"pauseOnBackground": false}}';  // settings reach as far as requests: this one alone is ours
  for (const element of document.querySelectorAll("*")) {
    const name = element.localName;
    if (["object", "embed", "base", "math", "foreignobject", "animate", "set", "video", "audio", "marquee"]
      .includes(name)) found.push(name);
    if (name === "script" && new URL(element.src).origin !== location.origin) found.push("script");
    if (name === "iframe" && element.getAttribute("sandbox") !== "") found.push("a frame without sandbox");
    for (const { name: attribute, value } of element.attributes) {
      if (attribute.startsWith("on") || attribute === "style" || attribute === "srcdoc") found.push(attribute);
      if (attribute === "hx-config" && value === config) continue;
      if (/^(data-)?hx-/.test(attribute) && !own.has(attribute)) found.push(attribute);
      if (attribute.startsWith("hx-get") && !value.startsWith("/")) found.push(`${attribute}=${value}`);
      if (name === "img" && /^data:image\\/(png|jpeg);base64,/.test(value)) continue;
      const leads = ["href", "src", "action", "formaction", "xlink:href"].includes(attribute);
      const url = leads ? new URL(value, location) : null;
      if (url && name !== "a" && url.origin !== location.origin) found.push(`${name} ${attribute}=${value}`);
      if (url && !schemes.includes(url.protocol)) found.push(`${name} ${attribute}=${value}`);
      if (url && name === "a" && element.getAttribute("target") && !/noopener|noreferrer/.test(element.rel))
        found.push(`a ${value} that gives away its window`);
    }
  }
  return found;
}"""


@dataclass
class Watch:
    """A window in which whatever runs, loads or leads elsewhere is noted."""

    page: Page
    address: str
    noted: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.context.expose_function("ran", lambda what: self.noted.append(f"ran: {what}"))
        self.page.add_init_script(
            "for (const n of ['alert', 'confirm', 'prompt']) window[n] = (x) => window.ran(n + x);"
        )
        self.page.context.on("page", lambda other: self.noted.append(f"opened {other.url}"))
        self.page.context.on("request", lambda request: self._asked(request.url))

    def _asked(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "about:")) and url not in self.files:
            self.noted.append(f"asked for {url}")

    def open(self, path: str) -> None:
        """Look at a page of the service."""
        answer = self.page.goto(self.address + path)
        assert answer is not None
        assert answer.ok, f"{path}: {answer.status}"
        self.look()
        assert self.page.url.startswith(self.address)

    def export(self, incident_id: int, folder: Path) -> str:
        """Look at the postmortem of an incident that its page gives as a file; what it says."""
        self.open(f"/incidents/{incident_id}")
        file = folder / f"incident-{incident_id}.html"
        with self.page.expect_download() as given:
            self.page.get_by_role("button", name="HTML").click()
        given.value.save_as(file)
        self.files.append(file.as_uri())
        self.page.goto(file.as_uri())
        self.look()
        assert self.page.url == file.as_uri()
        return self.page.locator("main").inner_text()

    def look(self) -> None:
        """Sweep what is open: all that it folds is opened, and what it loads late is loaded."""
        self.page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
        for frame in self.page.locator("iframe").all()[:100]:
            frame.scroll_into_view_if_needed()
        self.noted += [f"{self.page.url}: {what}" for what in self.page.evaluate(SWEEP)]
        assert self.noted == []
