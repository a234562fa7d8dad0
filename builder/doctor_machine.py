"""The machine that the doctor runs on: card, driver, versions, and what the volume holds beside its networks."""

import platform
import resource
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version

import torch

from builder.tell import duration
from model_cache.volume import Volume
from pipeline import neural
from pipeline.phase2_illustrate.diffusion.nets import compiled_code

_PACKAGES = ("torch", "diffusers", "transformers", "spandrel", "peft", "safetensors", "numpy")


def card(device: torch.device) -> str:
    """The card's name, or that there is none."""
    if device.type != "cuda":
        return "the processor (no CUDA card)"
    return str(torch.cuda.get_device_name(device))


def facts(volume: Volume, device: torch.device, seconds: float) -> dict[str, str]:
    """What the page tells of the machine, the versions and the volume. `seconds`: how long the examination took."""
    told = {"Examined in": duration(seconds), "Python": platform.python_version()}
    if device.type == "cuda":
        it = torch.cuda.get_device_properties(device)
        told["Card"] = f"{it.name}, {it.total_memory / 1e9:.1f} GB, compute capability {it.major}.{it.minor}"
        told["Driver"], told["CUDA of torch"] = _driver(), str(torch.version.cuda)
    else:
        told["Card"] = "none"
    told["Processor"] = f"{torch.get_num_threads()} threads"
    told["Peak memory of this process"] = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB"
    told |= _installed(volume, device)
    for name in _PACKAGES:
        try:
            told[name] = version(name)
        except PackageNotFoundError:
            continue
    return told


def _installed(volume: Volume, device: torch.device) -> dict[str, str]:
    """What a volume may hold beside its networks."""
    root = volume.path
    styles = [path.stem for path in sorted((root / "styles").glob("[!.]*.safetensors"))]
    code = compiled_code(root / "compiled", device).is_file()
    return {
        "Styles": ", ".join(styles) or "none",
        "Few-step LoRA": "none" if neural.fast_lora(volume) is None else "installed",
        "Embeddings of the prompt": "none: the text encoders serve" if volume.prompts() is None else "stored",
        "Compiled code for this card and torch": "there" if code else "none: the drawing runs as it is",
    }


def _driver() -> str:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "not told (there is no nvidia-smi)"
    asked = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    answer = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False)
    return answer.stdout.strip().splitlines()[0] if answer.stdout.strip() else "not told"
