"""A copy of the project, on a path with a space and Tatar letters, as a user would have it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
GENERATED = {".venv", ".git", "data", "tokenizer", "models"}
SHORT = ("--minutes", "0.5")  # instead of the minutes that a first run takes for training


@dataclass
class Project:
    """The copy and the ways a user starts things in it."""

    path: Path

    def command(self, *arguments: str) -> list[str]:
        return ["bash", str(self.path / "run_pipeline.sh"), *arguments]

    def run(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return self.start(self.command(*arguments), cwd)

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.start([sys.executable, *arguments], self.path)

    def start(self, command: list[str], cwd: Path | None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=cwd or self.path.parent,
            env=user_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )


def user_environment() -> dict[str, str]:
    """This environment in the poorest locale, without what a test run adds."""
    dropped = ("PYTHONUTF8", "PYTHONPATH", "LANG", "LEIPZIG_BASE_URL")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {"LC_ALL": "C"}


def copy_project(folder: Path) -> Project:
    path = folder / "Татар GPT"
    shutil.copytree(
        PROJECT,
        path,
        ignore=lambda where, names: (
            (GENERATED if Path(where) == PROJECT else set()) | {n for n in names if "cache" in n}
        ),
    )
    # The environment that these tests run in, so that nothing is installed.
    (path / ".venv").symlink_to(Path(sys.prefix), target_is_directory=True)
    shutil.copy(PROJECT / "requirements.txt", path / ".venv" / "installed-requirements.txt")
    return Project(path)


def closed_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return copy_project(tmp_path)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A whole run without the Leipzig server, as a first user without internet has it."""
    project = copy_project(tmp_path_factory.mktemp("first run"))
    result = project.run("--base-url", f"http://127.0.0.1:{closed_port()}", *SHORT)
    assert result.returncode == 0, result.stdout + result.stderr
    return project, result.stdout
