"""The batch door: `python -m batch SOURCE -o DIR`, many pictures through one engine, each answered once."""
