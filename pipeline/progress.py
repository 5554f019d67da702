"""A progress bar for a person, a line now and then for a log file."""

from __future__ import annotations

import sys
import time

from torch import Tensor
from tqdm import tqdm

SECONDS_BETWEEN_LINES = 15.0
SECONDS_BETWEEN_UPDATES = 1.0


class Progress:
    """Steps of a run, with loss, tokens/s and the time left.

    The clock counts training alone: it is started anew after an evaluation or a save.
    """

    def __init__(
        self, total: int, first_step: int, tokens_per_step: int, is_shown: bool = True
    ) -> None:
        self.total = total
        self.first_step = first_step
        self.tokens_per_step = tokens_per_step
        self.is_terminal = is_shown and sys.stderr.isatty()
        self.bar = tqdm(
            total=total, initial=first_step, unit="step", disable=not self.is_terminal, leave=False
        )
        self.began = self.last_shown = time.monotonic()
        self.start_clock(first_step)

    def start_clock(self, step: int) -> None:
        self.clock, self.clock_step, self.step = time.monotonic(), step, step

    def tokens_per_second(self) -> float:
        """Since the clock was started."""
        seconds = time.monotonic() - self.clock
        return (self.step - self.clock_step) * self.tokens_per_step / seconds

    def show(self, step: int, loss: Tensor) -> None:
        """`step` steps are done. Reads the loss off the device only when it is shown."""
        self.step = step
        self.bar.update(step - self.bar.n)
        pause = SECONDS_BETWEEN_UPDATES if self.is_terminal else SECONDS_BETWEEN_LINES
        if time.monotonic() - self.last_shown < pause:
            return
        self.last_shown = time.monotonic()
        what = f"loss {float(loss):.3f}, {self.tokens_per_second():,.0f} tokens/s"
        if self.is_terminal:
            self.bar.set_postfix_str(what)
        else:
            a_step = (self.last_shown - self.began) / (step - self.first_step)
            left = a_step * (self.total - step)
            print(f"  step {step:,} of {self.total:,}: {what}, {left:,.0f} s left")

    def say(self, text: str) -> None:
        """Print above the bar."""
        self.bar.clear()
        print(text)
        self.bar.refresh()

    def close(self) -> None:
        self.bar.close()
