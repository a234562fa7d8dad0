"""An engine's record for tests: the steps that are given, and others that must not be called."""

from pipeline.steps import Steps


def never(*_: object) -> None:
    raise AssertionError("a step was called that this test does not expect")


def stand_in_steps(**given: object) -> Steps:
    """A classical record in which only the given steps may be called; no network, nothing that can be found."""
    blank = {
        "name": "classical",
        "finds": frozenset(),
        "look": None,
        "verdict": None,
        "locate": None,
        "matte": None,
        "find": never,
        "mask": never,
        "inpaint": never,
        "depth": None,
        "draw": never,
        "redraw": None,
        "upscale": never,
        "models": {},
    }
    return Steps(**(blank | given))
