"""Phase 0: where the vehicle is, how sure that is, and the square that is worked in from here on."""
