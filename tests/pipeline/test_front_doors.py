"""The three front doors on the model of a first run."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.pipeline.conftest import Project, closed_port, user_environment


def test_quick_test_tells_what_the_model_is_and_does(trained: tuple[Project, str]) -> None:
    project, _ = trained
    result = project.python("quick_test.py")
    assert result.returncode == 0, result.stderr
    for word in ("built-in sample", "parameters", "step", "validation loss", "mean"):
        assert word in result.stdout
    for text in ("Татарстанның башкаласы", "Мин татарча өйрәнәм.", "0.3", "1.5"):
        assert text in result.stdout


def test_the_notebook_runs_from_top_to_bottom(trained: tuple[Project, str]) -> None:
    project, _ = trained
    notebook = project.path / "demo_inference.ipynb"
    result = project.python(
        *("-m", "jupyter", "nbconvert", "--execute", "--to", "notebook"),
        *("--output", "executed.ipynb", str(notebook)),
    )
    assert result.returncode == 0, result.stderr
    cells = json.loads((project.path / "executed.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]
    assert all(outputs)
    assert "built-in sample" in json.dumps(outputs[0], ensure_ascii=False)


def test_the_app_serves_its_page_to_this_machine(trained: tuple[Project, str]) -> None:
    project, _ = trained
    port = closed_port()
    process = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port)],
        cwd=project.path,
        env=user_environment() | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    try:
        assert process.stdout is not None
        assert any(f"127.0.0.1:{port}" in line for line in process.stdout)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/config") as answer:
            page = json.dumps(json.load(answer), ensure_ascii=False)
        assert "Дәвам итү" in page
    finally:
        process.terminate()
        process.communicate()


def test_without_a_model_the_front_doors_say_how_to_train_one(project: Project) -> None:
    for script in ("quick_test.py", "app.py"):
        result = project.python(script)
        assert result.returncode == 2, script
        assert result.stderr.splitlines()[-1].endswith("bash run_pipeline.sh")
        assert "Traceback" not in result.stderr


def test_the_project_is_left_clean(trained: tuple[Project, str]) -> None:
    """What a run leaves beside its results, git does not see."""
    project, _ = trained
    ignored = set((Path(project.path) / ".gitignore").read_text(encoding="utf-8").split())
    assert {".venv/", "data/", "tokenizer/", "models/"} <= ignored
