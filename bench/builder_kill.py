"""The builder killed (kill -9) at random moments of `fetch` and `convert`: `python -m bench.builder_kill [--kills 50] [--seed 0]`.

Tiny networks in the genuine formats, published on a hub on loopback as their publishers lay them out. A trial starts with an empty volume
(fetch) or with a whole one whose downloads were kept (convert), is killed up to three times, and then left to finish. After each kill:
what `verify` accepts must be, byte by byte, what an undisturbed run makes; what was wholly here must not be sent again. After the last
run: everything must be there, and right. Ends with 1 when anything is not so.
"""

import argparse
import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.pop("HF_HUB_OFFLINE", None)  # the hub is on loopback
os.environ.pop("TRANSFORMERS_OFFLINE", None)
os.environ["OMP_NUM_THREADS"] = "1"

import yaml

from builder import __main__ as builder
from builder.choose import catalogue_of
from builder.sources import paths_of
from builder.verify import verify
from builder.workspace import Workspace
from model_cache.catalogue import Model
from model_cache.manifest import read_lock
from tests.support import tiny_volume
from tests.support.hub_server import Hub, serving
from tests.support.published import CATALOGUE as PUBLISHED
from tests.support.published import published

NAMES = ("birefnet", "depth-anything", "sam2", "sdxl-scheduler", "sdxl-vae", "controlnet-canny", "realesrgan-anime")
#: Bytes a second of each connection, so that a run spends about as long fetching as converting.
RATE = 4e6


def build(arguments: list[str], endpoint: str) -> None:
    """`python -m builder`, in a process that imported everything beforehand, so that the moments of a kill fall into the work."""
    os.environ["HF_ENDPOINT"] = endpoint
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os._exit(builder.main(arguments))


def new_process(arguments: list[str], hub: Hub) -> Any:
    """A builder at work."""
    process = multiprocessing.get_context("forkserver").Process(target=build, args=(arguments, hub.endpoint))
    process.start()
    return process


def run(arguments: list[str], hub: Hub) -> float:
    """Let a builder finish; seconds."""
    started, process = time.perf_counter(), new_process(arguments, hub)
    process.join(120)
    if process.exitcode != 0:
        raise SystemExit(f"builder {' '.join(arguments)} ended with {process.exitcode}")
    return time.perf_counter() - started


def contents(volume: Path, name: str) -> dict[str, str]:
    """File → sha256 of what lies in a model's folder."""
    home = volume / "models" / name
    return {p.relative_to(home).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in home.rglob("*") if p.is_file()}


def at_hub(model: Model, path: str) -> str:
    """What the hub calls a source file."""
    return path if model.source.url else f"{model.source.repository}/{path}"


def whole(volume: Path, models: list[Model]) -> set[str]:
    """The source files that are here as a whole, or in a model that is made of them, and so need not come again."""
    workspace, records, found = Workspace(volume), read_lock(volume), set()
    for model in models:
        made = model.name in records or workspace.staged_record(model.name).exists()
        found |= {at_hub(model, path) for path in paths_of(model) if made or (workspace.downloads(model.name) / path).exists()}
    return found


@dataclass
class Tally:
    """What happened."""

    kills: dict[str, int] = field(default_factory=lambda: {"fetch": 0, "convert": 0})
    trials: int = 0
    accepted: int = 0
    refused: int = 0
    sent: int = 0
    twice: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Bench:
    """The hub, what an undisturbed run makes of it, and a volume with its downloads kept."""

    hub: Hub
    models: list[Model]
    own: str
    reference: dict[str, dict[str, str]]
    filled: Path
    seconds: dict[str, float]

    @property
    def names(self) -> list[str]:
        """Of the networks."""
        return [model.name for model in self.models]


def prepare(folder: Path, hub: Hub, names: list[str]) -> Bench:
    """Publish the tiny networks, and let one run go undisturbed."""
    served = folder / "tiny"
    for name in names:
        tiny_volume.build_model(served, name)
    hub.rate = RATE
    # This hub has commits of its own, not those that the catalogue names.
    loose = {name: {"source": it.source.model_dump(exclude={"revision"})} for name, it in PUBLISHED.items() if it.source.revision}
    own = yaml.safe_dump(loose | {"realesrgan-anime": {"source": {"url": f"{hub.endpoint}/files/RealESRGAN_x4plus_anime_6B.pth"}}})
    filled = folder / "filled"
    filled.mkdir()
    (filled / "catalogue.yaml").write_text(own)
    catalogue = dict(catalogue_of(filled))
    repositories: dict[str, dict[str, bytes]] = {}
    for name in names:
        model, home = catalogue[name], folder / "published" / name
        published(served, PUBLISHED[name], home)
        files = {path: (home / path).read_bytes() for path in paths_of(model)}
        if model.source.url:
            hub.files |= files
        else:
            repositories.setdefault(str(model.source.repository), {}).update(files)
    for repository, files in repositories.items():
        hub.commit(repository, files)
    options = ["--volume", str(filled), "--only", ",".join(names)]
    run(["fetch", *options, "--keep-downloads"], hub)  # the first one imports
    shutil.rmtree(filled / "models")
    shutil.rmtree(filled / ".builder")
    (filled / "models.lock.json").unlink()
    seconds = {"fetch": run(["fetch", *options, "--keep-downloads"], hub), "convert": run(["convert", *options], hub)}
    models = [catalogue[name] for name in names]
    return Bench(hub, models, own, {name: contents(filled, name) for name in names}, filled, seconds)


def check(bench: Bench, volume: Path, tally: Tally) -> None:
    """What `verify` accepts must be what an undisturbed run makes."""
    doubted = {finding.model for finding in verify(volume, bench.names, True, lambda *_: None)}
    for name in bench.names:
        if name in doubted:
            tally.refused += 1
        elif contents(volume, name) == bench.reference[name]:
            tally.accepted += 1
        else:
            tally.faults.append(f"verify accepts a wrong {name}")


def trial(bench: Bench, volume: Path, command: str, kills: int, dice: random.Random, tally: Tally) -> None:
    """One volume, killed so many times, then left to finish."""
    shutil.rmtree(volume, ignore_errors=True)
    if command == "convert":
        shutil.copytree(bench.filled, volume)
    else:
        volume.mkdir()
        (volume / "catalogue.yaml").write_text(bench.own)
    arguments = [command, "--volume", str(volume), "--only", ",".join(bench.names)]
    bench.hub.sent.clear()
    held: dict[str, int] = {}
    for _ in range(kills):
        process = new_process(arguments, bench.hub)
        time.sleep(dice.uniform(0.0, 1.1 * bench.seconds[command]))
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
            tally.kills[command] += 1
        process.join()
        time.sleep(0.1)  # the hub's threads notice
        check(bench, volume, tally)
        if command == "fetch":
            held |= {file: bench.hub.bytes_of(file) for file in whole(volume, bench.models) - held.keys()}
    run(arguments, bench.hub)
    check_end(bench, volume, held, tally)


def check_end(bench: Bench, volume: Path, held: dict[str, int], tally: Tally) -> None:
    """Everything is there and right, and nothing came again that was here."""
    tally.faults += [f"after the last run: {finding}" for finding in verify(volume, bench.names, True, lambda *_: None)]
    tally.faults += [f"{name} differs from an undisturbed run" for name in bench.names if contents(volume, name) != bench.reference[name]]
    for file, count in held.items():
        if bench.hub.bytes_of(file) != count:
            tally.faults.append(f"{file} was here, and {bench.hub.bytes_of(file) - count} bytes of it came again")
    tally.trials += 1
    tally.sent += sum(it.count for it in bench.hub.sent)
    tally.twice += sum(bench.hub.overlap(file) for file in {it.file for it in bench.hub.sent})


def main() -> int:
    """Run the trials and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(NAMES), help="networks, separated by commas; LaMa is large in every test")
    given = parser.parse_args()
    multiprocessing.get_context("forkserver").set_forkserver_preload(
        ["builder.__main__", "builder.convert", "builder.verify", "huggingface_hub.hf_api"]
    )
    dice, tally = random.Random(given.seed), Tally()
    with tempfile.TemporaryDirectory() as folder, serving(Hub()) as hub:
        bench = prepare(Path(folder), hub, given.only.split(","))
        size = sum(len(data) for commits in hub.repositories.values() for files in commits.values() for data in files.values())
        size += sum(len(data) for data in hub.files.values())
        print(
            f"{size / 1e6:.1f} MB of sources; undisturbed: fetch {bench.seconds['fetch']:.2f} s, convert {bench.seconds['convert']:.2f} s"
        )
        while (left := given.kills - sum(tally.kills.values())) > 0 and not tally.faults:
            command = "fetch" if tally.trials % 3 != 2 else "convert"
            trial(bench, Path(folder) / "volume", command, min(left, dice.randint(1, 3)), dice, tally)
            print(f"{sum(tally.kills.values())} kills, {tally.trials} trials", flush=True)
    print(
        f"kills: {tally.kills['fetch']} of fetch, {tally.kills['convert']} of convert, in {tally.trials} trials, each finished by a rerun"
    )
    print(f"models after a kill: {tally.accepted} accepted by verify and right, {tally.refused} refused")
    print(f"sent: {tally.sent / 1e6:.1f} MB, of which {tally.twice / 1e6:.2f} MB twice, all of it of files in flight at a kill")
    for fault in tally.faults:
        print(f"FAULT: {fault}")
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
