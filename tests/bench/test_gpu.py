"""The card's bench as a smoke test: tiny networks on the processor, the same table; and its published sizes without their weights."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.gpu import nets as gpu_nets
from bench.gpu.measure import Figure, counted, relative_error
from bench.gpu.ways import Option
from bench.gpu_pipeline import DOCS, Check, Report, document
from model_cache.catalogue import load_catalogue

pytestmark = pytest.mark.neural
STAGES = (
    "second job, all steps",
    "find the vehicle",
    "find six labels",
    "mask, six boxes",
    "inpaint",
    "matte",
    "depth",
    "edges",
    "matte of the drawing",
    "phase 3",
    "  upscale and palette, whole square",
    "  palette alone, at working size",
    "draw: 4 steps",
    "  before and in the first step",
    "  a step under both nets",
    "  a step, canny released",
    "decode",
)
WAYS = ("plain", "joint projections", "channels last", "both")


def figures(line):
    """What stands in a line behind the 42 columns of its name."""
    return [float(word.rstrip("%")) for word in line[42:].split()]


def test_the_bench_runs_without_a_card_and_prints_the_whole_table(tiny_volume):
    command = [sys.executable, "-m", "bench.gpu_pipeline", "--volume", str(tiny_volume), "--steps", "4"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, cwd=DOCS.parents[2], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = {line[:42].rstrip(): figures(line) for line in done.stdout.splitlines() if re.match(r".{42} *\d+\.\d( |$)", line)}
    assert [name for name in STAGES if name not in lines] == []
    assert [name for name in WAYS if name not in lines] == []
    assert all(0 < milliseconds < 60_000 for milliseconds, *_ in lines.values() if milliseconds != 0.0)
    counted_stages = [name for name in STAGES[1:] if name not in ("edges", "  palette alone, at working size")]
    assert all(len(lines[name]) == 4 for name in counted_stages)  # ms, TFLOP, TFLOP/s, share
    assert all(lines[way][2] < 1 for way in WAYS)  # every way draws the same picture
    assert "models that a second job loads: 0 " in done.stdout
    assert re.search(r"ours \d+ ms, our loop alone \d+ ms, stock diffusers \d+ ms", done.stdout)
    assert float(re.search(r"differ by ([\d.]+) of 255", done.stdout)[1]) < 1  # and stock diffusers draws it, too
    assert float(re.search(r"float16 ([\d.]+)%", done.stdout)[1]) < 1


@pytest.mark.parametrize("name", ["sam", "sam2", "depth-anything", "sdxl-unet", "sdxl-vae", "controlnet-depth", "controlnet-union"])
def test_the_networks_have_their_published_sizes(name):
    made = gpu_nets.make(name, torch.device("meta"), torch.float32)
    assert gpu_nets.parameters(made) / 1e6 == pytest.approx(load_catalogue()[name].million_parameters, abs=0.01)


def test_the_drawings_arithmetic_is_the_counted_one():
    """6.76 TFLOP for the UNet and 3.02 for a ControlNet, for one picture of 1024 × 1024."""
    device = torch.device("meta")
    for name, tflop in (("sdxl-unet", 6.76), ("controlnet-depth", 3.02)):
        net = gpu_nets.make(name, device, torch.float32)
        args, more = gpu_nets.example(name, device, torch.float32)
        with torch.no_grad():
            assert counted(lambda net=net, args=args, more=more: net(*args, **more)) == pytest.approx(tflop, abs=0.01)


def test_attention_counts_on_the_processor_too():
    """torch's own table has no formula for the processor's kernel: 2 · 2 · tokens² · width."""
    q = torch.rand(1, 2, 64, 32)
    with torch.inference_mode():
        assert counted(lambda: torch.nn.functional.scaled_dot_product_attention(q, q, q)) * 1e12 == pytest.approx(2 * 2 * 2 * 64 * 64 * 32)


def test_the_relative_error_is_that_of_the_whole_tensor():
    reference = torch.tensor([3.0, 4.0])
    assert relative_error(reference + torch.tensor([0.0, 0.5]), reference) == pytest.approx(0.1)


def test_the_page_says_that_nothing_was_measured_or_all_that_was():
    assert "Not measured" in document(None)
    checks = [Check("steps", 2.5, 2.0, " s"), Check("faster", 1.9, 1.7, at_least=True)]
    rows = [Figure("find", 0.1, 3.0, 5.0), Figure("edges", 0.01, None, None)]
    ways = [Option("plain", 2.0, 3.0, 0.0), Option("both", failed="ValueError: no")]
    report = Report("a card", {"bfloat16": 100.0, "float16": 90.0}, rows, ways, checks, ["a note"])
    page = document(report)
    assert "Not measured" not in page
    assert re.search(r"find +100\.0 +3\.0 +5\.000 +50 +50%", page)
    assert re.search(r"plain +2000\.0 +3000\.0 +0\.00\nboth +failed: ValueError: no", page)
    assert "steps: 2.5 s (asked at most 2) MISSED" in page
    assert "faster: 1.9 (asked at least 1.7) met" in page


def test_the_page_asks_what_the_loop_alone_gains():
    assert "| stock diffusers' time / our loop's, networks as loaded | at least 1.3 | not measured |" in document(None)


def test_the_committed_page_is_of_this_form():
    page = Path(DOCS).read_text()
    assert page == document(None) or page.startswith(document(None).split("\nNot measured")[0])
