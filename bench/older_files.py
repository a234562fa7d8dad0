"""Are files that an older transformers wrote read as they were meant? The hub's files come from 4.x, this project runs 5.x.

`python -m bench.older_files write FOLDER` in an environment with transformers 4.57 (this project's torch, and this folder on the path):
tiny random networks in that version's own files, and what it answers with them. `python -m bench.older_files read FOLDER` in this
project's environment: each is loaded as the worker does, asked the same, and the largest difference is printed; exit 1 above `SAME`.

    python3.11 -m venv old && old/bin/pip install --no-deps 'transformers==4.57.6' 'huggingface_hub==0.36.2' 'tokenizers==0.22.2'
    echo "$PWD/.venv/lib/python3.11/site-packages" > old/lib/python3.11/site-packages/shared.pth
    old/bin/python -m bench.older_files write out/older && .venv/bin/python -m bench.older_files read out/older
"""

import argparse
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from model_cache.catalogue import load_catalogue
from model_cache.volume import Volume
from tests.support import tiny_vision
from tests.support import torchvision_shim as _shim  # noqa: F401 - before the processors are imported

#: Largest difference of an answer that is the same, relative to its spread: both compute in float32, in another order.
SAME = 1e-4
WRITERS: Mapping[str, Callable[[Path], None]] = {
    "grounding-dino": tiny_vision.grounding_dino,
    "mm-grounding-dino": tiny_vision.mm_grounding_dino,
    "sam": tiny_vision.sam,
    "sam2": tiny_vision.sam2,
    "depth-anything": tiny_vision.depth_anything,
    "zoedepth": tiny_vision.zoedepth,
}
#: Height and width of the picture that a network is shown.
SIZES = {"sam": (128, 128), "sam2": (128, 128), "depth-anything": (98, 98), "zoedepth": (96, 128)}


@torch.inference_mode()
def answers(name: str, net: Any) -> dict[str, Tensor]:
    """What a network answers to a fixed random picture: its outputs by name."""
    height, width = SIZES.get(name, (200, 256))
    given: dict[str, Any] = {"pixel_values": torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))}
    if name.startswith("sam"):
        given["input_boxes"] = torch.tensor([[[20.0, 30.0, 90.0, 100.0]]])
        wanted = ("pred_masks", "iou_scores")
    elif "dino" in name:
        ids = torch.tensor([[101, 110, 111, 1012, 112, 1012, 102]])  # the special tokens' published numbers, which the network knows
        given |= {"input_ids": ids, "token_type_ids": torch.zeros_like(ids), "attention_mask": torch.ones_like(ids)}
        given["pixel_mask"] = torch.ones(1, height, width, dtype=torch.long)
        wanted = ("logits", "pred_boxes")
    else:
        wanted = ("predicted_depth",)
    output = net(**given)
    return {key: output[key].float().nan_to_num(neginf=0.0).contiguous() for key in wanted}


def write(folder: Path) -> None:
    """The networks' files, each as `folder/models/NAME`, and what they answer as `folder/NAME.safetensors`."""
    if not hasattr(transformers, "Sam2ImageProcessor"):  # its name until 5.0
        older = transformers.Sam2ImageProcessorFast
        setattr(sys.modules["transformers"], "Sam2ImageProcessor", older)  # noqa: B010 - the library has replaced itself by now
    for name, writer in WRITERS.items():
        home = folder / "models" / name
        home.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(zlib.crc32(name.encode()))
        writer(home)
        kind = getattr(transformers, str(load_catalogue()[name].network))
        net = kind.from_pretrained(home, dtype=torch.float32).eval()
        save_file(answers(name, net), folder / f"{name}.safetensors")
        print(f"{name}: written by transformers {transformers.__version__}, {len(load_file(home / 'model.safetensors'))} tensors")


def read(folder: Path) -> bool:
    """Whether each is loaded and answers the same."""
    from model_cache.loaders import load  # noqa: PLC0415 - the older library cannot import all of it

    volume, same = Volume(folder, load_catalogue()), True
    for name in WRITERS:
        meant = load_file(folder / f"{name}.safetensors")
        found = answers(name, load(volume, name, torch.float32).model)
        worst = max(float((found[key] - meant[key]).abs().max()) / max(float(meant[key].std(correction=0)), 1e-9) for key in meant)
        same = same and worst <= SAME
        print(f"{name}: read by transformers {transformers.__version__}, largest difference {worst:.1e} of the answer's spread")
    return same


def main() -> int:
    """Exit status 1 where something is read otherwise."""
    parser = argparse.ArgumentParser(prog="python -m bench.older_files", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("write", "read"))
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    if given.what == "write":
        write(given.folder)
        return 0
    return 0 if read(given.folder) else 1


if __name__ == "__main__":
    sys.exit(main())
