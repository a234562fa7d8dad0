"""The sample picture: a photograph-like street scene with a car, drawn from a seed, with its ground truth."""

from pipeline.sample.compose import Scene, Text, scene

__all__ = ["Scene", "Text", "scene"]
