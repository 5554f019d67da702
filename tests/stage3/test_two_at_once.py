"""A second run in a folder where one is at work, and a run that replaces another."""

from __future__ import annotations

from typing import Any

from pipeline.files import alone_in


def test_a_second_run_in_the_same_folder_is_refused(workspace: Any) -> None:
    with alone_in(workspace.models):
        outcome = workspace.stage3("--preset", "tiny", "--max-iters", "1")
    assert outcome.code == 2
    assert "another run is at work in" in outcome.err
    assert not workspace.models.exists()
    (workspace.root / "link").symlink_to(workspace.models.parent, target_is_directory=True)
    with alone_in(workspace.root / "link" / workspace.models.name):
        assert workspace.stage3("--preset", "tiny", "--max-iters", "1").code == 2
    with alone_in(workspace.tokenizer):
        assert workspace.stage2("--force").code == 2


def test_a_run_that_fails_at_once_leaves_the_one_it_replaced(workspace: Any) -> None:
    assert workspace.train(max_iters=4, eval_interval=2).code == 0
    best = (workspace.models / "best_model.pt").read_bytes()
    workspace.begin(learning_rate=1e30, min_lr=0.0, grad_clip=0.0)
    assert workspace.stage3("--resume").code == 2
    assert not (workspace.models / "best_model.pt").exists()
    assert (workspace.models / "replaced" / "best_model.pt").read_bytes() == best
