"""Drawing with tones, without a network."""
