"""A photograph of a vehicle in, a flat vector illustration out: four phases, in the order that `pipeline.run` knows."""

__version__ = "0.1.0"
