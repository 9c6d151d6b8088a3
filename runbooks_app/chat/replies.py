"""Answers to what a person typed or pressed, for their eyes alone. Pure.

Each says what happened and what to type next; commands stand in code, ready to be copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbooks_app.chat.blocks import CANCEL_RUN, actions, button, confirm, context, message, section, sections
from runbooks_app.chat.mrkdwn import count, duration, inline_code, link, safe, units

if TYPE_CHECKING:
    from runbooks_app.chat.views import Message, RunbookTold, RunTold
    from runbooks_app.core.errors import RunbooksError

MOST_LISTED = 25

OPEN_FORM = "open_form"
"""Action of the button that opens a runbook's form; its value is the command."""

_HELP = (
    ("db-latency database=orders-db", "runs a runbook: it only reads, and says what it found"),
    ("db-latency ?", "a form for its parameters; values may be given too"),
    ("list", "what can be run here"),
    ("status", "what goes on in this channel"),
    ("cancel", "stops your run"),
    ("incident TITLE", "opens an incident; without a title: which are open here"),
    ("attach #12", "works incident 12 here too; `attach RUN` makes a run part of it"),
    ("note TEXT", "a line for the incident's timeline"),
    ("close", "closes the incident with its cause"),
    ("postmortem", "the incident's document"),
)


def help_reply(command: str = "/runbook", *, docs_url: str = "") -> Message:
    """How the command is used."""
    lines = [f"{_typed(command, rest)} — {what}" for rest, what in _HELP]
    threads = "In threads, where slash commands do not work: mention me, or use “Run a runbook” in a message's menu."
    tail = "Anything that changes a system is proposed first, and runs only after somebody else has approved it."
    blocks = [section("*What you can type*"), *sections(lines), context(threads), context(tail)]
    if docs_url:
        blocks.append(context(link(docs_url, "More")))
    return message("What you can type after " + safe(command, 40), blocks)


def list_reply(
    runbooks: tuple[RunbookTold, ...], command: str = "/runbook", *, none: str, broken: int = 0, url: str = ""
) -> Message:
    """What can be run here; what fits this channel's incident comes first, else in the order given.

    `none` says why there is nothing, where that is so.
    """
    ordered = sorted(runbooks, key=lambda runbook: not runbook.fits)
    unread = f"{count(broken, 'runbook')} cannot be read" + (f": {link(url, 'why')}" if url else "")
    if not ordered:
        return message(none, [section(none), *([context(unread)] if broken else [])])
    lines = [
        f"{'📌 ' if runbook.fits else ''}{_typed(command, f'{runbook.name} {runbook.usage}'.strip())}"
        + (f" — {safe(runbook.title, 150)}" if runbook.title else "")
        for runbook in ordered[:MOST_LISTED]
    ]
    blocks = [section("*What you can run here*"), *sections(lines)]
    notes = []
    if len(ordered) > MOST_LISTED:
        notes.append(
            count(len(ordered) - MOST_LISTED, "more runbook") + (f": {link(url, 'all of them')}" if url else "")
        )
    if any(runbook.fits for runbook in ordered):
        notes.append("📌 fits this channel's incident")
    if broken:
        notes.append(unread)
    if notes:
        blocks.append(context("  ·  ".join(notes)))
    return message(f"{count(len(ordered), 'runbook')} can be run here", blocks)


def error_reply(error: RunbooksError, *, corrected: str = "", command: str = "/runbook") -> Message:
    """What went wrong, each point with its mend, and the corrected command if there is one to offer.

    `corrected` is the text after the command, as `commands.tell` writes it. Commands in errors are written with
    `/runbook`; they are told with what was typed, which in threads is the mention.
    """
    lines = [f"⚠️ {_sentence(_as_typed(error.message, command))}"]
    for problem in error.problems[:10]:
        fix = f" {_sentence(_as_typed(problem.fix, command))}" if problem.fix else ""
        lines.append(f"• *{safe(problem.where, 100)}*: {_sentence(problem.message)}{fix}")
    if len(error.problems) > 10:
        lines.append(f"• and {len(error.problems) - 10} more")
    if corrected:
        lines.append(f"Did you mean: {_typed(command, corrected)}")
    return message(lines[0], sections(lines))


def asked_reply(runbook: str, url: str, *, incident: str = "") -> Message:
    """A run was asked for and is kept; `incident` names the one of several that it belongs to."""
    joined = f" for {safe(incident, 200)}" if incident else ""
    text = f"{link(url, runbook, 100)} is on its way{joined}; it tells here how far it is."
    return message(f"{safe(runbook, 100)} is on its way", [section(text)])


def done_reply(text: str, *, url: str = "", label: str = "Open") -> Message:
    """One plain sentence: noted, cancelled, exported."""
    said = safe(text, 500)
    return message(said, [section(said, button=button(label, "open_page", url=url) if url else None)])


def form_reply(runbook: str, url: str, *, typed: str = "") -> Message:
    """Where a runbook's form is: on its page, and here, by itself or by a button whose value is what was `typed`."""
    name = safe(runbook, 100)
    how = "Fill in what it needs:" if typed else "Its form opens here. If it does not, it is on its page too."
    buttons = [button("Fill in", OPEN_FORM, value=typed, style="primary")] if typed and units(typed) <= 1900 else []
    page = button("On its page", "open_page", url=url)
    return message(f"The form for {name}", [section(f"*{name}*\n{how}"), actions([*buttons, page])])


def status_reply(runs: tuple[RunTold, ...], waiting: int = 0, *, url: str = "") -> Message:
    """What goes on in this channel."""
    lines = [
        f"• {link(run.url, run.runbook, 100)}{f' on {safe(run.target, 100)}' if run.target else ''}:"
        f" {_how_far(run)}, asked by {safe(run.requested_by, 80)}"
        for run in runs[:20]
    ] or ["Nothing is running for this channel."]
    if len(runs) > 20:
        lines.append(f"• and {len(runs) - 20} more")
    if waiting:
        lines.append(f"✋ {count(waiting, 'proposal')} {'waits' if waiting == 1 else 'wait'} for a decision.")
    blocks = sections(lines)
    if url:
        blocks.append(actions([button("Open the incident", "open_incident", url=url)]))
    return message(lines[0], blocks)


def link_reply(url: str, *, minutes: int = 10) -> Message:
    """Somebody whom we do not know yet: one button, good once, that leads to signing in."""
    text = (
        "I do not know yet who you are outside Slack, so I cannot run anything for you."
        f" Sign in once; the button is yours alone, works once and for {count(minutes, 'minute')}."
        " Then do it again."
    )
    return message(
        text, [section(text), actions([button("Sign in and link", "link_person", url=url, style="primary")])]
    )


def link_by_command() -> Message:
    """How somebody gets the link to sign in by whom a mention names by an id alone."""
    text = (
        "I do not know yet who you are outside Slack, so I cannot run anything for you. Type `/runbook` once in the"
        " channel, not in a thread: it gives you a link to sign in by. Then do it again."
    )
    return message(text, [section(text)])


def cancel_reply(runs: tuple[RunTold, ...]) -> Message:
    """Runs of others, each with a button that stops it and says once more which."""
    text = "None of these is yours. Which one is to be cancelled?"
    blocks = [section(text)]
    for run in runs:
        asks = confirm("Cancel this run?", f"{run.runbook}, asked by {run.requested_by}", "Cancel it", style="danger")
        line = f"• {link(run.url, run.runbook, 100)}, asked by {safe(run.requested_by, 80)}"
        blocks.append(section(line, button=button("Cancel", CANCEL_RUN, value=run.run_id, asks=asks)))
    return message(text, blocks)


def _how_far(run: RunTold) -> str:
    if run.waiting:
        return f"waiting for {duration(run.seconds)}: {safe(run.waiting, 200)}"
    done = f"{run.cells_done} of {count(run.cells_total, 'cell')}"
    return f"{str(run.state).replace('_', ' ')}, {done}, {duration(run.seconds)}"


def _typed(command: str, rest: str) -> str:
    """A command in code, ready to be copied."""
    return inline_code(f"{command} {rest}")


def _as_typed(text: str, command: str) -> str:
    return text.replace("`/runbook ", f"`{command} ")


def _sentence(text: str) -> str:
    """A message of ours: it may quote untrusted text, and shows commands in backquotes."""
    parts = text[:1500].split("`")
    if len(parts) % 2 == 0:
        return safe(text, 600)
    return "".join(inline_code(part) if index % 2 else _spaced(part) for index, part in enumerate(parts))


def _spaced(part: str) -> str:
    """`safe`, but keeping the space beside the code that precedes or follows."""
    body = safe(part, 600)
    return (" " if part[:1] == " " else "") + body + (" " if part[-1:] == " " and body else "")
