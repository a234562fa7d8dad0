"""The other way of reading weights: Run:ai's model streamer, which has many requests of its own under way and needs no page cache.

An option (`pip install runai-model-streamer`), not the default: what it streams is copied out of its buffer, which mapped files are
spared. Whether it is faster than mapped files that were read ahead depends on the volume.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def stream(path: Path, dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Name → tensor of a safetensors file in host memory, floating ones as `dtype` (None: as stored), converted one by one."""
    with import_module("runai_model_streamer").SafetensorsStreamer() as streamer:
        streamer.stream_file(str(path))
        return {
            name: tensor.to(dtype if tensor.is_floating_point() else None, copy=True)  # its buffer is used again
            for name, tensor in streamer.get_tensors()
        }


def stream_diffusers(kind: Any, home: Path, path: Path, dtype: torch.dtype) -> tuple[nn.Module, dict[str, Any]]:
    """A network of diffusers, made on the meta device, with the tensors of `path`; and what was missing or surplus."""
    from accelerate import init_empty_weights  # type: ignore[import-untyped]  # noqa: PLC0415 - seconds

    tensors = stream(path, dtype)
    with init_empty_weights(include_buffers=False):
        net = kind.from_config(kind.load_config(home))
    net._fix_state_dict_keys_on_load(tensors)  # old names of attention, as from_pretrained does
    shapes = {name: tensor.shape for name, tensor in net.state_dict().items()}
    wrong = [(name, tensors[name].shape, shape) for name, shape in shapes.items() if name in tensors and tensors[name].shape != shape]
    for name, *_ in wrong:
        del tensors[name]
    missing, surplus = net.load_state_dict(tensors, strict=False, assign=True)
    gone = {name for name, *_ in wrong}
    return net, {"missing_keys": set(missing) - gone, "unexpected_keys": surplus, "mismatched_keys": wrong}


def stream_transformers(kind: Any, home: Path, path: Path, dtype: torch.dtype) -> tuple[nn.Module, dict[str, Any]]:
    """A network of transformers with the tensors of `path`; and what was missing or surplus."""
    config = kind.config_class.from_pretrained(home, local_files_only=True)
    made: tuple[nn.Module, dict[str, Any]] = kind.from_pretrained(
        None, config=config, state_dict=stream(path, dtype), dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True
    )
    return made
