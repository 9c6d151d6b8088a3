"""What `runbooks identity show` prints, taken apart: tests apply the very text that people paste."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import yaml

_FILE = re.compile(r"^cat > (\S+) <<'END'\n(.*?)^END$", re.MULTILINE | re.DOTALL)


def files(printed: str) -> dict[str, Any]:
    """The files that the script writes, by name: JSON as it is, YAML as the list of its documents."""
    found = _FILE.findall(printed)
    return {
        name: json.loads(text) if name.endswith(".json") else list(yaml.safe_load_all(text)) for name, text in found
    }


def commands(printed: str) -> list[list[str]]:
    """The commands that it runs, as a shell takes them apart."""
    lines = _FILE.sub("", printed).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]
