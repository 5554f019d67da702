"""run_pipeline.sh as a user starts it: a first run, again, interrupted, on another text."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile
from pathlib import Path

from pytest_httpserver import HTTPServer

from tests.pipeline.conftest import PROJECT, SHORT, Project, closed_port, user_environment

QUICK = ("--preset", "tiny", "--max-iters", "4", "--batch-size", "1")


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_first_run_without_the_server_ends_with_a_model(trained: tuple[Project, str]) -> None:
    project, output = trained
    for name in ("best_model.pt", "last.pt", "metrics.jsonl", "loss_curve.png", "run.json"):
        assert (project.path / "models" / name).is_file()
    manifest = json.loads((project.path / "data/manifest.json").read_text(encoding="utf-8"))
    assert manifest["corpus"] == "built-in sample"
    assert manifest["fallback"]
    run = json.loads((project.path / "models/run.json").read_text(encoding="utf-8"))
    assert run["train"]["preset"] == "tiny"
    assert run["finished"]
    assert run["result"]["val_loss"] < run["result"]["unigram_loss"]
    # The summary says all that the README promises.
    summary = output.split("=== Done")[1]
    for word in ("built-in sample", "training tokens", "tiny", "perplexity", "bits/byte", "loss"):
        assert word in summary
    for file in ("quick_test.py", "demo_inference.ipynb", "app.py"):
        assert file in summary
    assert "preset base" in output  # the command of the full run
    assert "Казан шәһәре" in output  # printed whatever the locale


def test_the_same_command_again_skips_what_is_done(trained: tuple[Project, str]) -> None:
    project, _ = trained
    before = hashes(project.path / "models")
    result = project.run("--base-url", f"http://127.0.0.1:{closed_port()}", *SHORT)
    assert result.returncode == 0, result.stderr
    assert "still cannot be had" in result.stdout  # the server was tried once more
    assert "Stage 2: nothing has changed" in result.stdout
    assert "is finished. Nothing is to do" in result.stdout
    assert hashes(project.path / "models") == before


def test_a_server_that_is_back_replaces_nothing_by_itself(
    trained: tuple[Project, str], httpserver: HTTPServer
) -> None:
    project, _ = trained
    text = "".join(f"{n}\tБу җөмлә яңа корпустан, саны {n}.\n" for n in range(50)).encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        info = tarfile.TarInfo("tat_mixed_2015_1M/tat_mixed_2015_1M-sentences.txt")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
    httpserver.expect_request("/tat_mixed_2015_1M.tar.gz").respond_with_data(archive.getvalue())
    before = hashes(project.path / "data")
    result = project.run("--base-url", httpserver.url_for("").rstrip("/"), *SHORT)
    assert result.returncode == 0, result.stderr
    assert "--force" in result.stdout
    assert "replaces it" in result.stdout
    assert hashes(project.path / "data") == before


def test_wrong_flags_are_told_together_before_anything_runs(project: Project) -> None:
    result = project.run("--preset", "huge", "--batch-size", "0", "--val-fraction", "2", "--foo")
    assert result.returncode == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 4
    for flag in ("--preset huge", "--batch-size 0", "--val-fraction 2", "--foo"):
        assert any(flag in line for line in lines)
    assert not (project.path / "data").exists()


def test_own_text_from_the_folder_where_the_command_is_given(project: Project) -> None:
    """A relative path is meant from there; results lie in the project's folder."""
    elsewhere = project.path.parent / "башка урын"
    elsewhere.mkdir()
    sentences = [
        line
        for file in sorted((PROJECT / "sample_corpus").glob("*.txt"))
        for line in file.read_text(encoding="utf-8").splitlines()
        if line
    ]
    (elsewhere / "минем текст.txt").write_text("\n".join(sentences), encoding="utf-8")
    result = project.run("--input", "минем текст.txt", *QUICK, cwd=elsewhere)
    assert result.returncode == 0, result.stderr
    assert (project.path / "models/best_model.pt").is_file()
    assert list(elsewhere.iterdir()) == [elsewhere / "минем текст.txt"]
    assert "минем текст.txt" in result.stdout.split("=== Done")[1]


def test_after_ctrl_c_the_same_command_goes_on(project: Project) -> None:
    flags = ("--sample", "--preset", "tiny", "--max-iters", "60", "--batch-size", "1")
    output = ""
    with subprocess.Popen(
        project.command(*flags, "--eval-interval", "5"),
        env=user_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            output += line
            if "step 10: validation loss" in line:
                os.killpg(process.pid, signal.SIGINT)  # what a terminal does at Ctrl-C
                break
        output += process.stdout.read()
    assert process.returncode == 130, output
    assert "Go on with: --resume" in output
    assert "The same command goes on" in output
    result = project.run(*flags, "--eval-interval", "5")
    assert result.returncode == 0, result.stderr
    assert "Going on after step" in result.stdout
    rows = (project.path / "models/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["step"] for row in rows] == list(range(1, 61))


def test_a_model_from_elsewhere_is_not_overwritten(project: Project) -> None:
    models = project.path / "models"
    models.mkdir()
    (models / "best_model.pt").write_bytes(b"someone's model")
    result = project.run("--sample", *QUICK)
    assert result.returncode == 2
    assert "best_model.pt" in result.stderr
    assert "--force" in result.stderr
    assert hashes(models) == {"best_model.pt": hashlib.sha256(b"someone's model").hexdigest()}
    assert not (project.path / "data").exists()


def test_without_a_python_one_line_says_what_to_install(project: Project, tmp_path: Path) -> None:
    project.path.joinpath(".venv").unlink()
    tools = tmp_path / "tools only"
    tools.mkdir()
    for name in ("bash", "dirname", "cat", "sed", "uname", "cut", "grep"):
        found = next(p / name for p in map(Path, ("/usr/bin", "/bin")) if (p / name).exists())
        (tools / name).symlink_to(found)
    result = subprocess.run(
        [str(tools / "bash"), str(project.path / "run_pipeline.sh")],
        env={"PATH": str(tools), "LC_ALL": "C"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "sudo apt install python3" in result.stderr


def test_an_environment_that_is_there_is_not_installed_again(project: Project) -> None:
    script = project.path / "tools/make_environment.sh"
    result = project.start(["bash", str(script), "requirements.txt"], None)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_another_corpus_does_not_replace_what_a_model_needs(trained: tuple[Project, str]) -> None:
    project, _ = trained
    before = hashes(project.path / "data") | hashes(project.path / "tokenizer")
    result = project.run("--corpora", "tat_news_2015_1M")
    assert result.returncode == 2
    assert "built-in sample" in result.stderr
    assert "tat_news_2015_1M" in result.stderr
    assert hashes(project.path / "data") | hashes(project.path / "tokenizer") == before
