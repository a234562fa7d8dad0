"""The examples of docs/batch.md run as they stand: their command lines are taken out of the page and run, with this machine's paths."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bench.batch import environment
from tests.batch.test_batch_endpoint import photo

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "batch.md").read_text()
NEEDS = {"-o", "--endpoint", "--price", "--budget"}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


def unit(text):
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str
    parser.read_string(text)
    return parser


@pytest.fixture
def here(tmp_path):
    """The page's paths as they are on this machine, with one picture in the catalogue."""
    photo(tmp_path / "catalogue" / "photos" / "a.jpg")
    photo(tmp_path / "photos" / "a.jpg")
    (tmp_path / "env").write_text("RUNPOD_API_KEY=from_the_file\n")

    def placed(text):
        text = re.sub(r"(/srv/vehicle-vector/)?\.venv/bin/python", sys.executable, text)
        return (
            text.replace("/srv/vehicle-vector", str(ROOT)).replace("/srv/catalogue", str(tmp_path / "catalogue"))
            .replace("/etc/vehicle-vector.env", str(tmp_path / "env")).replace("abc123", "e")
        )  # fmt: skip

    return placed


def run(command, plane, **more):
    wanted = environment(plane) | more
    if "RUNPOD_API_KEY" in more and not more["RUNPOD_API_KEY"]:
        del wanted["RUNPOD_API_KEY"]
    return subprocess.run(
        command, shell=isinstance(command, str), env=wanted, cwd=more.get("PWD", "/"), capture_output=True, text=True, check=False
    )


def test_the_crontab_line_runs(plane, here, tmp_path):
    (line,) = blocks("cron")
    *when, command = line.rstrip("\n").split(" ", 5)
    assert when == ["0", "2", "*", "*", "*"] and "%" not in command  # cron ends a command at a %
    done = run(here(command), plane, RUNPOD_API_KEY="")
    assert done.returncode == 0, (tmp_path / "catalogue" / "batch.log").read_text()
    assert "1 completed, 0 failed" in (tmp_path / "catalogue" / "batch.log").read_text() and len(plane.sent) == 1
    assert plane.wrong_keys and (tmp_path / "catalogue" / "drawn" / "gallery.html").exists()  # the key is the file's


def test_the_units_are_whole_and_their_command_runs(plane, here, tmp_path):
    service, timer = (unit(text) for text in blocks("ini"))
    assert timer["Timer"]["OnCalendar"] and timer["Install"]["WantedBy"] == "timers.target"
    command = shlex.split(here(service["Service"]["ExecStart"]))
    assert set(command) >= NEEDS
    assert run(command, plane, PWD=here(service["Service"]["WorkingDirectory"])).returncode == 0 and len(plane.sent) == 1
    if shutil.which("systemd-analyze"):
        for name, text in zip(("batch.service", "batch.timer"), blocks("ini"), strict=True):
            (tmp_path / name).write_text(here(text))
        checked = subprocess.run(["systemd-analyze", "verify", tmp_path / "batch.timer"], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr


def test_the_workflow_is_whole_and_its_command_runs(plane, here, tmp_path):
    workflow = yaml.safe_load(blocks("yaml")[0])
    assert workflow[True]["schedule"] == [{"cron": "0 2 * * *"}] and workflow["concurrency"]  # `on` is true in YAML 1.1
    (job,) = workflow["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert (ROOT / commands[0].rpartition(" ")[2]).exists()
    command = commands[1].replace("python", sys.executable, 1).replace("abc123", "e")
    assert run(command, plane, PWD=str(tmp_path), PYTHONPATH=str(ROOT)).returncode == 0 and len(plane.sent) == 1
    (cache,) = (step["with"]["path"] for step in job["steps"] if "cache" in str(step.get("uses")))
    assert (tmp_path / cache / "ledger.sqlite").exists()


def test_every_option_of_the_page_is_one():
    told = subprocess.run(
        [sys.executable, "-m", "batch", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    for option in set(re.findall(r"--[a-z]+\b", PAGE)) - {"--kill"}:
        assert option in told.stdout or option == "--help", option
