"""What the builder's tests share: the tiny volume of the neural tests."""

from tests.neural.conftest import tiny_volume

__all__ = ["tiny_volume"]
