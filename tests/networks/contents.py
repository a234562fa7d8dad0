"""The tiny networks' contents, apart: the stand-in for the writers is a process that needs nothing else."""

PUBLISHED, SERVED, LARGE = b"eight bits" * 5000, b"float arithmetic" * 3000, b"thirty-two bits" * 9000
TORCH, ONNX = b"a torch file" * 2000, b"batch norms folded" * 1000
