"""Fills and checks a model volume: what is fetched, turned into what is served, placed, recorded. Knows nothing of jobs."""
