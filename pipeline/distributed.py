"""One run on several processes: who this one is, and what all of them say together.

Started by `torchrun --nproc_per_node=N 03_train.py ...`, every process computes its share of the
rows of a step, gradients are summed by DistributedDataParallel (NCCL on CUDA, gloo elsewhere), and
the first process alone prints and writes.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist

from config import ConfigError
from pipeline.command import MISTAKE
from pipeline.errors import TrainingError, first_line
from pipeline.files import alone_in, json_bytes

HOURS_OF_WAITING = 12  # for a process that encodes a long text while the others wait


class _LeaveQuietly(SystemExit):
    """Another process has said what is wrong."""


@dataclass(frozen=True)
class World:
    """The processes of a run; a world of one where no launcher started several."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # among the processes of this machine

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @contextlib.contextmanager
    def writing_in(self, folder: Path) -> Iterator[None]:
        """The first process alone holds the folder and prints."""
        with contextlib.ExitStack() as until_then:
            with self.together():
                if self.is_first:
                    until_then.enter_context(alone_in(folder))
            if not self.is_first:
                nowhere = until_then.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
                until_then.enter_context(contextlib.redirect_stdout(nowhere))
            yield

    def own(self, count: int) -> slice:
        """This process's share of so many rows, which its size must divide."""
        assert count % self.size == 0
        share = count // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def sum(self, value: float) -> float:
        """The sum of a number over all processes, in double precision."""
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(total)
        return float(total)

    def any(self, value: bool) -> bool:
        return self.sum(float(value)) > 0

    def from_first(self, value: dict[str, Any] | None) -> dict[str, Any]:
        """What the first process has, as JSON carries it."""
        if self.size == 1:
            assert value is not None
            return value
        data = json_bytes(value) if self.is_first else b""
        length = int(self.sum(float(len(data))))
        tensor = torch.zeros(length, dtype=torch.uint8)
        if self.is_first:
            tensor = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        dist.broadcast(tensor, src=0)
        told: dict[str, Any] = json.loads(bytes(tensor.tolist()))
        return told

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Where one process makes a mistake, it says so, and the others leave without a word."""
        try:
            yield
        except _LeaveQuietly:
            raise
        except BaseException:
            self.sum(1.0)
            raise
        self._meet()

    @contextlib.contextmanager
    def first_alone(self) -> Iterator[None]:
        """Within `together()`: the first process is through before the others begin."""
        if not self.is_first:
            self._meet()
        yield
        if self.is_first:
            self._meet()

    def leave_unless_first(self) -> None:
        """Where all processes see the same mistake, the first one says it."""
        if not self.is_first:
            raise _LeaveQuietly(MISTAKE)

    def _meet(self) -> None:
        if self.sum(0.0):
            raise _LeaveQuietly(MISTAKE)


@contextlib.contextmanager
def world_of(device: str) -> Iterator[World]:
    """The processes that torchrun started, connected; or this one alone.

    `device`: as asked for with --device. Raises ConfigError if the environment contradicts
    itself, TrainingError if the others cannot be reached or are lost on the way.
    """
    rank, size, local_rank = (_number(n) for n in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if size <= 1:
        yield World()
        return
    if not rank < size:
        raise ConfigError([f"RANK={rank}: must be below WORLD_SIZE ({size}); start with torchrun"])
    has_cuda = torch.cuda.is_available()
    if device != "cpu" and not has_cuda and torch.backends.mps.is_available():
        raise ConfigError(["--device cpu is what several processes need here: MPS takes one"])
    if device != "cpu" and has_cuda and local_rank >= torch.cuda.device_count():
        raise ConfigError(
            [
                f"--nproc_per_node: {local_rank + 1} or more processes, and this machine has "
                f"{torch.cuda.device_count()} GPUs. Start one process for each"
            ]
        )
    if has_cuda:
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
    try:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if has_cuda else "gloo",
            timeout=datetime.timedelta(hours=HOURS_OF_WAITING),
        )
    except (ValueError, RuntimeError, OSError) as error:
        raise TrainingError(
            f"the {size} processes cannot be connected ({first_line(error)}). Is the port in use, "
            "or one of them not started? Try torchrun --master_port with another number"
        ) from None
    try:
        world = World(rank, size, local_rank)
        yield world
        world.sum(0.0)  # a process that ends makes torchrun end the others: wait for all
    except RuntimeError as error:
        if not _is_connection_lost(error):
            raise
        raise TrainingError(
            "another process of this run is gone. What was saved is whole: go on with --resume, "
            "with as many processes as you like"
        ) from None


def leave(code: int) -> NoReturn:
    """End the process; as one of several at once, with all that was printed.

    Tearing down what PyTorch 2.13 runs in threads aborts one of four processes now and then
    ("terminate called without an active exception"), and torchrun then calls the run failed.
    """
    if dist.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _number(name: str) -> int:
    """An environment variable of the launcher, 0 where there is none."""
    value = os.environ.get(name, "0")
    if not value.isascii() or not value.isdigit():
        raise ConfigError([f"{name}={value}: must be a number; start with torchrun"])
    return int(value)


def _is_connection_lost(error: RuntimeError) -> bool:
    signs = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL", "gloo")
    return isinstance(error, dist.DistError) or any(sign in str(error) for sign in signs)
