"""What is not compared of two kernels' outputs, because it cannot be the same twice or does not matter to a reader.

- Streams that follow each other under one name are one output; of two streams between two other outputs, stdout is
  told first: a reader sees both, and stock ipykernel collects them at moments of its own.
- Addresses of objects, process ids, and times.
- Of a traceback: paths of files and of cells, colours, and the lines of library code, which are each kernel's own.
- Of an image: its bytes. That it is there, and of which kind, counts.
- Counts of executions: a kernel of ours begins with them as Jupyter does, and this is compared.
"""

from __future__ import annotations

import json
import re
from typing import Any

Output = dict[str, Any]

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_NAMES_ERROR = re.compile(r"\w+(?:Error|Exception|Group|Exit|Interrupt|Odd)\b")
_RULES = (
    (re.compile(r"0x[0-9a-f]{6,}"), "0x…"),
    (re.compile(r"[\d.]+ (?:ns|[\u00b5\u03bcu]s|ms|s)\b"), "<time>"),
    (re.compile(r"(?m)^CPU times: .*$"), "CPU times: <times>"),
    (re.compile(r"ipykernel_\d+/\d+\.py|<ipython-input-[^>]+>|\b\d{6,}\.py"), "<cell>"),
    (re.compile(r"/tmp/\S*?(?=<cell>)"), ""),
    (re.compile(r"File /\S+?/([^/\s:]+\.py)"), r"File \1"),
    (re.compile(r"Process \S+-\d+"), "Process <name>"),
    (re.compile(r"(?<=\.py:)\d+"), "<line>"),
)


def normal(outputs: list[Output]) -> list[Output]:
    """The outputs of a cell as they are compared."""
    merged: list[Output] = []
    for output in outputs:
        if output["output_type"] == "stream":
            _add(merged, output["name"], _text(output["text"]))
        elif output["output_type"] == "error":
            merged.append(_error(output))
        else:
            merged.append(_display(output))
    return [output for output in merged if output.get("text") != ""]


def _add(merged: list[Output], name: str, text: str) -> None:
    """Text at the end of its stream, as long as nothing but streams came since."""
    at = len(merged)
    while at and merged[at - 1]["output_type"] == "stream":
        at -= 1
        if merged[at]["name"] == name:
            merged[at]["text"] += text
            return
    new = {"output_type": "stream", "name": name, "text": text}
    if name == "stdout":
        merged.insert(at, new)
    else:
        merged.append(new)


def _text(text: str) -> str:
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    return text


def _error(output: Output) -> Output:
    lines = _COLOURS.sub("", "\n".join(output["traceback"])).splitlines()
    own = [line for line in lines if line.startswith("--->") or _NAMES_ERROR.match(line)]
    return {
        "output_type": "error",
        "ename": output["ename"],
        "evalue": _text(output["evalue"]),
        "traceback": [_text(re.sub(r"\s+", " ", line)) for line in own],
    }


def _display(output: Output) -> Output:
    data = {mime: _shown(mime, value) for mime, value in output["data"].items()}
    return json.loads(json.dumps(output | {"data": data}))


def _shown(mime: str, value: Any) -> Any:
    if mime.startswith("image/") and mime != "image/svg+xml":
        return "<image>"
    return _text(value) if isinstance(value, str) else value
