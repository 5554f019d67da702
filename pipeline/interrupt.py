"""Ctrl-C and SIGTERM as a question the training loop asks, not as an exception inside a step."""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType, TracebackType
from typing import Any


class StopSignal:
    """Within `with StopSignal() as stop`, `stop.asked` becomes True at the first signal.

    A second one acts as usual: it ends the program at once.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignal:
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # SIGHUP: the terminal was closed
            number = getattr(signal, name, None)
            # What is ignored stays so: nohup runs a program that outlives its terminal.
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._restore()
        # Not print(): a handler may interrupt one.
        message = b"\nStopping: saving after this step. (Once more stops at once, unsaved.)\n"
        with contextlib.suppress(OSError):
            os.write(2, message)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
