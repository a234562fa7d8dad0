"""What stays on the card, what waits in host memory, what is read again: decided once, from sizes and the order of use. No torch.

With room for everything there is nothing to decide. Otherwise some networks stay for good and the others take turns in what room is left:
each is brought for its use and leaves, least recently used first, when another one needs the room. Which ones stay is the choice that
moves the fewest bytes in a job; all choices are tried, since there are a dozen networks at most.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

#: Networks that are on the card together, in one step of a job.
Use = tuple[str, ...]
#: More networks than these take turns, all of them: every choice of a dozen is tried in a fraction of a second, of twenty in minutes.
_MOST_TRIED = 12


#: A card with this many bytes free or more keeps everything: the weights of all steps (about 14 GB) and the largest activations fit.
ALL_RESIDENT_FROM = 30_000_000_000
#: On a smaller card weights and activations together stay below this, so that a 24 GB card serves and has room for its display.
PEAK = 18_000_000_000
#: Of the peak, what is kept for activations: SDXL at 1024² with guidance, and the VAE's decoder, are the largest.
ACTIVATIONS = 5_000_000_000


def weight_budget(free: int) -> int | None:
    """Bytes of weights that may be on a card with `free` bytes of memory; None: all of them."""
    if free >= ALL_RESIDENT_FROM:
        return None
    return max(0, min(free, PEAK) - ACTIVATIONS)


@dataclass(frozen=True, slots=True)
class Plan:
    """`resident` stay on the card; of the others `host` wait in host memory and `read_again` come from the volume at each turn.

    `in_turn`: networks that are used together do not fit together, so that a step must take them one at a time.
    Of every job after the first: `moves` to the card, `bytes_moved` with them, and `loads` from the volume.
    """

    resident: frozenset[str]
    host: frozenset[str]
    read_again: frozenset[str]
    in_turn: bool
    moves: int
    bytes_moved: int
    loads: int


def to_evict(there: Mapping[str, int], wanted: Mapping[str, int], budget: int, resident: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """What leaves the card so that `wanted` can be there together. Sizes in bytes; `there` from the least to the most recently used.

    As few as make room, the least recently used first, `resident` ones only after all others, never a wanted one. Where even `wanted`
    alone is above the budget, all others.
    """
    others = {name: size for name, size in there.items() if name not in wanted}
    excess = sum(wanted.values()) + sum(others.values()) - budget
    leaving = []
    for name in sorted(others, key=lambda name: name in resident):  # stable: within both, the order of use
        if excess <= 0:
            break
        leaving.append(name)
        excess -= others[name]
    return tuple(leaving)


def moves_of(uses: Sequence[Use], sizes: Mapping[str, int], budget: int, resident: frozenset[str]) -> tuple[str, ...]:
    """What is brought to the card in the second of two jobs of these uses."""
    there: dict[str, int] = {name: sizes[name] for name in resident}
    brought: list[str] = []
    for _ in range(2):
        brought = []
        for use in uses:
            wanted = {name: sizes[name] for name in use}
            for name in to_evict(there, wanted, budget, resident):
                del there[name]
            brought += [name for name in use if name not in there]
            there = {name: size for name, size in there.items() if name not in wanted} | wanted
    return tuple(brought)


def plan(sizes: Mapping[str, int], uses: Sequence[Use], budget: int | None, host: int, rounds: int = 1) -> Plan:
    """The plan for jobs of `uses`, in this order.

    `sizes`: bytes on the card of every network in `uses`; `budget`: bytes of weights that may be there, None for all; `host`: bytes of host
    memory in which networks may wait; `rounds`: how often a use that does not fit is run through one by one (the steps of a drawing).
    Weights are never above the budget, except for one network that is larger than it by itself.
    """
    used = tuple(dict.fromkeys(name for use in uses for name in use))
    if budget is None or sum(sizes[name] for name in used) <= budget:
        return Plan(frozenset(used), frozenset(), frozenset(), False, 0, 0, 0)
    in_turn = any(_size(use, sizes) > budget for use in uses)
    if in_turn:
        uses = _one_by_one(uses, sizes, budget, rounds)
    largest = max(sizes[name] for name in used)
    resident = min(
        (choice for choice in _choices(used) if _fits(choice, uses, sizes, max(budget, largest))),
        key=lambda choice: (_size(brought := moves_of(uses, sizes, budget, choice), sizes), len(brought)),
    )
    brought = moves_of(uses, sizes, budget, resident)
    waiting = _waiting([name for name in used if name not in resident], brought, sizes, host)
    again = frozenset(used) - resident - waiting
    loads = sum(name in again for name in brought)
    return Plan(resident, waiting, again, in_turn, len(brought), _size(brought, sizes), loads)


def _size(names: Sequence[str] | frozenset[str], sizes: Mapping[str, int]) -> int:
    return sum(sizes[name] for name in names)


def _one_by_one(uses: Sequence[Use], sizes: Mapping[str, int], budget: int, rounds: int) -> tuple[Use, ...]:
    apart: list[Use] = []
    for use in uses:
        apart += [use] if _size(use, sizes) <= budget else [(name,) for _ in range(rounds) for name in use]
    return tuple(apart)


def _choices(used: Sequence[str]) -> list[frozenset[str]]:
    most = len(used) if len(used) <= _MOST_TRIED else 0
    return [frozenset(chosen) for count in range(most + 1) for chosen in combinations(used, count)]


def _fits(resident: frozenset[str], uses: Sequence[Use], sizes: Mapping[str, int], budget: int) -> bool:
    return all(_size(resident | frozenset(use), sizes) <= budget for use in uses)


def _waiting(names: Sequence[str], brought: Sequence[str], sizes: Mapping[str, int], host: int) -> frozenset[str]:
    """Those whose reading costs most in a job, as many as host memory holds."""
    waiting: set[str] = set()
    for name in sorted(names, key=lambda name: -brought.count(name) * sizes[name]):
        if _size(frozenset(waiting | {name}), sizes) <= host:
            waiting.add(name)
    return frozenset(waiting)
