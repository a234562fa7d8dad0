"""The plan of what is where: pure, never above the budget, never worse than bringing everything again; and the cache keeps to it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_cache.cache import ModelCache
from model_cache.catalogue import load_catalogue
from model_cache.residency import ACTIVATIONS, PEAK, Plan, Use, moves_of, plan, to_evict, weight_budget
from model_cache.volume import Volume
from pipeline import settings as pipeline_settings
from pipeline.neural import models_of, uses_of

GB = 1_000_000_000
EVERYTHING = frozenset(pipeline_settings.load().steps.model_dump())
JOB = uses_of(EVERYTHING, pipeline_settings.load())

sizes = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 20), max_size=8)


@st.composite
def jobs(draw: st.DrawFn) -> tuple[dict[str, int], list[Use]]:
    """Sizes of up to seven networks, and uses of them, some together."""
    known = draw(st.dictionaries(st.sampled_from("abcdefg"), st.integers(1, 20), min_size=1))
    use = st.lists(st.sampled_from(sorted(known)), min_size=1, max_size=3, unique=True).map(tuple)
    return known, draw(st.lists(use, min_size=1, max_size=9))


# --- making room ---


@given(sizes, sizes.filter(bool), st.integers(0, 60), st.frozensets(st.sampled_from("abcdefgh")))
def test_room_is_made_with_as_few_as_can_be(
    there: Mapping[str, int], wanted: Mapping[str, int], budget: int, resident: frozenset[str]
) -> None:
    leaving = to_evict(there, wanted, budget, resident)
    others = [name for name in there if name not in wanted]
    order = [name for name in others if name not in resident] + [name for name in others if name in resident]
    assert list(leaving) == order[: len(leaving)], "the least recently used leave first, those that should stay last, wanted ones never"

    def total(gone: int) -> int:
        return sum(wanted.values()) + sum(there[name] for name in order[gone:])

    assert total(len(leaving)) <= budget or list(leaving) == order
    assert not leaving or total(len(leaving) - 1) > budget, "one fewer would not have done"


@given(st.integers(0, 200 * GB))
def test_the_budget_leaves_room_for_activations(card: int) -> None:
    budget = weight_budget(card)
    if card >= 30 * GB:
        assert budget is None
    else:
        assert budget is not None
        assert 0 <= budget <= PEAK - ACTIVATIONS
        assert budget == 0 or budget + ACTIVATIONS <= card


# --- the plan ---


def peak_and_moves(made: Plan, known: Mapping[str, int], uses: Sequence[Use], budget: int) -> tuple[int, list[str]]:
    """Three jobs, followed by hand: the most bytes ever on the card, and what the last one brought there."""
    there, most, brought = dict.fromkeys(made.resident, 0), 0, []
    for _ in range(3):
        brought = []
        for use in uses:
            wanted = {name: known[name] for name in use}
            for name in to_evict({name: known[name] for name in there}, wanted, budget, made.resident):
                del there[name]
            brought += [name for name in use if name not in there]
            there = {name: 0 for name in there if name not in use} | dict.fromkeys(use, 0)
            most = max(most, sum(known[name] for name in there))
    return most, brought


@settings(max_examples=300)
@given(jobs(), st.integers(0, 100), st.integers(0, 60), st.integers(1, 3))
def test_never_above_the_budget_and_never_worse_than_everything_again(
    job: tuple[dict[str, int], list[Use]], budget: int, host: int, rounds: int
) -> None:
    known, uses = job
    made = plan(known, uses, budget, host, rounds)
    used = {name for use in uses for name in use}
    parts = [made.resident, made.host, made.read_again]
    assert set().union(*parts) == used
    assert sum(map(len, parts)) == len(used), "everything is in one place"
    assert sum(known[name] for name in made.host) <= host
    if sum(known[name] for name in used) <= budget:
        assert made == Plan(frozenset(used), frozenset(), frozenset(), False, 0, 0, 0)
        return
    apart = []
    for use in uses:
        together = sum(known[name] for name in use) <= budget
        assert together or made.in_turn
        apart += [use] if together else [(name,) for _ in range(rounds) for name in use]
    most, brought = peak_and_moves(made, known, apart, budget)
    assert most <= max(budget, *(known[name] for name in used))
    assert made.bytes_moved <= sum(known[name] for use in apart for name in use)
    assert made.moves <= sum(map(len, apart))
    assert made.loads <= made.moves
    if not made.read_again:
        assert made.loads == 0
    assert len(moves_of(apart, known, budget, made.resident)) == made.moves
    if made.resident:
        assert not set(brought) & made.resident


@given(jobs())
def test_what_fits_stays(job: tuple[dict[str, int], list[Use]]) -> None:
    known, uses = job
    made = plan(known, uses, None, 0)
    assert made.moves == made.loads == 0
    assert made.resident == {name for use in uses for name in use}


def test_a_crowd_takes_turns() -> None:
    known = {f"m{i}": 3 for i in range(20)}
    made = plan(known, [(name,) for name in known], 10, 1000)
    assert made.resident == frozenset()
    assert (made.moves, made.loads) == (20, 0)


# --- the numbers of a standard job ---


@pytest.mark.parametrize(
    ("card", "moves", "bytes_moved", "in_turn"),
    [(32, 0, 0, False), (24, 4, 479_320_000, False), (16, 4, 4_812_640_000, False), (12, 91, 305_450_980_000, True)],
)
def test_what_a_second_job_moves(card: int, moves: int, bytes_moved: int, in_turn: bool) -> None:
    """Nothing is read from the volume again, as long as the host has 13 GB. 12 GB do not hold the drawing's three nets together, and its
    30 steps take each of them in turn."""
    catalogue = load_catalogue()
    known = {name: catalogue[name].bytes() or 0 for use in JOB for name in use}
    made = plan(known, JOB, weight_budget(card * GB), 14 * GB, rounds=30)
    assert (made.moves, made.bytes_moved, made.in_turn, made.loads) == (moves, bytes_moved, in_turn, 0)
    if not in_turn:
        assert "sdxl-unet" in made.resident


def test_a_host_without_memory_reads_again() -> None:
    catalogue = load_catalogue()
    known = {name: catalogue[name].bytes() or 0 for use in JOB for name in use}
    made = plan(known, JOB, weight_budget(16 * GB), 0)
    assert made.loads == made.moves == 4
    some = plan(known, JOB, weight_budget(16 * GB), 3 * GB)
    assert 0 < some.loads < 4


def test_models_are_read_in_the_order_of_use() -> None:
    order = models_of(EVERYTHING, pipeline_settings.load())
    assert [name for name in order if name != "sdxl-scheduler"] == list(dict.fromkeys(name for use in JOB for name in use))
    assert uses_of(frozenset({"matte"}), pipeline_settings.load()) == (("birefnet",), ("birefnet",))
    assert models_of(frozenset({"matte"}), pipeline_settings.load()) == ("birefnet",)


# --- the cache keeps to the plan ---

pytestmark = pytest.mark.neural
#: Tiny networks, as if they were a job, with the drawing's three together.
TINY: tuple[Use, ...] = (
    ("grounding-dino",),
    ("birefnet",),
    ("sdxl-vae",),
    ("sdxl-unet", "controlnet-depth", "controlnet-canny"),
    ("sdxl-vae",),
    ("birefnet",),
)


@pytest.fixture(scope="module")
def known(tiny_volume: Path) -> dict[str, int]:
    cache = ModelCache(Volume(tiny_volume, load_catalogue()), torch.device("cpu"), None)
    names = dict.fromkeys(name for use in TINY for name in use)
    cache.take(*names)
    return {name: cache._kept[name].size for name in names}


@pytest.mark.parametrize("share", [1.0, 0.97, 0.9, 0.5])
@pytest.mark.parametrize("host", [0, 1 << 40])
def test_the_cache_does_what_was_planned(tiny_volume: Path, known: dict[str, int], share: float, host: int) -> None:
    budget = int(share * sum(known.values()))
    made = plan(known, TINY, budget, host)
    cache = ModelCache(Volume(tiny_volume, load_catalogue()), torch.device("cpu"), budget, made)
    assert cache.lean == made.in_turn
    before: tuple[int, int] = (0, 0)
    for _ in range(3):
        before = (sum(cache.moves.values()), sum(cache.loads.values()))
        for use in TINY:
            alone = made.in_turn and sum(known[name] for name in use) > budget
            for names in [(name,) for name in use] if alone else [use]:
                cache.take(*names)
                assert sum(known[name] for name in cache.resident()) <= budget
    assert sum(cache.moves.values()) - before[0] == made.moves
    assert sum(cache.loads.values()) - before[1] == made.loads


def test_a_failed_step_leaves_the_plan_in_force(tiny_volume: Path, known: dict[str, int]) -> None:
    """Everything leaves the card when memory runs out; the job after that finds the same residents again."""
    budget = int(0.9 * sum(known.values()))
    made = plan(known, TINY, budget, 1 << 40)
    cache = ModelCache(Volume(tiny_volume, load_catalogue()), torch.device("cpu"), budget, made)
    for _ in range(2):
        for use in TINY:
            cache.take(*use)
        assert made.resident <= set(cache.resident())
        cache.relieve()
        assert cache.resident() == ()
    assert set(cache.loads.values()) == {1}
