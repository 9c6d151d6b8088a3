"""The notebooks that everybody runs: ordinary Jupyter, no parameters, nothing of ours imported.

The first cell prints the moment at which it does so, by a clock that all processes of the machine share: of a peer this
is taken as the moment of its first output, though none of them shows it that early.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

FIRST = 'import time\nprint("first output at", time.monotonic_ns())'
MOMENT = re.compile(r"first output at (\d+)")

TRIVIAL = (
    FIRST,
    'orders = {"orders": 3, "billing": 4}\norders',
    "import json\nprint(json.dumps(orders))",
    "total = sum(orders.values())",
    "assert total == 7",
    'print(f"{total} in all")',
)
CHART = (
    FIRST,
    "import pandas as pd",
    'frame = pd.DataFrame({"second": range(600), "ms": [(n * 7919) % 97 for n in range(600)]})\nframe.head()',
    'frame["late"] = frame.ms > 90\nframe.groupby("late").ms.describe()',
    """
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(6, 3))
axes.plot(frame.second, frame.ms)
axes.set_title("Latency")
plt.show()
""",
    'print("p90", frame.ms.quantile(0.9))',
)
THIRTY = (FIRST, *(f'v{n} = {n}\nprint("cell {n}", v{n})' for n in range(29)))

PROPOSED = 20
"""Proposals of each run of `PROPOSING`: as many as one run may make."""

PROPOSING = f"""
from runbook_library import kit
for number in range({PROPOSED}):
    kit.propose("note-number", number=number, reason="it is there")
print("all of them are proposed")
"""
PROPOSED_CELL = """
number: int  # what to note
kit.gate("note-number", "Note {number}", risk="low", approvers=["database"], expires="2h")
kit.http("prometheus").post("/note", json={"number": number})
"""

NOTEBOOKS = {"trivial": TRIVIAL, "chart": CHART, "thirty": THIRTY}
TITLES = {
    "trivial": "six trivial cells",
    "chart": "six cells with pandas and a chart",
    "thirty": "thirty cells",
}


def notebook(sources: tuple[str, ...], remediation: str = "", **runbook: Any) -> dict[str, Any]:
    """A notebook of these cells, and a remediation below them. Peers pass over what it says of itself as a runbook."""
    tagged = [*((source, "diagnostic") for source in sources), *([(remediation, "remediation")] if remediation else [])]
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "runbook": {
                "id": str(uuid.uuid4()),
                "title": "Bench",
                "owner": "bench@example.com",
                "description": "Measures.",
                "timeouts": {"cell": "60s", "run": "3m"},
                **runbook,
            },
        },
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "metadata": {"tags": [tag]},
                "source": source,
                "outputs": [],
                "execution_count": None,
            }
            for number, (source, tag) in enumerate(tagged)
        ],
    }
