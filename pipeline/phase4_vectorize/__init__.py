"""Phase 4: the label image traced to fills and lines, written as SVG, audited and rendered."""
