"""One cell's outputs: taken from the kernel's messages, capped, shown live, and at the end redacted as a whole.

Text beyond the cap goes to a file while it is printed (`spool`). Everything here comes from a kernel, so nothing is
believed about its shape. Sizes are bytes of UTF-8.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from runbooks_app.kernels.displays import Displays, Settled, content, is_bundle
from runbooks_app.kernels.events import Output
from runbooks_app.kernels.redaction import NULL, Redactor, Stream, cut
from runbooks_app.kernels.spool import Rest, Spool

ERROR_LIMIT = 65536
"""Bytes kept of a traceback, whatever else the cell printed."""

LINES_LIMIT = 2000
"""Lines kept of a traceback: each is stored with a frame of its own."""

ERRORS_LIMIT = 4 * ERROR_LIMIT
"""Bytes kept of all errors of a cell; beyond it only the last one stays, for it is the one that tells."""

NAME_LIMIT = 200
"""Characters kept of an error's class."""

FRAME = 60
"""Bytes that an output weighs by itself: one of a single character is stored and shown with its frame."""

MOST_COUNTED = 2**31 - 1
"""The largest execution count that is believed; the database holds no larger one."""

WITHHELD = "[runbooks] The output of this cell is withheld: {}.\n"
MORE = "[runbooks] It prints more than is shown here; the rest is kept.\n"
WHOLE = "[runbooks] {:,} bytes of text are here; the whole of it, {:,} bytes, is kept beside them.\n"
LOST = "[runbooks] {:,} bytes of text more were printed and are not kept: the run keeps no more than it has now.\n"
LEFT_OUT = "[runbooks] {:,} bytes of output are left out: {:,} are kept per cell.\n"


@dataclass(eq=False)
class _Item:
    """An output as it came. `text` are the pieces of a stream; `data` the rest of it."""

    kind: str
    name: str = ""
    text: list[str] = field(default_factory=list)
    data: Output = field(default_factory=dict)
    display_id: str | None = None
    size: int = 0
    bundle: bool = False


class Outputs:
    """Takes a cell's messages one by one.

    `limit`: bytes that are kept in the run. Text beyond it goes into what `spool` makes; without, it is left out.
    `displays`: those of the cells before, which this one may update.
    """

    def __init__(
        self,
        redactor: Redactor,
        limit: int,
        spool: Callable[[], Spool] | None = None,
        displays: Displays | None = None,
    ) -> None:
        self._redactor = redactor
        self._limit = limit
        self._make_spool = spool
        self._spool: Spool | None = None
        self._items: list[_Item] = []
        self._used = {False: 0, True: 0}  # bytes, by whether they are bundles
        self._errors = 0  # bytes
        self._last_error: _Item | None = None  # of those beyond the limit
        self._displays = Displays() if displays is None else displays
        self._left_out = 0
        self._full = False  # no text is kept in the run any more
        self._clear = False
        self._fresh: list[_Item] = []
        self._cleared = False  # since live output was told last
        self._streams = {name: Stream(redactor) for name in ("stdout", "stderr")}
        self._broken = ""
        self.rest: Rest | None = None  # with `final`: the whole text, where that is more than the limit

    # ---- taking

    def take(self, message: dict[str, Any]) -> None:
        """One message; one of a kind or shape that is not known leaves nothing."""
        try:
            self._take(message)
        except Exception as error:  # noqa: BLE001  a kernel can send anything; what it sent is not shown
            self._broken = type(error).__name__

    def _take(self, message: dict[str, Any]) -> None:
        kind, content = message.get("msg_type"), message.get("content")
        if not isinstance(content, dict):
            return
        if kind == "left_out":
            self._left_out += int(content["bytes"])
        elif kind == "clear_output":
            self._clear = True
            if not content.get("wait"):
                self._clear_now()
        elif kind == "stream":
            self._take_stream(content)
        elif kind in ("display_data", "execute_result", "update_display_data"):
            self._take_display(kind, content)
        elif kind == "error":
            self._take_error(content)

    def _take_stream(self, content: dict[str, Any]) -> None:
        name, text = content.get("name"), content.get("text")
        if name not in self._streams or not isinstance(text, str) or not text:
            return
        self._clear_now()
        text = clean(text)
        kept = "" if self._full else self._fit(text)
        if kept:
            self._keep(name, kept)
        if len(kept) < len(text):
            self._overflow(name, text[len(kept) :])

    def _keep(self, name: str, text: str) -> None:
        for items in (self._items, self._fresh):
            if not (items and items[-1].kind == "stream" and items[-1].name == name):
                items.append(_Item("stream", name))
                self._used[False] += FRAME if items is self._items and len(items) > 1 else 0
            items[-1].text.append(text)
        self._used[False] += len(text.encode())

    def _fit(self, text: str) -> str:
        """As much of a text as there is room for."""
        raw = text.encode()
        room = max(0, self._limit - self._used[False])
        if len(raw) <= room:
            return text
        self._full = True
        kept = raw[:room].decode(errors="ignore")
        # The cut may go through a secret: what could be the beginning of one goes too.
        return kept[: self._redactor.held(kept, self._redactor.spans(kept))]

    def _overflow(self, name: str, text: str) -> None:
        """Text for which there is no room in the run."""
        if self._make_spool is None:
            self._left_out += len(text.encode())
            return
        if self._spool is None:
            self._spool = self._make_spool()
            for item in self._items:
                if item.kind == "stream":
                    self._spool.take(item.name, "".join(item.text))
            self._fresh.append(_Item("stream", "stderr", [MORE]))
        self._spool.take(name, text)

    def _take_display(self, kind: str, content: dict[str, Any]) -> None:
        data, metadata = content.get("data"), content.get("metadata")
        if not isinstance(data, dict) or not data:
            return
        transient = content.get("transient")
        display_id = transient.get("display_id") if isinstance(transient, dict) else None
        output: Output = {"output_type": "display_data", "data": clean(data)}
        output["metadata"] = clean(metadata) if isinstance(metadata, dict) else {}
        if kind == "execute_result":
            output |= {"output_type": kind, "execution_count": count_of(content.get("execution_count"))}
        size = len(json.dumps(output, ensure_ascii=False).encode())
        item = _Item("display", data=output, size=size, display_id=self._known_as(display_id))
        item.bundle = is_bundle(output)
        earlier = [shown for shown in self._items if item.display_id and shown.display_id == item.display_id]
        self._update(earlier, item)
        if item.display_id and not item.bundle:
            self._displays.update(item.display_id, output)
        # A finding, say, is read where it is made, whatever it is meant to take the place of.
        if kind == "update_display_data" and (earlier or not item.bundle):
            return
        self._clear_now()
        if self._limit - self._used[item.bundle] < size:
            self._left_out += size
            return
        self._used[item.bundle] += size
        self._items.append(item)
        self._fresh.append(item)

    def _known_as(self, display_id: Any) -> str | None:
        return self._displays.known_as(display_id) if isinstance(display_id, str) else None

    def _update(self, earlier: list[_Item], new: _Item) -> None:
        for item in earlier:
            growth = new.size - item.size
            if self._limit - self._used[item.bundle] < growth:
                self._left_out += new.size
                continue
            self._used[item.bundle] += growth
            item.data = item.data | {"data": new.data["data"], "metadata": new.data["metadata"]}
            item.size = new.size
            if item not in self._fresh:
                self._fresh.append(item)

    def _take_error(self, content: dict[str, Any]) -> None:
        self._clear_now()
        lines = content.get("traceback")
        trace = [clean(str(line)) for line in lines] if isinstance(lines, list) else []
        value = clean(str(content.get("evalue", "")))
        trace, left = _ends(trace) if trace else ([], 0)
        self._left_out += left + max(0, len(value) - ERROR_LIMIT)
        error = {
            "output_type": "error",
            "ename": clean(str(content.get("ename", "")))[:NAME_LIMIT],
            "evalue": value[:ERROR_LIMIT],
            "traceback": trace,
        }
        item = _Item("error", data=error, size=len(json.dumps(error, ensure_ascii=False).encode()))
        if self._errors + item.size > ERRORS_LIMIT:
            self._take_last_error(item)
            return
        self._errors += item.size
        self._items.append(item)
        self._fresh.append(item)

    def _take_last_error(self, item: _Item) -> None:
        """One error beyond the limit of all: it takes the place of the one before it."""
        if self._last_error is None:
            self._last_error = item
            self._items.append(item)
        else:
            self._left_out += self._last_error.size
            self._last_error.data, self._last_error.size = item.data, item.size
        if self._last_error not in self._fresh:
            self._fresh.append(self._last_error)

    def _clear_now(self) -> None:
        if self._clear:
            self._clear = False
            self._items.clear()
            self._fresh.clear()
            self._cleared, self._full = True, False
            self._streams = {name: Stream(self._redactor) for name in self._streams}
            self._spool = None
            self._used = {False: 0, True: 0}
            self._errors, self._last_error = 0, None

    @property
    def failed_visibly(self) -> bool:
        """Whether an error is among the outputs."""
        return any(item.kind == "error" for item in self._items)

    # ---- telling

    def cleared(self) -> bool:
        """Whether all that was told before the last call of this is gone; to be asked before `live`."""
        cleared, self._cleared = self._cleared, False
        return cleared

    def live(self, *, last: bool = False) -> list[tuple[Output, str | None]]:
        """What has come since the last call, redacted, with its display id; `last` tells what was held back too."""
        fresh, self._fresh = self._fresh, []
        if self._broken:
            return []
        try:
            shown = [output for item in fresh if (output := self._live_item(item))]
            if last and not self._full:  # else it may be the beginning of a secret that goes on in the file
                rests = [(name, stream.finish()) for name, stream in self._streams.items()]
                shown += [(_stream(name, rest), None) for name, rest in rests if rest]
        except Exception as error:  # noqa: BLE001  whatever it was: unchecked output is never shown
            self._broken = type(error).__name__
            return []
        return shown

    def _live_item(self, item: _Item) -> tuple[Output, str | None] | None:
        if item.kind == "stream":
            text = self._streams[item.name].feed("".join(item.text))
            return (_stream(item.name, text), None) if text else None
        return self._redactor.value(item.data)[0], item.display_id

    def final(self) -> tuple[tuple[Output, ...], int]:
        """All outputs of the cell as they are kept, and how many places were redacted. Withheld where in doubt."""
        self._places: dict[int, str] = {}
        try:
            if self._broken:
                raise RuntimeError(self._broken)  # noqa: TRY301
            rest = self._spool.finish() if self._spool is not None else None
            outputs, redacted = self._redacted()
            if self._smuggles(outputs) or (self._spool is not None and self._spool.spread):
                return (_stream("stderr", WITHHELD.format("it holds a secret, spread out")),), redacted + 1
        except Exception:  # noqa: BLE001
            return (_stream("stderr", WITHHELD.format("it could not be searched for secrets")),), 0
        self.rest = rest
        self._places = {at: item.display_id for at, item in enumerate(self._items) if item.display_id}
        if note := self._note():
            outputs.append(_stream("stderr", note))
        return tuple(outputs), redacted

    def _note(self) -> str:
        """What is not here, and where it is."""
        note = ""
        if self._spool is not None:
            here = sum(len(text.encode()) for item in self._items for text in item.text)
            note += WHOLE.format(here, self._spool.size) if self.rest and self._spool.size > here else ""
            note += LOST.format(self._spool.lost) if self._spool.lost else ""
        return note + (LEFT_OUT.format(self._left_out, self._limit) if self._left_out else "")

    def settle(self, cell_id: str, outputs: tuple[Output, ...]) -> None:
        """After `final`: let later cells update the displays in these outputs."""
        if self._places:
            self._displays.add(Settled(cell_id, list(outputs), self._places, self._redactor, self._limit))

    @property
    def kept(self) -> int:
        """Bytes of all that is kept, the file included."""
        return sum(self._used.values()) + self._errors + (self._spool.size if self._spool is not None else 0)

    def _redacted(self) -> tuple[list[Output], int]:
        # A secret may be cut by an output in between, so that each stream is searched as one text.
        texts: dict[int, str] = {}
        count = 0
        for name in self._streams:
            items = [item for item in self._items if item.kind == "stream" and item.name == name]
            pieces = ["".join(item.text) for item in items]
            joined = "".join(pieces)
            spans = self._redactor.spans(joined)
            # Where the text was cut, its end may be the beginning of a secret.
            shown = self._redactor.held(joined, spans) if self._full else len(joined)
            spans = [span for span in spans if span[0] < shown]
            count += len(spans)
            at = 0
            for item, piece in zip(items, pieces, strict=True):
                end = at + len(piece)
                own = [(max(a, at) - at, min(b, end) - at) for a, b in spans if a < end and b > at]
                texts[id(item)] = cut(piece[: max(0, shown - at)], own)
                at = end
        if self._spool is not None:  # which has all of this text, and more
            count = max(count, self._spool.places)
        outputs = []
        for item in self._items:
            if item.kind == "stream":
                outputs.append(_stream(item.name, texts[id(item)]))
            else:
                output, places = self._redactor.value(item.data)
                outputs.append(output)
                count += places
        return outputs, count

    def _smuggles(self, outputs: list[Output]) -> bool:
        streams = ["".join(o["text"] for o in outputs if o.get("name") == name) for name in self._streams]
        together = "".join(part for output in outputs for part in content(output))
        return any(self._redactor.smuggled(text) for text in (*streams, together))


def _stream(name: str, text: str) -> Output:
    return {"output_type": "stream", "name": name, "text": text}


def _ends(lines: list[str]) -> tuple[list[str], int]:
    """What is kept of a traceback, and the bytes that are not: the call and what was raised stand at its ends."""
    sizes = [len(line.encode()) for line in lines]
    head, tail, kept = 0, 0, 0  # numbers of lines, bytes
    for turn in range(LINES_LIMIT):
        size = sizes[head] if turn % 2 else sizes[-1 - tail]
        if kept + size <= ERROR_LIMIT:
            kept += size
            head, tail = (head + 1, tail) if turn % 2 else (head, tail + 1)
        if head + tail == len(lines):
            return lines, 0
    return lines[:head] + lines[len(lines) - tail :], sum(sizes) - kept


def count_of(number: Any) -> int | None:
    """An execution count as a kernel tells it, if it can be one."""
    believed = isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= MOST_COUNTED
    return number if believed else None


def clean(value: Any) -> Any:
    """What any database and any encoder takes: no lone surrogates, no NUL, no number beyond all others (1e999)."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode().replace("\0", NULL)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, dict):
        return {clean(str(key)): clean(item) for key, item in value.items()}
    return value
