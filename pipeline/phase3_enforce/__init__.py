"""Phase 3: the illustration enlarged, every pixel exactly a palette colour, no region too small to draw."""
