"""One engine for all tests of this room that do not break it."""

from __future__ import annotations

from typing import Any

import pytest
from kernels.segments import Ran, segment

from runbooks_app.kernels.engine import Engine
from runbooks_app.kernels.segment import Segment


@pytest.fixture(scope="session")
def engine():
    engine = Engine.start(grace=3.0)
    yield engine
    engine.close()


@pytest.fixture
def run(engine):
    """Run sources, or a segment, to the end."""

    def run(*sources: Any, **given: Any) -> Ran:
        whole = sources[0] if sources and isinstance(sources[0], Segment) else segment(*sources, **given)
        return Ran(list(engine.run(whole)))

    return run
