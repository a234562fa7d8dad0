"""One denoising step as a CUDA graph: the kernels are launched once and replayed, so that the processor is no longer in their way.

This has not run on a card yet, and is off unless the settings ask for it.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def captured(step: Callable[[Tensor, Tensor], Tensor], latents: Tensor, timestep: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """`step` as a replay. It must have run before, ask nothing of the processor, and read no tensor that moves while the replay is used.

    Its inputs are copied into buffers of their own; its output is overwritten by the next call. A call waits for the one before:
    otherwise all steps would be launched at once, and progress and cancellation speak of what the card has yet to do.
    """
    held_latents, held_timestep = latents.clone(), timestep.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = step(held_latents, held_timestep)
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]

    def replay(latents: Tensor, timestep: Tensor) -> Tensor:
        done.synchronize()
        held_latents.copy_(latents)
        held_timestep.copy_(timestep)
        graph.replay()
        done.record()
        return output

    return replay
