"""Phase 1: what must not be drawn (plates, lettering, badges, mirrors) is found, masked and painted over."""
