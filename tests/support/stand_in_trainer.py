"""`python -m server` whose trainings run `tests.support.stand_in_builder`; with `trainer` as its first word, the process of one of them."""

import runpy
import sys

from server import keeper, trainer

HERE = "tests.support.stand_in_trainer"

if sys.argv[1] == "trainer":
    trainer.BUILDER = (sys.executable, "-m", "tests.support.stand_in_builder")
    sys.exit(trainer.main(int(sys.argv[2])))
keeper.TRAINER = (sys.executable, "-m", HERE, "trainer")
runpy.run_module("server", run_name="__main__")
