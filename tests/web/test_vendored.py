"""What browsers load beside our own script is, byte for byte, what its project published under the version we name."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from runbooks_app import web

pytestmark = pytest.mark.pages

FOLDER = Path(web.__file__).parent / "static" / "vendor"
TOLD = json.loads((FOLDER / "vendored.json").read_text())


def test_each_vendored_file_has_the_digest_that_is_written_down_and_none_lacks_one():
    found = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in FOLDER.iterdir()
        if file.name != "vendored.json"
    }
    assert found == {name: file["sha256"] for name, file in TOLD["files"].items()}


def test_the_version_that_is_written_down_is_the_one_that_it_calls_itself():
    assert f'this.version="{TOLD["version"]}"' in (FOLDER / "htmx.min.js").read_text()


def test_script_of_others_stands_in_their_folder_alone_and_pages_load_nothing_else():
    scripts = {file.relative_to(FOLDER.parent).as_posix() for file in FOLDER.parent.rglob("*.js")}
    listed = {f"vendor/{name}" for name in TOLD["files"] if name.endswith(".js")}
    assert {name for name in scripts if "/" in name} == listed
    template = (FOLDER.parent.parent / "templates" / "base.html").read_text()
    loaded = re.findall(r"<script src=\"{{ asset\('([^']+)'\) }}\"(?: defer)?></script>", template)
    assert template.count("<script") == len(loaded)
    assert set(loaded) == scripts
