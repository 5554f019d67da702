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
    result = project.python("-m", "pytest", "--nbmake", "--overwrite", "demo_inference.ipynb")
    assert result.returncode == 0, result.stdout
    path = project.path / "demo_inference.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = {cell["id"]: cell["outputs"] for cell in cells if cell["cell_type"] == "code"}
    assert all(outputs.values())
    assert "встроенный корпус" in json.dumps(outputs["card"], ensure_ascii=False)
    for chart in ("next", "attention", "rope", "curve"):
        assert any("image/png" in output.get("data", {}) for output in outputs[chart]), chart


def test_the_notebook_says_that_there_is_no_model(project: Project) -> None:
    result = project.python("-m", "pytest", "--nbmake", "demo_inference.ipynb")
    assert result.returncode == 1
    assert "bash run_pipeline.sh" in result.stdout


def test_the_notebook_keeps_what_it_showed(project: Project) -> None:
    """The outputs in it are those of a whole run, in order."""
    path = project.path / "demo_inference.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert all(cell["outputs"] for cell in code)
    assert all(output["output_type"] != "error" for cell in code for output in cell["outputs"])


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
