"""What every script's `main` does the same: UTF-8 output, errors in one line, exit codes."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

from config import ConfigError
from pipeline.errors import TatarGPTError
from pipeline.files import shown

DONE, MISTAKE, INTERRUPTED = 0, 2, 130


def command(body: Callable[[list[str] | None], int]) -> Callable[..., int]:
    """Turn `body(argv)` into a script's `main(argv=None) -> int`.

    0: done; 2: a mistake that the user can mend, told in a line each on standard error;
    130: interrupted.
    """

    @functools.wraps(body)
    def main(argv: list[str] | None = None) -> int:
        print_utf8()
        try:
            return body(argv)
        except ConfigError as error:
            return _fail(error.problems)
        except TatarGPTError as error:
            return _fail([str(error)])
        except KeyboardInterrupt:
            print("\nInterrupted. Nothing that was finished is lost.", file=sys.stderr)
            return INTERRUPTED
        except BrokenPipeError:
            # Whoever read our output (`| head`) has left; keep Python from complaining at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return INTERRUPTED
        except OSError as error:
            return _fail([_in_words(error)])
        except SystemExit as stop:  # argparse after --help
            return int(stop.code or 0)

    return main


def share_the_cores() -> None:
    """Before torch is imported: threads that wait spin for microseconds, then let others work.

    PyTorch's own way, milliseconds, makes a token beside another busy program take a tenth of a
    second and more; sleeping at once, a quiet machine's token takes twice as long
    (docs/EXPERIMENTS.md).
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def print_utf8() -> None:
    """Let Tatar letters through whatever the locale (LC_ALL=C, cp1251 on Windows)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(ValueError):
                stream.reconfigure(encoding="utf-8", errors="surrogateescape", line_buffering=True)


def _fail(problems: list[str]) -> int:
    if sys.stdout is not None:  # closed by the caller (>&-)
        sys.stdout.flush()
    for problem in problems:
        print("error: " + " ".join(problem.split()), file=sys.stderr)
    return MISTAKE


def _in_words(error: OSError) -> str:
    where = f" {shown(Path(os.fsdecode(error.filename)))}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full, cannot write{where}. Free some space and run it again"
    if isinstance(error, PermissionError):
        return f"no permission for{where}. Change its rights or choose another folder"
    return f"cannot use{where}: {error.strerror or error}"
