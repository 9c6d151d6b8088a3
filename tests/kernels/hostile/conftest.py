"""One engine for all that is hostile, with everything around it that must come to no harm."""

from __future__ import annotations

import pytest
from kernels.hostile.victims import Victims

from runbooks_app.kernels.engine import Engine


@pytest.fixture(scope="module")
def hostile_engine(tmp_path_factory):
    """As a worker has it: sealed."""
    engine = Engine.start(grace=0.5, folder=tmp_path_factory.mktemp("kernels"))
    assert engine._zygote.sandbox
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def victims(hostile_engine, tmp_path_factory):
    victims = Victims(hostile_engine, tmp_path_factory.mktemp("ours") / "folder")
    yield victims
    victims.close()
