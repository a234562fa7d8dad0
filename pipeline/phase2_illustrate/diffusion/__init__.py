"""Drawing anew by a diffusion network, held to the photographed vehicle by control pictures."""
