"""Phase 2: the clean plate drawn in few flat areas of palette colours, with its panel lines."""
