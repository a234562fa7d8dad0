"""Picture files: whether they are whole, which of their pictures is meant, and which colours their numbers stand for."""
