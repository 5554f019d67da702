"""A progress bar for a person, a line now and then for a log file."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """Steps of a run, with loss, tokens/s and the time left."""

    def __init__(self, total: int, first_step: int) -> None:
        self.total = total
        self.is_terminal = sys.stderr.isatty()
        self.bar = tqdm(
            total=total, initial=first_step, unit="step", disable=not self.is_terminal, leave=False
        )
        self.first_step = first_step
        self.started = self.last_line = time.monotonic()

    def show(self, step: int, loss: float, tokens_per_second: float) -> None:
        """`step` steps are done."""
        if self.is_terminal:
            self.bar.set_postfix_str(f"loss {loss:.3f}, {tokens_per_second:,.0f} tokens/s")
            self.bar.update(step - self.bar.n)
        elif time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            print(
                f"  step {step:,} of {self.total:,}: loss {loss:.3f}, {tokens_per_second:,.0f} "
                f"tokens/s, {self._seconds_left(step):,.0f} s left"
            )

    def _seconds_left(self, step: int) -> float:
        done = step - self.first_step
        return (time.monotonic() - self.started) / max(1, done) * (self.total - step)

    def say(self, text: str) -> None:
        """Print above the bar."""
        self.bar.clear()
        print(text)
        self.bar.refresh()

    def close(self) -> None:
        self.bar.close()
