"""The shell's door: `python -m pipeline` and its one-phase commands."""
