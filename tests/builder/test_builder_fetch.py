"""Fetching against a hub on loopback: what is brought, held, resumed, refused."""

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder import transfer
from builder.choose import Choice
from builder.errors import BuilderError, VolumeFull
from builder.place import records_of
from builder.plan import make_plan
from builder.shown import plan_as_data
from builder.transfer import Patience
from builder.workspace import only_builder
from model_cache.catalogue import Model
from tests.builder.small import BIG, CATALOGUE, NETS, SMALL, Fetcher, copying, make_hub
from tests.support.hub_server import Fault, Hub, serving


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of the same process may have set the hub's library offline."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(make_hub()) as hub:
        yield hub


@pytest.fixture
def fetcher(tmp_path: Path, hub: Hub) -> Fetcher:
    return Fetcher(tmp_path / "volume", hub)


def test_an_empty_volume_is_filled_and_recorded(fetcher: Fetcher, hub: Hub) -> None:
    fetcher.fetch()
    assert fetcher.file("net", "model.safetensors").read_bytes() == BIG
    assert fetcher.file("other", "a.safetensors").read_bytes() == BIG[::-1]
    record = records_of(fetcher.volume)["net"]
    assert (record.source, record.revision, record.converted) == ("org/net", hub.heads["org/net"], "copied")
    assert record.sources["model.safetensors"].sha256 == hashlib.sha256(BIG).hexdigest()
    assert record.sources["config.json"].sha256 == hashlib.sha256(SMALL).hexdigest()
    assert hub.bytes_of("org/net/README.md") == 0
    left = sorted(p.relative_to(fetcher.volume).as_posix() for p in (fetcher.volume / ".builder").rglob("*") if p.is_file())
    assert left == [".builder/lock", ".builder/pins/net.json", ".builder/pins/other.json"]


def test_a_second_fetch_brings_nothing(fetcher: Fetcher, hub: Hub) -> None:
    fetcher.fetch()
    hub.asked.clear()
    fetcher.fetch()
    assert hub.asked == []
    assert fetcher.said[-2:] == ["net: complete", "other: complete"]


def test_a_lost_model_comes_back_at_its_revision(fetcher: Fetcher, hub: Hub) -> None:
    fetcher.fetch("net")
    first = hub.heads["org/net"]
    hub.commit("org/net", NETS | {"config.json": b"{}"})
    fetcher.file("net", "model.safetensors").unlink()
    fetcher.fetch("net")
    assert records_of(fetcher.volume)["net"].revision == first
    assert fetcher.file("net", "config.json").read_bytes() == SMALL
    # the small file was still there, as published: it did not come twice
    assert hub.bytes_of("org/net/config.json") == len(SMALL)


def test_a_volume_filled_by_hand_is_recorded_without_a_transfer(fetcher: Fetcher, hub: Hub) -> None:
    home = fetcher.file("net", "")
    home.mkdir(parents=True)
    (home / "model.safetensors").write_bytes(BIG)
    (home / "config.json").write_bytes(SMALL[::-1])  # of the right size, and wrong
    fetcher.fetch("net")
    assert fetcher.file("net", "config.json").read_bytes() == SMALL
    assert hub.bytes_of("org/net/model.safetensors") == 0
    assert records_of(fetcher.volume)["net"].revision == hub.heads["org/net"]


def test_update_takes_the_present_revision(fetcher: Fetcher, hub: Hub) -> None:
    fetcher.fetch("net")
    fetcher.fetch("net", update=frozenset({"net"}))
    assert "its newest revision" in fetcher.said[-1]
    second = hub.commit("org/net", NETS | {"config.json": b"{}"})
    fetcher.fetch("net", update=frozenset({"net"}))
    assert records_of(fetcher.volume)["net"].revision == second
    assert fetcher.file("net", "config.json").read_bytes() == b"{}"


def test_content_that_changed_under_a_held_revision_is_refused(fetcher: Fetcher, hub: Hub) -> None:
    fetcher.fetch("net")
    commit = hub.heads["org/net"]
    hub.repositories["org/net"][commit]["config.json"] = b'{"a": 2}'
    fetcher.file("net", "config.json").unlink()
    with pytest.raises(BuilderError, match=r"net: net/config.json is not what it must be: sha256"):
        fetcher.fetch("net")
    assert records_of(fetcher.volume)["net"].sources["config.json"].sha256 == hashlib.sha256(SMALL).hexdigest()


def test_another_time_stamp_is_healed_without_a_fetch(fetcher: Fetcher, hub: Hub) -> None:
    fetcher.fetch("net")
    os.utime(fetcher.file("net", "model.safetensors"), ns=(1, 1))
    hub.asked.clear()
    fetcher.fetch("net")
    assert hub.asked == []
    assert records_of(fetcher.volume)["net"].files["model.safetensors"].mtime_ns == 1


def test_content_that_rotted_is_found_when_it_is_read(fetcher: Fetcher, hub: Hub) -> None:
    fetcher.fetch("net")
    weights = fetcher.file("net", "model.safetensors")
    stamp = weights.stat().st_mtime_ns
    weights.write_bytes(BIG[::-1])
    os.utime(weights, ns=(stamp, stamp))
    fetcher.fetch("net")
    assert fetcher.said[-1] == "net: complete"
    fetcher.fetch("net", check=True)
    assert weights.read_bytes() == BIG
    assert hub.bytes_of("org/net/config.json") == len(SMALL)
    fetcher.fetch("net", check=True)
    assert fetcher.said[-1] == "net: complete, its content is as recorded"


def test_a_cut_connection_is_resumed_where_it_ended(fetcher: Fetcher, hub: Hub) -> None:
    hub.faults["org/net/model.safetensors"] = [Fault(cut=1_000_000), Fault(cut=500_000)]
    fetcher.fetch("net")
    assert fetcher.file("net", "model.safetensors").read_bytes() == BIG
    assert hub.overlap("org/net/model.safetensors") == 0


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(status=500), Fault(status=503)],
        [Fault(status=429, retry_after="0.01"), Fault(status=408)],
        [Fault(pause=1.0)],
        [Fault(cut=0)],
        [Fault(cut=1000), Fault(ignore_range=True)],
        [Fault(wrong=True)],
        [Fault(cut=1000, wrong=True)],
    ],
    ids=["server errors", "too many requests", "slow answer", "no answer", "no ranges", "wrong content", "wrong beginning"],
)
def test_what_passes_is_survived(fetcher: Fetcher, hub: Hub, faults: list[Fault]) -> None:
    hub.faults["org/net/model.safetensors"] = list(faults)
    fetcher.fetch("net")
    assert fetcher.file("net", "model.safetensors").read_bytes() == BIG


def test_a_trickle_is_given_up(fetcher: Fetcher, hub: Hub) -> None:
    hub.rate = 50_000
    impatient = Patience(attempts=2, pause=0.01, window=0.1, slowest=1e6)
    with pytest.raises(BuilderError, match=r"Given up after 2 attempts: net/model\.safetensors came at \d+ bytes a second"):
        fetcher.fetch("net", patience=impatient)
    hub.rate = 0
    fetcher.fetch("net")
    assert fetcher.file("net", "model.safetensors").read_bytes() == BIG


@pytest.mark.parametrize("status", [429, 500])
def test_the_hubs_questions_are_repeated_too(fetcher: Fetcher, hub: Hub, status: int) -> None:
    hub.faults["api/org/net"] = [Fault(status=status), Fault(status=status)]
    fetcher.fetch("net")
    assert fetcher.file("net", "config.json").is_file()


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (Fault(wrong=True), "is not what it must be: sha256"),
        (Fault(status=500), "Given up after 4 attempts: net/model.safetensors answered 500"),
        (Fault(status=404), r"is not there \(404\)"),
        (Fault(cut=10), "Given up after 4 attempts: net/model.safetensors was cut off"),
    ],
    ids=["wrong", "server error", "not there", "cut"],
)
def test_what_stays_is_told_and_the_rest_is_done(fetcher: Fetcher, hub: Hub, fault: Fault, sentence: str) -> None:
    hub.faults["org/net/model.safetensors"] = [fault] * 50
    with pytest.raises(BuilderError, match=sentence):
        fetcher.fetch()
    assert set(records_of(fetcher.volume)) == {"other"}
    assert not fetcher.file("net", "").exists()
    hub.faults.clear()
    fetcher.fetch()
    assert set(records_of(fetcher.volume)) == {"net", "other"}
    assert hub.bytes_of("org/other/deep/b.safetensors") == len(BIG)


def test_a_small_files_content_is_checked_by_its_git_name(fetcher: Fetcher, hub: Hub) -> None:
    hub.faults["org/net/config.json"] = [Fault(wrong=True)] * 2
    with pytest.raises(BuilderError, match="git blob"):
        fetcher.fetch("net")


def test_a_missing_file_is_named_before_anything_is_fetched(fetcher: Fetcher, hub: Hub) -> None:
    hub.commit("org/net", {"config.json": SMALL})
    with pytest.raises(BuilderError, match=r"org/net has no model\.safetensors at revision"):
        fetcher.fetch("net")
    assert hub.sent == []


def test_the_token_goes_to_the_hub_alone_and_is_never_told(fetcher: Fetcher, hub: Hub) -> None:
    hub.token = "hf_secret"
    with pytest.raises(BuilderError, match="accept them on its page") as refusal:
        fetcher.fetch("net", token="hf_wrong")
    assert "hf_" not in str(refusal.value)
    fetcher.fetch("net", token="hf_secret")
    assert hub.leaked == []
    assert not any("hf_" in line for line in fetcher.said)
    assert not any(b"hf_secret" in p.read_bytes() for p in fetcher.volume.rglob("*") if p.is_file())


def test_an_unknown_repository_is_told(fetcher: Fetcher, hub: Hub) -> None:
    del hub.repositories["org/net"]
    with pytest.raises(BuilderError, match="The hub has no org/net"):
        fetcher.fetch("net")


def _address_model(hub: Hub, query: str = "") -> dict[str, Model]:
    source = {"url": f"{hub.endpoint}/files/big.pt{query}"}
    return {"lone": CATALOGUE["other"].model_copy(update={"name": "lone", "source": CATALOGUE["other"].source.model_validate(source)})}


def test_a_plain_address_is_held_by_its_content(tmp_path: Path, hub: Hub) -> None:
    hub.files["big.pt"] = BIG
    fetcher = Fetcher(tmp_path / "volume", hub, _address_model(hub))
    hub.faults["big.pt"] = [Fault(), Fault(cut=5000), Fault(status=500)]
    fetcher.fetch()
    record = records_of(fetcher.volume)["lone"]
    assert record.revision == hashlib.sha256(BIG).hexdigest() == record.sources["big.pt"].sha256
    hub.files["big.pt"] = BIG[::-1]
    fetcher.file("lone", "a.safetensors").unlink()
    with pytest.raises(BuilderError, match="sha256"):
        fetcher.fetch()
    fetcher.fetch(update=frozenset({"lone"}))
    assert records_of(fetcher.volume)["lone"].revision == hashlib.sha256(BIG[::-1]).hexdigest()


@pytest.mark.parametrize("etags", [True, False])
def test_halves_of_two_versions_are_never_joined(tmp_path: Path, hub: Hub, etags: bool) -> None:
    hub.files["big.pt"], hub.etags = BIG, etags
    fetcher = Fetcher(tmp_path / "volume", hub, _address_model(hub))
    hub.faults["big.pt"] = [Fault(), Fault(cut=500_000), *[Fault(status=500)] * 9]
    with pytest.raises(BuilderError, match="Given up"):
        fetcher.fetch()
    hub.faults.clear()
    hub.files["big.pt"] = BIG[::-1]
    fetcher.fetch()
    assert fetcher.file("lone", "a.safetensors").read_bytes() == BIG[::-1]


def test_a_signed_address_is_not_told(tmp_path: Path, hub: Hub) -> None:
    fetcher = Fetcher(tmp_path / "volume", hub, _address_model(hub, "?signature=abc"))
    with pytest.raises(BuilderError, match=r"lone at 127.0.0.1 is not there \(404\)") as refusal:
        fetcher.fetch()
    assert "abc" not in str(refusal.value)


def test_a_full_disk_leaves_the_old_state(fetcher: Fetcher, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    fetcher.fetch("other")
    before = (fetcher.volume / "models.lock.json").read_bytes()

    def full(file: Any, data: bytes) -> None:
        if file.tell() + len(data) > 1_000_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        file.write(data)

    with monkeypatch.context() as patch:
        patch.setattr(transfer, "write_all", full)
        with pytest.raises(VolumeFull, match=r"The volume is full: net/model\.safetensors could not be written"):
            fetcher.fetch()
    assert (fetcher.volume / "models.lock.json").read_bytes() == before
    fetcher.fetch()
    assert fetcher.file("net", "model.safetensors").read_bytes() == BIG


def test_space_is_checked_before_the_first_byte(fetcher: Fetcher, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.fetch.shutil.disk_usage", lambda _: type("Usage", (), {"free": 70_000_000})())
    with pytest.raises(VolumeFull, match=r"has 70.0 MB free, and the models need 73\.\d MB"):
        fetcher.fetch()
    assert hub.sent == []


def test_a_conversion_that_fails_leaves_the_model_that_was_there(fetcher: Fetcher, hub: Hub) -> None:
    fetcher.fetch("net")
    hub.commit("org/net", NETS | {"config.json": b"{}"})

    def failing(model: Model, sources: Path, out: Path) -> str:
        (out / "config.json").write_bytes(b"half")
        raise BuilderError("It has no tensors.")

    with pytest.raises(BuilderError, match="net: It has no tensors"):
        fetcher.fetch("net", update=frozenset({"net"}), convert=failing)
    assert fetcher.file("net", "config.json").read_bytes() == SMALL

    def forgetful(model: Model, sources: Path, out: Path) -> str:
        (out / "more.txt").write_bytes(b"")
        return "badly"

    with pytest.raises(BuilderError, match=r"did not make exactly its files: config.json, model.safetensors, more.txt"):
        fetcher.fetch("net", update=frozenset({"net"}), convert=forgetful)


def test_a_second_builder_is_told_who_works(fetcher: Fetcher) -> None:
    with (
        only_builder(fetcher.volume),
        pytest.raises(BuilderError, match=f"Another builder is at work on this volume: process {os.getpid()} on"),
    ):
        fetcher.fetch()


def test_kept_downloads_are_converted_again(fetcher: Fetcher, hub: Hub) -> None:
    from builder.fetch import Task, make_again
    from builder.sources import Hub as Endpoint

    fetcher.fetch("net", keep_downloads=True)
    hub.asked.clear()

    def other(model: Model, sources: Path, out: Path) -> str:
        copying(model, sources, out)
        return "again"

    with only_builder(fetcher.volume) as workspace:
        task = Task(workspace, CATALOGUE, other, Endpoint(hub.endpoint), fetcher.said.append, lambda *_: None, keep_downloads=True)
        make_again(task, ["net"])
        with pytest.raises(BuilderError, match="other: its downloads are not here"):
            make_again(task, ["other"])
    assert records_of(fetcher.volume)["net"].converted == "again"
    assert hub.asked == []


def test_a_changed_source_in_the_catalogue_is_fetched(fetcher: Fetcher, hub: Hub) -> None:
    fetcher.fetch("net")
    commit = hub.commit("else/net", NETS | {"model.safetensors": BIG[::-1]})
    source = CATALOGUE["net"].source.model_copy(update={"repository": "else/net"})
    fetcher.catalogue = {"net": CATALOGUE["net"].model_copy(update={"source": source})}
    fetcher.fetch("net")
    assert (records_of(fetcher.volume)["net"].source, records_of(fetcher.volume)["net"].revision) == ("else/net", commit)
    assert fetcher.file("net", "model.safetensors").read_bytes() == BIG[::-1]


# --- revisions that the catalogue names ---


def pinned(fetcher: Fetcher, revision: str) -> None:
    source = CATALOGUE["net"].source.model_copy(update={"revision": revision})
    fetcher.catalogue = {**CATALOGUE, "net": CATALOGUE["net"].model_copy(update={"source": source})}


def plan_of(fetcher: Fetcher) -> dict[str, Any]:
    rows = make_plan(Choice(fetcher.volume, fetcher.catalogue, ("net", "other"), False, ("a", "b")))
    return plan_as_data(fetcher.volume, rows, 1000.0)


@pytest.mark.parametrize("digits", [7, 40])
def test_the_first_fetch_takes_the_catalogue_s_revision(fetcher: Fetcher, hub: Hub, digits: int) -> None:
    """Although the repository has gone on since; what no revision is named for is loose until then, and held afterwards."""
    first = hub.heads["org/net"]
    hub.commit("org/net", {**NETS, "config.json": b'{"a": 2}'})
    pinned(fetcher, first[:digits])
    before = plan_of(fetcher)
    assert before["loose"] == ["other"]
    assert [row["revision"] for row in before["models"]] == [first[:digits], None]
    fetcher.fetch()
    assert fetcher.file("net", "config.json").read_bytes() == SMALL
    assert records_of(fetcher.volume)["net"].revision == first
    assert [row["revision"] for row in plan_of(fetcher)["models"]] == [first, hub.heads["org/other"]]
    assert plan_of(fetcher)["loose"] == []
    fetcher.fetch("net", update=frozenset({"net"}))
    assert records_of(fetcher.volume)["net"].revision == first


def test_a_revision_that_the_repository_has_not_is_refused_before_a_byte(fetcher: Fetcher, hub: Hub) -> None:
    pinned(fetcher, "5426e4f")
    with pytest.raises(BuilderError, match="org/net has no commits that begin with 5426e4f"):
        fetcher.fetch("net")
    assert hub.sent == []
    assert not (fetcher.volume / "models" / "net").exists()


def test_a_model_of_another_revision_than_the_catalogue_s_is_fetched_again(fetcher: Fetcher, hub: Hub) -> None:
    old = hub.heads["org/net"]
    fetcher.fetch()
    new = hub.commit("org/net", {**NETS, "config.json": b'{"a": 2}'})
    pinned(fetcher, new[:8])
    (net, _) = plan_of(fetcher)["models"]
    assert (net["state"], net["lacking"]["config.json"]) == ("other source", f"of revision {old[:8]}")
    fetcher.fetch()
    assert (records_of(fetcher.volume)["net"].revision, fetcher.file("net", "config.json").read_bytes()) == (new, b'{"a": 2}')


def test_a_snapshot_of_another_revision_is_not_imported(fetcher: Fetcher, tmp_path: Path, hub: Hub) -> None:
    home = tmp_path / "cache" / "models--org--net" / "snapshots"
    for commit in ("a" * 40, "b" * 40):
        (home / commit).mkdir(parents=True)
        for file, data in NETS.items():
            (home / commit / file).write_bytes(data)
    pinned(fetcher, "c" * 7)
    with pytest.raises(BuilderError, match="no copy of org/net"):
        fetcher.fetch("net", folder=tmp_path / "cache")
    pinned(fetcher, "b" * 7)
    fetcher.fetch("net", folder=tmp_path / "cache")
    assert records_of(fetcher.volume)["net"].revision == "b" * 40
