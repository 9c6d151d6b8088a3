"""The command line as a client of a service elsewhere."""

from __future__ import annotations

import sys

import far_service
import pytest

from runbooks_app.main import cli
from runbooks_app.main.client.keeping import Sessions


@pytest.fixture(scope="module")
def served():
    with far_service.serve() as running:
        yield running


@pytest.fixture
def far(served):
    """The service and its provider, as usual until a test says otherwise."""
    served.usual()
    return served


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("RUNBOOKS_URL", raising=False)
    return tmp_path / "runbooks"


@pytest.fixture
def runbooks(capsys, folder, monkeypatch):
    """`runbooks("list")` gives exit code, output and complaints of the command."""

    def invoke(*arguments):
        monkeypatch.setattr(sys, "argv", ["runbooks", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        told = capsys.readouterr()
        return left.value.code or 0, told.out, told.err

    return invoke


@pytest.fixture
def ana(far, folder, runbooks):
    """Somebody who is signed in."""
    assert runbooks("login", "--url", far.url)[0] == 0
    far.asked.clear()
    return Sessions(folder)
