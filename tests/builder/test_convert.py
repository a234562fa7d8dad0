"""From the layouts in which models are published to what the loaders serve."""

import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from builder import torchscript
from builder.convert import convert
from builder.errors import BuilderError
from builder.tensors import narrowed
from model_cache.headers import read_header
from model_cache.loaders import load
from model_cache.volume import Volume
from tests.support import tiny_volume as volumes
from tests.support.published import CATALOGUE, GAN, LAMA, LORA, published

pytestmark = pytest.mark.neural


@pytest.mark.parametrize("name", CATALOGUE)
def test_what_is_published_is_served_after_it(tiny_volume: Path, tmp_path: Path, name: str) -> None:
    model, home = CATALOGUE[name], volumes.holding(tiny_volume, name, tmp_path / "other")
    sources = published(home, model, tmp_path / "sources")
    out = tmp_path / "volume" / "models" / name
    how = convert(model, sources, out)
    assert {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()} == set(model.files)
    load(Volume(tmp_path / "volume", CATALOGUE), name, torch.float32)
    for file in model.weights:
        before, after = load_file(home / "models" / name / file), load_file(out / file)
        assert before.keys() == after.keys()
        assert all(torch.allclose(before[key].float(), after[key].float(), rtol=2**-8, atol=1e-7) for key in before)
        assert {entry.dtype for entry in read_header(out / file).values()} <= {"F16", "BF16", "I64"}
        with safe_open(out / file, framework="pt") as opened:
            assert opened.metadata() == {"format": "pt"}
    # LaMa's of the tiny volume have been rounded to bfloat16 before: some of them float16 would round again.
    special = {
        "lama": "float16 and bfloat16 from TorchScript",
        "realesrgan-anime": "float16 from a pickle",
        "sdxl-scheduler": "as published",
    }
    assert how == special.get(name, "float16")


def test_what_is_ready_is_linked(tiny_volume: Path, tmp_path: Path) -> None:
    model = CATALOGUE["birefnet"]
    source = tiny_volume / "models" / "birefnet"
    assert convert(model, source, tmp_path / "out") == "as published"
    assert (source / "model.safetensors").samefile(tmp_path / "out" / "model.safetensors")


def test_linked_or_copied_the_bytes_are_the_same(tiny_volume: Path, tmp_path: Path, monkeypatch) -> None:
    def none(*_: object) -> None:
        raise PermissionError(1, "this file system has no links")

    monkeypatch.setattr(os, "link", none)
    source = tiny_volume / "models" / "birefnet"
    convert(CATALOGUE["birefnet"], source, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()


def test_a_second_conversion_gives_the_same_bytes(tmp_path: Path) -> None:
    random = torch.Generator().manual_seed(0)
    save_file({name: torch.randn(7, 3, generator=random) for name in "zyxcba"}, tmp_path / LORA.files[0])
    made = []
    for k in range(2):
        convert(LORA, tmp_path, tmp_path / str(k))
        made.append((tmp_path / str(k) / LORA.files[0]).read_bytes())
    assert made[0] == made[1]


# --- 16 bits ---


def test_a_value_that_the_card_would_not_have_is_refused(tmp_path: Path) -> None:
    save_file({"fine": torch.ones(2), "large": torch.tensor([1.0, 7e4])}, tmp_path / LORA.files[0])
    with pytest.raises(BuilderError, match=r"lcm-lora cannot be converted: large holds values beyond float16's largest.*bfloat16"):
        convert(LORA, tmp_path, tmp_path / "out")
    assert not any((tmp_path / "out").iterdir())
    wide = LORA.model_copy(update={"dtype": "bfloat16"})
    assert convert(wide, tmp_path, tmp_path / "out") == "bfloat16"
    assert float(load_file(tmp_path / "out" / LORA.files[0])["large"][1]) == pytest.approx(7e4, rel=2**-8)


def test_bfloat16_is_checked_before_a_card_reads_it_as_float16(tmp_path: Path) -> None:
    save_file({"large": torch.tensor([1.0, 7e4]).bfloat16()}, tmp_path / LORA.files[0])
    with pytest.raises(BuilderError, match="large"):
        convert(LORA, tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 0.1], torch.float16),
        ([1.0, 7e4], torch.bfloat16),  # float16 overflows
        ([1e-9, 3e-9], torch.bfloat16),  # below float16's range
        ([float("inf"), 0.1], torch.float16),  # is infinite in both
        ([float("inf"), 7e4, 0.1], torch.bfloat16),
        ([0.0], torch.float16),
        ([float("nan"), 1.0], torch.float16),
    ],
)
def test_for_a_network_in_float32_the_nearer_of_both(values: list[float], expected: torch.dtype) -> None:
    assert narrowed(torch.tensor(values), torch.float32).dtype == expected


def test_integers_and_what_is_no_number(tmp_path: Path) -> None:
    assert narrowed(torch.tensor([3], dtype=torch.int32), torch.float16).dtype == torch.int64
    torch.save({"flag": torch.tensor([True])}, tmp_path / "x.pth")
    model = GAN.model_copy(update={"source": GAN.source.model_copy(update={"url": "https://host/x.pth"})})
    with pytest.raises(BuilderError, match="flag is bool"):
        convert(model, tmp_path, tmp_path / "out")


def test_empty_and_scalar_tensors_and_counters(tmp_path: Path) -> None:
    tensors = {"n": torch.tensor(5), "e": torch.zeros(0, 3), "s": torch.tensor(0.5), "t": torch.arange(6.0).reshape(2, 3).t()}
    torch.save({"state_dict": tensors}, tmp_path / "x.ckpt")
    model = GAN.model_copy(update={"source": GAN.source.model_copy(update={"url": "https://host/x.ckpt"})})
    convert(model, tmp_path, tmp_path / "out")
    after = load_file(tmp_path / "out" / GAN.files[0])
    assert all(torch.equal(after[name].float(), tensor.float()) for name, tensor in tensors.items())


# --- files that are not what they should be ---


class Evil:
    def __init__(self, call: str) -> None:
        self.call = call

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, (self.call,))


def test_no_pickle_runs_code(tmp_path: Path) -> None:
    for save in (torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))):
        save({"params_ema": Evil(f"touch {tmp_path / 'ran'}")}, tmp_path / "RealESRGAN_x4plus_anime_6B.pth")
        with pytest.raises(BuilderError, match="holds more than tensors, or is damaged"):
            convert(GAN, tmp_path, tmp_path / "out")
    assert not (tmp_path / "ran").exists()


def test_no_archive_runs_code(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "big-lama.pt", "w") as archive:
        archive.writestr("x/constants.pkl", b"")
        archive.writestr("x/data.pkl", pickle.dumps(Evil(f"touch {tmp_path / 'ran'}")))
    with pytest.raises(BuilderError, match=r"posix\.system"):
        convert(LAMA, tmp_path, tmp_path / "out")
    assert not (tmp_path / "ran").exists()


def test_an_archive_that_swells_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "big-lama.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/constants.pkl", b"")
        archive.writestr("x/data.pkl", b"0" * 100_000)
    with pytest.raises(BuilderError, match="compressed"):
        convert(LAMA, tmp_path, tmp_path / "out")


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.register_buffer("turned", torch.arange(6.0).reshape(2, 3).t())
        self.sizes = [1, 2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + self.turned.sum()


@pytest.mark.parametrize("make", [lambda net: torch.jit.trace(net, torch.rand(1, 3, 8, 8)), torch.jit.script])
def test_an_archive_s_tensors(tmp_path: Path, make) -> None:
    torch.manual_seed(1)
    net = Small().eval()
    make(net).save(tmp_path / "x.pt")
    read = torchscript.read(tmp_path / "x.pt")
    own = net.state_dict()
    assert read.keys() == own.keys()
    assert all(torch.equal(read[name], own[name]) for name in own)


def test_damage_is_told(tmp_path: Path) -> None:
    torch.jit.script(Small().eval()).save(tmp_path / "x.pt")
    whole = (tmp_path / "x.pt").read_bytes()
    start = whole.index(b"data.pkl") + 200
    for broken in (whole[:start] + b"\xff" * 40 + whole[start + 40 :], whole[: len(whole) // 2]):
        (tmp_path / "big-lama.pt").write_bytes(broken)
        with pytest.raises(BuilderError, match=r"lama cannot be converted: big-lama\.pt"):
            convert(LAMA, tmp_path, tmp_path / "out")


def test_missing_and_broken_sources_are_named(tiny_volume: Path, tmp_path: Path) -> None:
    model = CATALOGUE["sdxl-vae"]
    with pytest.raises(BuilderError, match=r"sdxl-vae cannot be converted: config\.json is not there\."):
        convert(model, tmp_path, tmp_path / "out")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(BuilderError, match=r"config\.json is not JSON"):
        convert(model, tmp_path, tmp_path / "out")
    (tmp_path / "config.json").write_text(json.dumps({}))
    weights = (tiny_volume / "models" / "sdxl-vae" / model.weights[0]).read_bytes()
    (tmp_path / model.weights[0]).write_bytes(weights[:-5])
    with pytest.raises(BuilderError, match="is not a whole safetensors file"):
        convert(model, tmp_path, tmp_path / "out")
