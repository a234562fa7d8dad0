"""The networks' weights: the catalogue, the volume, one loader for each kind of file, and what is resident where."""
