"""Whose turn it is."""

from __future__ import annotations

import contextlib
import threading

import pytest

from interface.limits import Busy, Line


def test_the_first_are_served_and_the_others_wait_in_turn() -> None:
    line = Line(at_once=2, waiting=2)
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context(line.place()) for _ in range(4)]
        assert [place.ahead() for place in places] == [0, 0, 1, 2]
        assert [place.wait(0) for place in places] == [True, True, False, False]
        with pytest.raises(Busy), line.place():
            pass
        assert [place.ahead() for place in places] == [0, 0, 1, 2]
    with line.place() as place:  # all have left
        assert place.ahead() == 0


def test_who_waits_is_served_as_soon_as_another_leaves() -> None:
    line = Line(at_once=1, waiting=2)
    first = contextlib.ExitStack()
    first.enter_context(line.place())
    served: list[int] = []
    in_line = [threading.Event(), threading.Event()]

    def visit(number: int) -> None:
        with line.place() as place:
            in_line[number].set()
            assert place.wait(60)
            served.append(number)

    visitors = [threading.Thread(target=visit, args=(number,)) for number in range(2)]
    for number, visitor in enumerate(visitors):
        visitor.start()
        assert in_line[number].wait(60)
    assert served == []
    first.close()
    for visitor in visitors:
        visitor.join(60)
    assert served == [0, 1]


def test_who_gives_up_leaves_the_line() -> None:
    line = Line(at_once=1, waiting=2)
    with line.place(), contextlib.ExitStack() as impatient:
        impatient.enter_context(line.place())
        with line.place() as last:
            assert last.ahead() == 2
            impatient.close()
            assert last.ahead() == 1
    with pytest.raises(ZeroDivisionError), line.place():
        raise ZeroDivisionError
    with line.place() as place:
        assert place.wait(0)
