"""Training a style: pairs of photographs and drawings become a LoRA of the volume's drawing network."""
