"""What many look at is read once for all of them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from runbooks_app.core.errors import NotFound, Unavailable
from runbooks_app.web.looks import Looks

pytestmark = pytest.mark.pages


def test_who_asks_while_somebody_reads_shares_the_next_look():
    begun, go_on = threading.Event(), threading.Event()
    looks: list[int] = []

    def read(before: int | None) -> int:
        assert before == (looks[-1] if looks else None)
        looks.append(len(looks))
        begun.set()
        assert go_on.wait(10)
        return looks[-1]

    shared = Looks(read)
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(shared.now)
        assert begun.wait(10)
        others = [pool.submit(shared.now) for _ in range(19)]
        go_on.set()
        assert first.result(10) == 0
        found = {other.result(10) for other in others}
    # Those who asked before the second look began share it; who came later than that has one of their own.
    assert 0 not in found
    assert len(looks) == 1 + len(found)


def test_a_later_question_is_a_look_of_its_own():
    count = iter(range(10))
    shared = Looks(lambda _: next(count))
    assert [shared.now(), shared.now()] == [0, 1]


@pytest.mark.parametrize("error", [Unavailable, NotFound])
def test_what_cannot_be_read_is_told_and_tried_again_when_it_is_asked_for_again(error):
    answers = iter([error, 1])

    def read(_: int | None) -> int:
        answer = next(answers)
        if not isinstance(answer, int):
            raise answer
        return answer

    shared: Looks[int] = Looks(read)
    with pytest.raises(error):
        shared.now()
    assert shared.now() == 1


def test_who_waited_for_a_look_that_failed_does_not_try_in_turn():
    begun, go_on = threading.Event(), threading.Event()
    tried: list[int] = []

    def read(_: int | None) -> int:
        tried.append(1)
        begun.set()
        assert go_on.wait(10)
        raise Unavailable

    shared: Looks[int] = Looks(read)
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(shared.now)]
        assert begun.wait(10)
        waiting += [pool.submit(shared.now) for _ in range(19)]
        until_all_wait(pool)
        go_on.set()
        for one in waiting:
            with pytest.raises(Unavailable):
                one.result(10)
    assert len(tried) <= 3


def until_all_wait(pool: ThreadPoolExecutor) -> None:
    """Every task has been taken by a thread."""
    while pool._work_queue.qsize():
        pass
