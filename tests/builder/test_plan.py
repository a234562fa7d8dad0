"""The choice of models, and the plan: offline, from sizes and time stamps."""

import json
import os
from itertools import product
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from builder.choose import Choice, choose, needed, settings_of
from builder.errors import BuilderError, WrongOption
from builder.plan import Row, make_plan, parameters_bytes
from builder.shown import plan_as_data, plan_as_table
from builder.sources import Expected, Pin, write_pin
from builder.workspace import Workspace
from model_cache.manifest import ModelRecord, SourceRecord, record_of, write_lock
from model_cache.needed import FAST_LORA, TEXT
from pipeline import settings
from pipeline.neural import models_of
from tests.builder.small import BIG, CATALOGUE, SMALL

PROMPT = ("a", "b")


def choice(volume: Path, *names: str) -> Choice:
    return Choice(volume, CATALOGUE, names or tuple(CATALOGUE), False, PROMPT)


def install(volume: Path, name: str = "net", source: str = "org/net") -> None:
    """The small model, placed and recorded."""
    home = volume / "models" / name
    home.mkdir(parents=True)
    (home / "config.json").write_bytes(SMALL)
    (home / "model.safetensors").write_bytes(BIG)
    files = {file: record_of(home / file) for file in ("config.json", "model.safetensors")}
    sources = {file: SourceRecord(size=it.size, sha256=it.sha256) for file, it in files.items()}
    write_lock(volume, {name: ModelRecord(source=source, revision="0" * 40, sources=sources, files=files)})


@pytest.mark.parametrize(("nets", "depth", "segmenter"), product(("separate", "union"), ("depth-anything", "zoedepth"), ("sam", "sam2")))
def test_the_choice_is_what_the_engine_needs(tmp_path: Path, nets: str, depth: str, segmenter: str) -> None:
    config = tmp_path / "own.yaml"
    config.write_text(yaml.safe_dump({"phase1": {"segmenter": segmenter}, "phase2": {"depth": depth, "controlnet": {"nets": nets}}}))
    steps = frozenset({"find", "mask", "inpaint", "matte", "draw", "upscale"})
    assert set(needed(settings_of(config))) == {*models_of(steps, settings.load(config)), FAST_LORA, TEXT}


def test_a_classical_step_needs_no_model() -> None:
    own = settings_of(None)
    own["steps"] = dict.fromkeys(own["steps"], "classical") | {"upscale": "neural"}
    assert needed(own) == ("realesrgan-anime",)


def test_only_all_and_text(tmp_path: Path) -> None:
    assert choose(tmp_path, None, "lama,birefnet, lama", False, False).names == ("lama", "birefnet")
    assert choose(tmp_path, None, "lama", False, True).names == ("lama", TEXT)
    assert choose(tmp_path, None, None, True, False).keep_text
    assert not choose(tmp_path, None, None, False, False).keep_text
    assert TEXT in choose(tmp_path, None, None, False, False).to_serve
    with pytest.raises(WrongOption, match="The catalogue has no lamma; it has grounding-dino"):
        choose(tmp_path, None, "lamma", False, False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("phase2: {depht: zoedepth}", "Unknown setting phase2.depht; did you mean phase2.depth?"),
        ("phase1: {side: 1024}\nphase1: {segmenter: sam2}", "phase1 stands there twice"),
        ("phase1: 5", "does not have the form"),
    ],
)
def test_settings_that_the_engine_would_refuse_are_refused_here(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(BuilderError, match=said.replace("?", r"\?")):
        choose(tmp_path, tmp_path / "own.yaml", None, False, False)


def test_an_empty_section_of_settings_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("phase1:\nphase2: {depth: zoedepth}\n")
    assert settings_of(tmp_path / "own.yaml")["phase1"] == settings_of(None)["phase1"]


def test_an_own_catalogue_that_is_wrong_is_told(tmp_path: Path) -> None:
    (tmp_path / "catalogue.yaml").write_text("lama: {licence: 5}")
    with pytest.raises(BuilderError, match=r"catalogue.yaml: lama.licence"):
        choose(tmp_path, None, None, False, False)


def test_an_empty_volume_is_planned_without_being_made(tmp_path: Path) -> None:
    net, other = make_plan(choice(tmp_path / "none"))
    assert (net.state, net.to_fetch, net.estimated) == ("missing", 4_000_000, True)
    assert (other.state, other.to_fetch, other.estimated) == ("missing", None, True)
    assert not (tmp_path / "none").exists()


def test_states(tmp_path: Path) -> None:
    def state() -> tuple[str, int | None, bool]:
        (row,) = make_plan(choice(tmp_path, "net"))
        return row.state, row.to_fetch, row.estimated

    install(tmp_path)
    assert state() == ("complete", 0, False)
    weights = tmp_path / "models" / "net" / "model.safetensors"
    os.utime(weights, ns=(5, 5))
    assert state() == ("changed", len(BIG) + len(SMALL), False)
    weights.unlink()
    assert state() == ("incomplete", len(BIG), False)  # the other file is there, as published
    write_lock(tmp_path, {})
    assert state() == ("incomplete", 4_000_000, True)
    weights.write_bytes(BIG)
    assert state() == ("unrecorded", 4_000_000, True)


def test_another_source_is_seen(tmp_path: Path) -> None:
    install(tmp_path, source="old/net")
    (row,) = make_plan(choice(tmp_path, "net"))
    assert (row.state, row.lacking["config.json"]) == ("other source", "from old/net")


def test_what_is_downloaded_already_is_not_counted(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    files = {"config.json": Expected(size=len(SMALL)), "model.safetensors": Expected(size=len(BIG))}
    write_pin(workspace, "net", Pin(source="org/net", revision="0" * 40, files=files))
    home = workspace.downloads("net")
    home.mkdir(parents=True)
    (home / "config.json").write_bytes(SMALL)
    (home / "model.safetensors.part").write_bytes(BIG[:1_000_000])
    (row,) = make_plan(choice(tmp_path, "net"))
    assert (row.to_fetch, row.estimated) == (len(BIG) - 1_000_000, False)


def test_estimates_know_half_precision_by_the_files_name() -> None:
    from model_cache.catalogue import load_catalogue

    catalogue = load_catalogue()
    assert parameters_bytes(catalogue["sdxl-unet"]) == 2567_460_000 * 2
    assert parameters_bytes(catalogue["sam"]) == 641_090_000 * 4
    assert parameters_bytes(catalogue["lcm-lora"]) is None


def test_the_plan_is_told(tmp_path: Path) -> None:
    rows = [
        Row("a", "complete", {}, 0, False),
        Row("b", "missing", {}, 250_000_000, True),
        Row("c", "changed", {"x": "missing"}, None, True),
    ]
    data = plan_as_data(tmp_path, rows, 1000.0)
    assert (data["bytes_to_fetch"], data["seconds"], data["unknown_sizes"], data["complete"]) == (250_000_000, 2.0, ["c"], False)
    json.dumps(data)
    console = Console(record=True, width=200)
    plan_as_table(console, tmp_path, rows, 1000.0)
    text = console.export_text()
    assert "To fetch: about 250.0 MB and c of unknown size; 2 s at 1000 Mbit/s." in text
    assert "x missing" in text
    assert "Loose: b, c: no revision is held yet; the first fetch takes the present one" in text
