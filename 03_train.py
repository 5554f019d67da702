"""Stage 3: train the GPT on data/ with tokenizer/, into models/.

    python 03_train.py [--preset tiny|base|tuned|medium|large|auto] [--minutes N] [--resume] ...

Writes models/best_model.pt, last.pt, metrics.jsonl, loss_curve.png and run.json.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from config import MIN_P, PRESETS, REFERENCE_PROMPTS, ConfigError, ModelConfig, TrainConfig
from model import GPT, IGNORE_INDEX
from pipeline import flags
from pipeline.batches import TrainingRows, check_lengths, evaluation_rows
from pipeline.checkpoint import (
    TrainingState,
    model_content,
    resume_content,
    resume_from,
    save_checkpoint,
)
from pipeline.command import DONE, INTERRUPTED, command
from pipeline.compiled import LossFunction
from pipeline.device import Compute, choose_compute, is_out_of_memory
from pipeline.distributed import World, leave, world_of
from pipeline.errors import TrainingError
from pipeline.evaluate import Score, total_nats, unigram_loss
from pipeline.files import shown, write_json
from pipeline.generate import Sampling
from pipeline.interrupt import StopSignal
from pipeline.metrics import Metrics, draw_loss_curve
from pipeline.optimizer import learning_rate_at, make_optimizer
from pipeline.plan import Plan, Task, duration, make_plan
from pipeline.progress import Progress
from pipeline.run_folder import RunFolder, changes_since, record_of, resumed_plan
from pipeline.streaming import generate
from pipeline.training_text import TrainingText, load_training_text

SECONDS_BETWEEN_SAVES = 300
SAMPLE = Sampling(max_new_tokens=30, temperature=0.8, min_p=MIN_P, seed=0)


@command
def main(argv: list[str] | None = None) -> int:
    given = flags.parse(
        argv, "Stage 3: train the model.", {TrainConfig: None, ModelConfig: ("dropout",)}
    )
    asked = TrainConfig.given({k: v for k, v in given.items() if k != "dropout"})
    with world_of(asked.device) as world, world.writing_in(asked.out_dir):
        return prepare_and_train(asked, given, world)


def prepare_and_train(asked: TrainConfig, given: dict[str, Any], world: World) -> int:
    """Read the text, decide, say what was decided, train."""
    folder = RunFolder(asked.out_dir)
    with world.together():
        if world.is_first and not (asked.resume or asked.force):
            folder.refuse_if_used()
        begun = folder.read() if world.is_first and asked.resume else None
        compute = choose_compute(asked.device, asked.dtype, world.local_rank)
        with world.first_alone():
            text = load_training_text(asked.data_dir, asked.tokenizer_dir)
    try:
        plan: Plan | None = None
        with world.together():
            if world.is_first and begun is None:
                plan = decide(given, text, compute, world)
                begun = record_of(plan, given, text, compute, world.size)
        record = world.from_first(begun)
        with world.together():
            plan = plan or resumed_plan(record, given if asked.resume else {}, text.hashes)
        if record["finished"]:
            print(f"Stage 3: the run in {shown(folder.path)}/ is finished. Nothing is to do.")
            return DONE
        with world.together(), world.first_alone():
            require_even_shares(plan, world)
            compute = choose_compute(plan.train.device, plan.train.dtype, world.local_rank)
            guessing = unigram_loss(text.train, text.val, text.vocab_size)
            announce(plan, text, compute, guessing, world)
            if world.is_first and not asked.resume:
                folder.begin(record)
        if asked.resume and not folder.last.is_file():
            print("  The run was begun, but nothing was saved yet: starting at step 0.")
        for change in changes_since(record, compute, world.size):
            print(f"  Note: {change}.")
        return train(plan, text, compute, folder, record, guessing, world)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            f"the memory of {compute.device} does not hold this run. Try half the --batch-size "
            "with twice the --grad-accum, which is the same recipe, or --grad-checkpoint"
        ) from None


def decide(given: dict[str, Any], text: TrainingText, compute: Compute, world: World) -> Plan:
    """The plan of a run that begins, from the flags and a measured step."""
    preset = PRESETS.get(given.get("preset", "base"), PRESETS["base"])  # auto: of one context
    check_lengths(text.train, text.val, preset.model.block_size)
    print(f"Stage 3: measuring a step on {compute.describe()}")
    is_sample = text.corpus.is_sample
    return make_plan(
        given,
        Task(len(text.train), len(text.val), text.vocab_size, is_sample, world.size),
        compute,
    )


def require_even_shares(plan: Plan, world: World) -> None:
    if plan.rows_per_step % world.size:
        raise ConfigError(
            [
                f"--batch-size {plan.train.batch_size} with --grad-accum {plan.train.grad_accum}: "
                f"{plan.rows_per_step} rows a step cannot be shared evenly by {world.size} "
                "processes"
            ]
        )


def announce(
    plan: Plan, text: TrainingText, compute: Compute, guessing: float, world: World
) -> None:
    """Say what was decided, and why, before the first step."""
    config, train = plan.model, plan.train
    with torch.device("meta"):
        parameters = GPT(config).parameter_count()
    for label, value in {
        "corpus": f"{text.corpus.name} (sha256 {text.corpus.train_sha256[:12]})",
        "tokenizer": f"{text.vocab_size:,} tokens (sha256 {text.tokenizer_sha256[:12]})",
        "text": f"{len(text.train):,} training tokens, {len(text.val):,} for validation",
        "model": f"{train.preset}: {config.n_layer} layers, {config.n_head} heads, "
        f"{config.n_embd} wide, context {config.block_size}; {parameters:,} parameters",
        "device": compute.describe() + (f"; {world.size} processes" if world.size > 1 else ""),
        "step": f"{train.batch_size} rows x {train.grad_accum} x {config.block_size} = "
        f"{plan.tokens_per_step:,} tokens" + ("; compiled" if plan.compiled else ""),
        "length": f"{train.max_iters:,} steps, {plan.epochs(len(text.train)):.1f} epochs, "
        f"evaluated every {train.eval_interval}",
        "time": f"about {duration(plan.seconds)}" if plan.seconds else "as planned at the start",
        "guessing": f"by frequency alone: {guessing:.3f} nats a token (the model must beat this)",
    }.items():
        print(f"  {label:<10}{value}")
    for note in plan.notes:
        print(f"  Note: {note}")


def train(
    plan: Plan,
    text: TrainingText,
    compute: Compute,
    folder: RunFolder,
    record: dict[str, Any],
    guessing: float,
    world: World,
) -> int:
    """The loop: rows, loss, gradient, step; now and then evaluation, metrics, checkpoints."""
    config = plan.train
    assert config.eval_interval is not None

    # ---------------------------------------------------------------- model, optimizer, rows
    torch.manual_seed(config.seed)
    model = GPT(plan.model).to(compute.device)
    model.grad_checkpoint = config.grad_checkpoint
    optimizer = make_optimizer(model, config, compute)
    scaler = compute.scaler()
    block_size = plan.model.block_size
    rows = TrainingRows(text.train, block_size, config.seed)
    val_inputs, val_targets = evaluation_rows(text.val, block_size)
    own_val_rows = val_inputs[world.rank :: world.size], val_targets[world.rank :: world.size]
    own_rows = world.own(plan.rows_per_step)
    log_interval = max(1, min(10, config.max_iters // 200))

    # ---------------------------------------------------------------- where the run stands
    state = TrainingState()
    if folder.last.is_file():
        state = resume_from(folder.last, model, optimizer, scaler, text.tokenizer_sha256)
        print(f"  Going on after step {state.step:,} of {config.max_iters:,}.")
    if world.sum(state.step) != state.step * world.size:
        raise TrainingError(
            f"the processes do not find the same {shown(folder.last)}. Give an --out-dir that all "
            "of them see"
        )
    loss_of = LossFunction(model, plan.compiled, world)
    if world.is_first:
        metrics = Metrics(folder.metrics, state.step)
    seconds_before = state.seconds
    card = {
        "corpus": text.corpus.name,
        **text.corpus.facts,
        "preset": config.preset,
        "recipe": {
            "optimizer": config.optimizer,
            "learning_rate": config.learning_rate,
            "tokens_per_step": plan.tokens_per_step,
            "max_iters": config.max_iters,
        },
        "unigram_loss": guessing,
        "dtype": str(compute.dtype).removeprefix("torch."),
    }

    def save_last() -> None:
        content = model_content(model, text.tokenizer_sha256, state.step, card)
        save_checkpoint(folder.last, content | resume_content(state, optimizer, scaler))

    def save_if_best() -> None:
        if 0 < state.step == state.best_step:
            content = model_content(model, text.tokenizer_sha256, state.step, card)
            save_checkpoint(folder.best, content | {"val_loss": state.best_val_loss})

    if world.is_first:
        save_if_best()  # what a crash right after save_last() left undone
    model.train()
    progress = Progress(config.max_iters, state.step, plan.tokens_per_step, world.is_first)
    started = last_save = time.monotonic()
    with StopSignal() as stop:
        while state.step < config.max_iters and not is_out_of_patience(state, config):
            # -------------------------------------------------------- one optimizer step
            learning_rate = learning_rate_at(state.step, config)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            torch.manual_seed(seed_of_step(config.seed, state.step, world.rank))  # dropout
            inputs, targets = rows.rows(state.step * plan.rows_per_step, plan.rows_per_step)
            n_targets = int((targets != IGNORE_INDEX).sum())
            xs = torch.split(inputs[own_rows], config.batch_size)
            ys = torch.split(targets[own_rows], config.batch_size)
            train_loss = torch.zeros((), device=compute.device)
            for micro_batch, (x, y) in enumerate(zip(xs, ys, strict=True), start=1):
                # Weighted by its targets, so that neither micro-batches nor processes, whose
                # gradients are averaged, change anything.
                weight = int((y != IGNORE_INDEX).sum()) / n_targets * world.size
                is_last = micro_batch == len(xs)
                with compute.autocast():
                    loss = loss_of(compute.copy(x), compute.copy(y), shared=is_last) * weight
                scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
                train_loss += loss.detach() / world.size
            scaler.unscale_(optimizer)
            gradient_norm = torch.nn.utils.clip_grad_norm_(
                model.parameters(), config.grad_clip or math.inf
            )
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
            state.step += 1

            progress.show(state.step, train_loss * world.size)

            # -------------------------------------------------------- is anything due?
            is_last = state.step == config.max_iters
            evaluate = is_last or state.step % config.eval_interval == 0
            log = evaluate or state.step % log_interval == 0
            stopping = world.any(stop.asked)
            is_late = time.monotonic() - last_save > SECONDS_BETWEEN_SAVES
            is_due = evaluate or stopping or (log and is_late)
            if not (log or is_due):
                continue
            whole_loss = world.sum(float(train_loss))
            require_finite(whole_loss, state.step, folder, world)
            if not scaler.is_enabled():  # which itself leaves out a step with infinite gradients
                require_finite(gradient_norm, state.step, folder, world)

            # -------------------------------------------------------- log, evaluate, save
            speed = progress.tokens_per_second()
            score = None
            if evaluate:
                score = text.score(world.sum(total_nats(model, *own_val_rows, compute)))
                require_finite(score.loss, state.step, folder, world)
                state.count_evaluation(score.loss)
            state.seconds = seconds_before + time.monotonic() - started
            if world.is_first and log:
                metrics.add(
                    {
                        "step": state.step,
                        "tokens": state.step * plan.tokens_per_step,
                        "epoch": rows.epochs(state.step * plan.rows_per_step),
                        "train_loss": whole_loss,
                        "val_loss": score and score.loss,
                        "bits_per_byte": score and score.bits_per_byte,
                        "learning_rate": learning_rate,
                        "gradient_norm": finite_or_none(float(gradient_norm)),
                        "tokens_per_second": speed,
                        "seconds": state.seconds,
                    }
                )
            if is_due:
                if world.is_first:
                    save_last()
                    save_if_best()
                last_save = time.monotonic()
            if world.is_first and score:
                try:
                    draw_loss_curve(metrics.rows, folder.curve, guessing)
                except (ImportError, ValueError) as error:  # matplotlib and its environment
                    progress.say(f"  Note: the loss curve could not be drawn ({error})")
                progress.say(in_words(state, score))
                progress.say(f"    {sample(model, text)}")
            if stopping:
                progress.close()
                print(f"Saved after step {state.step:,}. Go on with: --resume")
                return INTERRUPTED
            progress.start_clock(state.step)
    progress.close()
    if world.is_first:
        finish(state, text, folder, record, guessing)
    return DONE


def seed_of_step(seed: int, step: int, rank: int) -> int:
    """What dropout starts from in one step: a run that goes on needs no random state saved."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)


def require_finite(value: Tensor | float, step: int, folder: RunFolder, world: World) -> None:
    """Stop before a model that has come apart is saved over the last good one.

    The value must be the same in all processes.
    """
    if not math.isfinite(value):
        world.leave_unless_first()
        raise TrainingError(
            f"loss or gradient became {float(value)} at step {step}. {folder.saved()} Try a lower "
            "--learning-rate, or --dtype float32, with --force"
        )


def finite_or_none(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


def is_out_of_patience(state: TrainingState, config: TrainConfig) -> bool:
    return config.patience is not None and state.evaluations_since_best >= config.patience


def in_words(state: TrainingState, score: Score) -> str:
    best = "best so far" if state.best_step == state.step else f"best: {state.best_val_loss:.4f}"
    return (
        f"  step {state.step:,}: validation loss {score.loss:.4f} ({best}), perplexity "
        f"{score.perplexity:.1f}, {score.bits_per_character:.3f} bits a character, "
        f"{score.bits_per_byte:.3f} a byte, {state.seconds:,.0f} s"
    )


def sample(model: GPT, text: TrainingText) -> str:
    """A few words, to see with the eye what the loss means."""
    model.eval()
    words = generate(model, text.tokenizer, REFERENCE_PROMPTS[0], SAMPLE)
    model.train()
    return words


def finish(
    state: TrainingState,
    text: TrainingText,
    folder: RunFolder,
    record: dict[str, Any],
    guessing: float,
) -> None:
    """Write the result into run.json, and say loudly if nothing was learnt."""
    best = text.score(state.best_val_loss * text.val_targets)
    result = {
        "steps": state.step,
        "best_step": state.best_step,
        "val_loss": best.loss,
        "perplexity": best.perplexity,
        "bits_per_character": best.bits_per_character,
        "bits_per_byte": best.bits_per_byte,
        "unigram_loss": guessing,
        "seconds": state.seconds,
    }
    write_json(folder.run, record | {"finished": True, "result": result})
    if state.step < record["train"]["max_iters"]:
        print(f"  Stopped early: no better validation loss since step {state.best_step:,}.")
    if best.loss >= guessing:
        print(
            "\n  !!! THE MODEL HAS LEARNT NOTHING USEFUL: "
            f"its validation loss is {best.loss:.3f},\n"
            f"  !!! and guessing by frequency alone gives {guessing:.3f}. "
            "Train longer, or with a higher\n  !!! --learning-rate.\n"
        )
    print(
        f"  Done: {state.step:,} steps in {duration(state.seconds)}; best validation loss "
        f"{best.loss:.4f} at step {state.best_step:,}, in {shown(folder.best)}"
    )


if __name__ == "__main__":
    leave(main())
