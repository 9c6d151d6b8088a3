"""What a run found in detail: tables, charts and tracebacks in its thread, and what stays on pages."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from chat.told import URL, said

from runbooks_app.chat import details, views
from runbooks_app.core.run import CellState


@pytest.mark.chat
def test_a_long_table_is_a_file_with_all_its_rows_and_a_single_row_stands_as_fields():
    rows = tuple((str(number), "x" * 50) for number in range(30))
    long = views.EvidenceTold("Who waits, @channel", ("pid", "query"), rows, 5, url=URL)
    (file,) = details.details_files(views.DetailsTold(URL, evidence=(long,)))
    assert (file.name, len(file.data.decode().splitlines())) == ("who-waits-channel.txt", 32)
    assert f"<{URL}|its cell>" in file.comment
    assert "5 more rows were not kept" in file.comment
    (message,) = details.details_messages(views.DetailsTold(URL, evidence=(long,)))
    assert "15 more rows" in json.dumps(message.blocks)
    short = replace(long, rows=(("4711", "ALTER TABLE orders"),), omitted=0)
    assert details.details_files(views.DetailsTold(URL, evidence=(short,))) == ()
    (message,) = details.details_messages(views.DetailsTold(URL, evidence=(short,)))
    assert [field["text"] for field in message.blocks[1]["fields"]] == ["*pid*\n4711", "*query*\nALTER TABLE orders"]
    hidden = replace(long, restricted=True)
    assert details.details_files(views.DetailsTold(URL, evidence=(hidden,))) == ()


def test_what_a_restricted_connection_showed_stays_out():
    secret = "jane@customer.example"
    told = views.DetailsTold(
        URL,
        cells=(views.CellTold("locks", CellState.FAILED, f"UniqueViolation: {secret}", secret, URL, restricted=True),),
        evidence=(views.EvidenceTold("Rows differ", ("email",), ((secret,),), restricted=True),),
        charts=(views.ChartTold(b"", secret, secret, restricted=True),),
    )  # fmt: skip
    made = details.details_messages(told)
    assert len(made) == 3
    everything = json.dumps([[m.text, m.blocks] for m in made])
    assert "jane" not in everything
    assert "UniqueViolation" in everything


@pytest.mark.parametrize("state", [CellState.DIED, CellState.TIMED_OUT, CellState.CANCELLED])
def test_how_a_restricted_cells_kernel_ended_is_told(state):
    reason = "The kernel had more than 100 processes and threads, the limit of this runbook, and was ended."
    cell = views.CellTold("locks", state, reason, "jane@customer.example", URL, restricted=True)
    sent = json.dumps([[m.text, m.blocks] for m in details.details_messages(views.DetailsTold(URL, cells=(cell,)))])
    assert reason in sent
    assert "jane" not in sent


def test_evidence_is_an_aligned_table_that_counts_what_it_leaves_out():
    item = views.EvidenceTold("37 wait", ("pid", "app"), (("4711", "deploy"), ("1", "x")), omitted=35)
    told = said(details.details_messages(views.DetailsTold(URL, evidence=(item,)))[0])
    assert "pid   app\n────  ──────\n4711  deploy\n1     x" in told
    assert "35 more rows" in told


def test_a_long_traceback_shows_its_end():
    cell = views.CellTold(
        "locks", CellState.FAILED, "KeyError: 'p99'", "start\n" + "frame\n" * 2000 + "KeyError: 'p99'"
    )
    told = said(details.details_messages(views.DetailsTold(URL, cells=(cell,)))[0])
    assert told.rstrip("`\n").endswith("KeyError: 'p99'")
    assert "start" not in told
