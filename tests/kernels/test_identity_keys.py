"""The keys that sign run tokens are out of a kernel's reach, also where their modes would let it read them."""

from __future__ import annotations

import pytest
from kernels.segments import segment

from runbooks_app.core.run import CellState
from runbooks_app.credentials.key_folder import KeyFolder

pytestmark = [pytest.mark.kernels, pytest.mark.identity]

ATTEMPTS = {
    "reading a key": "open(key).read()",
    "looking for keys": "os.listdir(folder)",
    "by a relative path": "open('../' * 12 + key.lstrip('/')).read()",
    "by a link": "os.symlink(key, 'link')\nopen('link').read()",
    "by another name": "os.link(key, 'mine')\nopen('mine').read()",
    "by taking the folder": "os.rename(folder, 'mine')",
    "by way of the worker": "open(f'/proc/{os.getppid()}/root{key}').read()",
    "putting a key of one's own there": "open(os.path.join(folder, 'forged.pem'), 'w')",
    "holding the lock": "open(os.path.join(folder, '.lock'), 'r+')",
    "by a program": "import subprocess\nsubprocess.run(['cat', key], check=True, capture_output=True)",
}


@pytest.fixture(params=["as the worker makes them", "open to everybody"])
def keys(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ours") / "identity"
    keys = KeyFolder(folder)
    with keys.locked():
        keys.make()
    (key,) = folder.glob("*.pem")
    if request.param == "open to everybody":  # so that only the sandbox stands between
        for path in (key, folder / ".lock"):
            path.chmod(0o666)
        for path in (folder, *folder.parents):
            if path.owner() == folder.owner() and path.stat().st_mode & 0o777 == 0o700:
                path.chmod(0o755)
        folder.chmod(0o777)
    return key


def test_no_way_leads_from_a_cell_to_a_key(run, keys):
    known = {name: {"type": "str", "value": str(value)} for name, value in (("key", keys), ("folder", keys.parent))}
    ran = run(segment("import os", *ATTEMPTS.values(), inputs=known))
    private = keys.read_text()
    for number, attempt in enumerate(ATTEMPTS, 1):
        ended = ran.ended[f"c{number}"]
        assert ended.state is CellState.FAILED, attempt
        assert any(word in ended.reason for word in ("PermissionError", "CalledProcessError", "Errno 18")), ended.reason
        assert private.splitlines()[1] not in str(ended.outputs), attempt
    assert [path.name for path in keys.parent.glob("*.pem")] == [keys.name]
    assert "PRIVATE KEY" in private
