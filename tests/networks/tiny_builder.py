"""The builder's own door on the tiny networks: `python -m tests.networks.tiny_builder URL COMMAND …`, for tests that kill it."""

import sys

from builder.__main__ import main
from builder.networks import fill
from builder.networks import throwaway as environments
from model_cache import embedded
from tests.networks.known import catalogue

if __name__ == "__main__":
    url, *arguments = sys.argv[1:]
    embedded.networks = lambda: catalogue(url)
    fill.WRITERS = dict.fromkeys(fill.WRITERS, "tests.networks.fake_writer")
    environments.is_here = lambda _: True
    sys.exit(main(arguments))
