"""A training learns, goes on where it was stopped or killed with the same weights, and goes leaner where memory does not suffice."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from builder.errors import BuilderError
from builder.train import loop
from builder.train.keep import factors_at, path_of, steps_of
from builder.train.loop import train
from tests.support import tiny_training as tiny

pytestmark = pytest.mark.neural


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks as small as these are only slowed down by a second one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def undisturbed(tiny_volume: Path, tmp_path_factory: pytest.TempPathFactory):
    """A whole training: its state, its factors, the folder of its checkpoints."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return *tiny.run(tiny_volume, folder), folder


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def results(state):
    """What does not depend on the clock."""
    return [replace(epoch, seconds=0.0) for epoch in state.epochs]


class Stop(Exception):  # noqa: N818 - says what is the case
    """In place of a user's Ctrl-C."""


def stopping(at: int):
    def hear(event, fields):
        if event == "step" and fields["step"] == at:
            raise Stop

    return hear


def test_it_learns_one_pair_by_heart(tiny_volume: Path, tmp_path: Path, monkeypatch) -> None:
    """Two draws of noise again and again: what the attention of a random net can learn, it learns."""
    monkeypatch.setattr(loop, "drawn", lambda example, step, lesson, real=loop.drawn: real(example, step % 2, lesson))
    work = tiny.training(tiny_volume, tmp_path, 0, replace(tiny.OPTIONS, rank=16, alpha=16.0, rate=5e-2, mirror=False))
    state = train(work)
    losses = [epoch.loss for epoch in state.epochs[1:]]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.95 * losses[0]
    assert same(factors_at(tmp_path, state.epochs[-1].step), tiny.factors(work))


def test_taken_up_it_ends_as_if_never_stopped(tiny_volume: Path, tmp_path: Path, undisturbed) -> None:
    state, factors, _ = undisturbed
    for at in (2, 5, 8):  # within the first epoch, the second, the third
        with pytest.raises(Stop):
            train(tiny.training(tiny_volume, tmp_path, 3, hear=stopping(at)))
    again, other = tiny.run(tiny_volume, tmp_path)
    assert same(other, factors)
    assert results(again) == results(state)


def test_any_checkpoint_can_be_taken_up(tiny_volume: Path, tmp_path: Path, undisturbed) -> None:
    state, factors, folder = undisturbed
    assert len(steps_of(folder)) >= 2
    for step in steps_of(folder):
        (tmp_path / path_of(folder, step).name).write_bytes(path_of(folder, step).read_bytes())
    work = tiny.training(tiny_volume, tmp_path, 3)
    again = train(work, from_step=steps_of(folder)[0])
    assert same(tiny.factors(work), factors)
    assert results(again) == results(state)


def test_a_torn_checkpoint_is_passed_over(tiny_volume: Path, tmp_path: Path, undisturbed) -> None:
    _, factors, folder = undisturbed
    before, last = steps_of(folder)[-2:]
    (tmp_path / path_of(folder, before).name).write_bytes(path_of(folder, before).read_bytes())
    (tmp_path / path_of(folder, last).name).write_bytes(path_of(folder, last).read_bytes()[:-99])
    assert same(tiny.run(tiny_volume, tmp_path)[1], factors)


def test_it_ends_early_when_judging_finds_nothing_better(tiny_volume: Path, tmp_path: Path) -> None:
    work = tiny.training(tiny_volume, tmp_path, 2, replace(tiny.OPTIONS, epochs=30, patience=2, rate=1.0))
    state = train(work)
    assert state.best is not None
    assert state.epochs[-1].number == state.best.number + 2 < 30
    assert state.best.step in steps_of(tmp_path)


def test_memory_that_does_not_suffice_once(tiny_volume: Path, tmp_path: Path, undisturbed, monkeypatch) -> None:
    """The step is made again with the nets in turn, and nothing else changes."""
    heard, calls, real = [], [0], loop.error

    def short(*args):
        calls[0] += 1
        missed = real(*args)
        if calls[0] == 5:  # of the second step that is taken
            raise torch.OutOfMemoryError
        return missed

    monkeypatch.setattr(loop, "error", short)
    work = tiny.training(tiny_volume, tmp_path, 3, hear=lambda event, fields: heard.append((event, fields)))
    state = train(work)
    assert state.lean
    assert work.nets.lean
    assert any(event == "told" and "control nets wait in host memory" in fields["sentence"] for event, fields in heard)
    assert same(tiny.factors(work), undisturbed[1])


def test_memory_that_never_suffices(tiny_volume: Path, tmp_path: Path, monkeypatch) -> None:
    def short(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(loop, "error", short)
    with pytest.raises(BuilderError, match="memory did not suffice, even with one network at a time"):
        train(tiny.training(tiny_volume, tmp_path, 1))


def test_a_loss_that_is_no_number(tiny_volume: Path, tmp_path: Path) -> None:
    work = tiny.training(tiny_volume, tmp_path, 1)
    with torch.no_grad():
        next(iter(work.nets.learning.values())).fill_(float("nan"))
        for name, factor in work.nets.learning.items():
            if "lora_B" in name:
                factor.fill_(1.0)
    with pytest.raises(BuilderError, match="not finite; a lower --rate may help"):
        train(work)


def test_killed_at_random_moments(tiny_volume: Path, tmp_path: Path, undisturbed) -> None:
    """kill -9: every checkpoint that is there is whole, and the weights are those of a training that nobody disturbed."""
    state, factors, _ = undisturbed
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.torchvision_shim", "tests.support.tiny_training"])
    dice, kills, folder = random.Random(20), 0, tmp_path / "killed"
    for _ in range(20 if os.environ.get("SOAK") == "1" else 3):
        steps = context.Semaphore(0)
        process = context.Process(target=tiny.run_in_a_process, args=(str(tiny_volume), str(folder), steps))
        process.start()
        for _ in range(dice.randint(1, 3)):  # an epoch has three; then it judges and saves
            while process.exitcode is None and not steps.acquire(timeout=1):
                pass
        time.sleep(dice.uniform(0.0, state.epochs[-1].seconds))
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.join()
        if process.exitcode == 0:  # it had ended: the next one begins again
            shutil.rmtree(folder)
            continue
        for step in steps_of(folder):
            assert factors_at(folder, step).keys() == factors.keys()
    again, other = tiny.run(tiny_volume, folder)
    assert kills
    assert same(other, factors)
    assert results(again) == results(state)


def test_a_checkpoint_tells_how_far_it_is(undisturbed) -> None:
    from safetensors import safe_open

    state, _, folder = undisturbed
    with safe_open(path_of(folder, state.step), framework="pt") as file:
        kept = json.loads(file.metadata()["state"])
    assert (kept["step"], len(kept["epochs"]), kept["losses"], kept["lean"]) == (9, 4, [], False)
