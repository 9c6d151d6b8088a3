"""What leaves for the chat: never what a restricted connection showed, and no more of a chart than its pixels."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from dataclasses import replace

import pytest
from notebooks import cell, write

from runbooks_app.chat.messages import run_message
from runbooks_app.store.database import reading
from runbooks_app.worker import views

ROWS = """
kit.finding("critical", "Rows differ", kit.postgres("orders-db").execute("SELECT 'jane@customer.example' AS email"))
raise ValueError("jane@customer.example")
"""
ACT = """
kit.gate("act", "Act", risk="high")
kit.postgres("orders-db").execute("SELECT 1")
"""


@pytest.fixture
def restricted(house, library_folder):
    """A runbook that names a restricted connection in its code, not in a parameter."""
    write(
        library_folder,
        "literal",
        cell("rows", ROWS, "diagnostic"),
        cell("propose", "kit.propose('act')", "diagnostic"),
        cell("act", ACT, "remediation"),
        parameters="rows_shown: int = 10  # How many",
        connections={"orders-db": "postgres"},
    )
    house.service.connections["orders-db"] = replace(house.service.connections["orders-db"], data_class="restricted")
    return "literal"


def details(house, run):
    with reading(house.service.engine) as tx:
        return views.details_told(tx, house.service, run)


def test_evidence_of_a_restricted_connection_stays_out_also_where_no_parameter_names_it(house, restricted):
    run, (proposal,) = house.diagnosed(name=restricted)
    told = details(house, run)
    assert [item.restricted for item in told.evidence] == [True]
    assert [item.restricted for item in told.cells] == [True]
    with reading(house.service.engine) as tx:
        assert views.proposal_told(tx, house.service, proposal, run).restricted
        assert views.run_told(tx, house.service, run).target == "orders-db"


def test_a_connection_that_nobody_can_vouch_for_any_more_counts_as_restricted(house, restricted):
    run, _ = house.diagnosed(name=restricted)
    gone = house.service.connections.pop("orders-db")
    assert gone.data_class == "restricted"
    assert all(item.restricted for item in (*details(house, run).evidence, *details(house, run).cells))


def png(*extra: tuple[bytes, bytes]) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    parts = [(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)), *extra]
    parts += [(b"IDAT", zlib.compress(b"\0\0\0\0")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_a_chart_leaves_as_its_pixels_alone_and_what_is_no_image_not_at_all(house, library_folder):
    hidden = (b"zTXt", b"Comment\0\0" + zlib.compress(b"what redaction cannot see"))
    shown = [png(hidden) + b"and a tail", b"<script>alert(1)</script>", b""]
    encoded = [base64.b64encode(data).decode() for data in shown]
    source = (
        "from IPython.display import publish_display_data\n"
        f"for image in {[*encoded, 'no base64', 7]!r}:\n"
        '    publish_display_data({"image/png": image, "text/plain": "a chart"})\n'
    )
    write(library_folder, "charts", cell("charts", source, "diagnostic"))
    run, _ = house.diagnosed(name="charts")
    assert [chart.png for chart in details(house, run).charts] == [png()]


@pytest.mark.kernels
@pytest.mark.parametrize("sandbox", ["on", "off"])
def test_a_sandbox_that_is_off_is_told_in_every_message_of_a_run(house, runbook, sandbox):
    run, _ = house.diagnosed()
    service = replace(house.service, settings=house.service.settings.model_copy(update={"sandbox": sandbox}))
    with reading(service.engine) as tx:
        message = run_message(views.run_told(tx, service, run))
    assert ("sandbox is off" in json.dumps(message.blocks)) == (sandbox == "off")
