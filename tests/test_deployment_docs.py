"""The deployment pages say what the code does: alerts name real metrics, jobs are valid, variables, settings and links exist."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from delivery import bucket_from_s3_config
from pipeline import settings
from pipeline.errors import Code
from pipeline.job import read
from server.problems import PodCode
from server.settings import PodEnvironment

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = ("deploy.md", "pod.md", "capacity.md")
#: Variables that other programs read: RunPod's SDK and platform, docker, Debian, the shell of the examples.
FOREIGN = {"RUNPOD_API_KEY", "ENDPOINT_ID", "JOB_ID", "RUNPOD_INIT_TIMEOUT", "REQUIREMENTS", "DEBIAN_FRONTEND", "IMAGE"}

_METRICS = """
import json, os, sys
os.environ["PROMETHEUS_MULTIPROC_DIR"] = sys.argv[1]
from pathlib import Path
from prometheus_client.metrics import MetricWrapperBase
from server import database, metrics
found = {}
for it in vars(metrics).values():
    if isinstance(it, MetricWrapperBase):
        for family in it.describe():
            ends = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(family.type, [""])
            found |= {family.name + end: [*it._labelnames, *(["le"] if end == "_bucket" else [])] for end in ends}
opened = database.connect(Path(sys.argv[1]) / "jobs.sqlite")
for family in metrics._Stored(opened).collect():
    found[family.name] = list(family._labelnames)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Every series that the server can expose, with its labels; asked in a process of its own, where the counters' folder is set."""
    folder = tmp_path_factory.mktemp("metrics")
    done = subprocess.run([sys.executable, "-c", _METRICS, str(folder)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name: set(labels) for name, labels in json.loads(done.stdout).items()}


@pytest.fixture(scope="module")
def rules() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load((DOCS / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


#: Of PromQL: a text, a range, or a word with what follows it (a parenthesis makes it a function; braces hold its matchers).
_TOKEN = re.compile(r'"[^"]*"|\[[^\]]*\]|\b([a-z_]\w*)(\s*\()?(\{(?:[^}"]|"[^"]*")*\})?')
_WORDS = {"and", "or", "unless", "offset"}


def series(expression: str) -> list[tuple[str, set[str]]]:
    """Name and matched labels of every series in a PromQL expression."""
    plain = re.sub(r"\b(?:by|without)\s*\([^)]*\)", " ", expression)
    found = [token.groups() for token in _TOKEN.finditer(plain)]
    return [
        (name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', "", matchers or ""))))
        for name, function, matchers in found
        if name and not function and name not in _WORDS
    ]


def test_series_are_found_in_promql() -> None:
    expression = (
        'histogram_quantile(0.9, sum by (le) (rate(a_bucket{x="1{y}", le=~"=2"}[5m]))) > 18e9 or c_d unless c_d offset 15m and up == 0'
    )
    assert series(expression) == [("a_bucket", {"x", "le"}), ("c_d", set()), ("c_d", set()), ("up", set())]


def test_every_alert_is_about_metrics_that_the_server_has(rules: dict[str, dict[str, Any]], metrics: dict[str, set[str]]) -> None:
    assert len(rules) > 10
    known = {**metrics, "up": {"job"}}
    for name, rule in rules.items():
        asked = series(rule["expr"])
        assert asked, name
        for metric, labels in asked:
            assert metric in known, f"{name}: the server has no {metric}"
            assert labels <= known[metric], f"{name}: {metric} has no label {labels - known[metric]}"


def test_every_code_in_the_alerts_exists(rules: dict[str, dict[str, Any]]) -> None:
    codes = {code for rule in rules.values() for found in re.findall(r'code=~?"([A-Z_|]+)"', rule["expr"]) for code in found.split("|")}
    assert codes
    assert codes <= {*map(str, Code), *map(str, PodCode)}


def test_the_page_tells_what_each_alert_means(rules: dict[str, dict[str, Any]]) -> None:
    text = (DOCS / "pod.md").read_text()
    table = text[text.index("| alert | means | do |") :].split("\n\n")[0]
    told = {name for row in table.splitlines()[2:] for name in row.split("|")[1].strip().split(", ")}
    assert told == set(rules)
    assert all(rule["labels"]["severity"] in ("page", "ticket") and rule["annotations"]["summary"] for rule in rules.values())


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def test_the_requests_on_the_page_are_jobs_that_the_worker_takes() -> None:
    (body,) = (json.loads(block) for block in blocks("deploy.md", "json"))
    assert set(body) == {"input", "webhook", "policy", "s3Config"}
    assert read(body["input"]).output_prefix == "catalogue-7/car-0031"
    assert bucket_from_s3_config(body["s3Config"], check_endpoint=lambda _: None, url_expiry_seconds=60).name == "customer"
    inline = [json.loads(found) for found in re.findall(r"-d '(\{.*?\})'\n", (DOCS / "deploy.md").read_text())]
    assert inline
    for request in inline:
        read(request["input"])


def test_the_python_on_the_page_sends_a_valid_job(monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks("deploy.md", "python")
    sent: list[tuple[str, str, Any]] = []

    def answer(_: object, method: str, url: str, json: Any = None, **__: object) -> Any:
        sent.append((method, url, json))

        class Response:
            status_code = 200

            def raise_for_status(self) -> None: ...

            def json(self) -> dict[str, Any]:
                return {"id": "7", "status": "COMPLETED", "output": {"svg_url": "https://x/y.svg"}}

        return Response()

    monkeypatch.setattr("requests.Session.request", answer)
    monkeypatch.setitem(os.environ, "RUNPOD_API_KEY", "key")
    monkeypatch.setitem(os.environ, "ENDPOINT_ID", "abc")
    exec(compile(code, "deploy.md", "exec"), {})
    method, url, body = sent[0]
    assert (method, url) == ("POST", "https://api.runpod.ai/v2/abc/run")
    read(body["input"])
    assert set(body) == {"input", "policy"}


@pytest.mark.parametrize("page", PAGES)
def test_every_variable_on_a_page_is_one_that_is_read(page: str) -> None:
    known = {name.upper() for name in PodEnvironment.model_fields} | {str(code) for code in (*Code, *PodCode)} | FOREIGN
    text = (DOCS / page).read_text()
    told = set(re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=[^`]*)?`", text)) | set(
        re.findall(r"^([A-Z][A-Z0-9_]+)=", text, re.MULTILINE)
    )
    told |= set(re.findall(r"-e ([A-Z_]+)=", text))
    runpods = {"IN_QUEUE", "IN_PROGRESS", "TIMED_OUT", "QUEUE_FULL"}
    warnings = set(re.findall(r"^\| `([A-Z_]+)`", (DOCS / "errors.md").read_text(), re.MULTILINE))
    assert told <= known | runpods | warnings, told - known - runpods - warnings


def test_every_setting_on_the_pods_page_exists() -> None:
    defaults = yaml.safe_load(settings.DEFAULTS.read_text())
    paths = set(re.findall(r"`(phase\d(?:\.[a-z0-9_]+)+)(?:: [a-z]+)?`", (DOCS / "pod.md").read_text()))
    assert len(paths) > 15
    for path in paths:
        at = defaults
        for part in path.split("."):
            assert part in at, path
            at = at[part]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", (DOCS / page).read_text())
    assert links
    for path, anchor in links:
        target = (DOCS / path).resolve() if path else DOCS / page
        assert target.exists(), path
        if anchor:
            assert anchor in anchors(target), f"{path}#{anchor}"


def test_the_start_command_of_our_image_is_what_the_image_has() -> None:
    dockerfile = (ROOT / ".dockerignore").read_text()
    assert all(f"!{folder}" in dockerfile for folder in ("server", "builder", "pipeline"))
    commands = re.findall(r"python -m ([a-z_.]+)", (DOCS / "pod.md").read_text())
    assert {"server", "builder", "pipeline.shell.compile"} >= {name for name in commands if name != "bench.capacity"}
    for name in set(commands):
        folder = ROOT / name.replace(".", "/")
        assert folder.with_suffix(".py").exists() or (folder / "__main__.py").exists(), name
