"""Stages side by side: the order stays, errors come where they belong, and nothing goes on after the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator

import pytest

from anon.overlap import HELD, Behind, ahead

WAIT = 20  # seconds that a busy machine may take


def test_frames_are_read_before_they_are_asked_for_and_no_more_than_a_few() -> None:
    made, many, where = list[int](), threading.Event(), set[int]()

    def source() -> Generator[int, None, None]:
        for number in range(3 * HELD):
            made.append(number)
            where.add(threading.get_ident())
            if len(made) == HELD:
                many.set()
            yield number

    with ahead(source()) as read:
        assert many.wait(WAIT), "nothing was read before it was asked for"
        assert len(made) == HELD
        assert list(read) == list(range(3 * HELD))
    assert len(where) == 1 and threading.get_ident() not in where


def test_an_error_of_the_source_comes_after_what_was_before_it() -> None:
    def source() -> Generator[int, None, None]:
        yield 1
        yield 2
        raise KeyError("third")

    seen = list[int]()
    with pytest.raises(KeyError, match="third"), ahead(source()) as read:
        seen += [next(read), next(read)]
        next(read)
    assert seen == [1, 2]


def test_a_reader_that_stops_closes_the_source() -> None:
    closed, before = threading.Event(), threading.active_count()

    def source() -> Generator[int, None, None]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    with pytest.raises(ZeroDivisionError), ahead(source()) as read:
        1 // (next(read) - 1)
    assert closed.is_set() and threading.active_count() == before


def test_tasks_are_done_in_order_beside_the_caller() -> None:
    behind, go, done = Behind(), threading.Event(), list[int]()
    behind.do(lambda: None if go.wait(WAIT) else pytest.fail("the caller waited"))
    for number in range(HELD - 1):
        behind.do(done.append, number)
    assert not done  # the first still waits, and the caller does not
    go.set()
    behind.do(done.append, HELD - 1)
    behind.end()
    assert done == list(range(HELD))


def test_an_error_of_a_task_is_raised_by_a_later_call_or_by_the_end() -> None:
    def fails() -> None:
        raise KeyError("encoder")

    behind = Behind()
    behind.do(fails)
    with pytest.raises(KeyError, match="encoder"):
        for _ in range(HELD):
            behind.do(lambda: None)
    behind.leave()
    behind = Behind()
    behind.do(fails)
    with pytest.raises(KeyError, match="encoder"):
        behind.end()
    behind.leave()


def test_what_waits_is_not_done_when_all_is_left() -> None:
    behind, begun, go, done = Behind(), threading.Event(), threading.Event(), list[int]()

    def first() -> None:
        begun.set()
        go.wait(WAIT)

    behind.do(first)
    behind.do(done.append, 1)
    assert begun.wait(WAIT)
    waiting = behind._waiting[-1]
    leaving = threading.Thread(target=behind.leave)
    leaving.start()
    began = time.monotonic()
    while not waiting.cancelled() and time.monotonic() - began < WAIT:
        time.sleep(0.01)
    go.set()
    leaving.join(WAIT)
    assert not leaving.is_alive() and not done
