"""The parsers in pure Python, fuzzed by what each input reaches in them (atheris, libFuzzer).

    python -m bench.fuzz_parsers [--seconds 60] [--only NAME]

Each parser has a process of its own for so many seconds, begins with a few sound inputs, and must answer every input with a value or a
`JobError` of one clean sentence, within 5 s and 1.5 GB. The exit status is 1 when one did not; the input is then printed as base64.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import atheris
from rich.console import Console
from rich.table import Table

from bench.fuzz.tally import GROWTH, SLOWEST

#: Parsers by name, with inputs to begin with.
SEEDS: dict[str, list[bytes]] = {
    "job": [
        b'{"image_url": "https://a.test/p.jpg", "palette_hex_list": ["#fff", "000"], "stroke": {"mode": "both", "width": 2}, "size": 4096}',
        b'{"image_base64": "AAAA", "vehicle_box": [0.1, 0.1, 0.9, 0.9], "remove": ["text"], "background": "keep", "schema": 1, "seed": 7}',
        b'{"image_base64": "AAAA", "outputs": ["svg", "pdf"], "output_prefix": "orders/42", "preset": "best", "detail": 1e-4, "seeed": 1}',
    ],
    "s3Config": [b'{"accessId": "a", "accessSecret": "b", "bucketName": "name", "endpointUrl": "https://name.s3.a.test/x"}'],
    "palette": [b"#fff,000,FF0000", b"A52A2A FFD700", b'["#fff", "000"]'],
    "output_prefix": [b"orders/42", "a b/é".encode()],
    "base64": [b"data:image/png;base64,QUJD", b"QUJD\n_-8="],
    "url": [
        b"https://user@a.test:80/p?x#y",
        b"http://[::ffff:1.2.3.4]/",
        b"http://0x7f.1/",
        "http://１２７。1/%2e".encode(),
        b"s3://bucket/key",
    ],
    "first bytes": [b"\xff\xd8\xff\xe0", b"RIFF\0\0\0\0WEBPVP8X", b"\0\0\0\x18ftypmif1\0\0\0\0avif", b"<?xml ?><svg", b"II*\0"],
}


def _checks() -> dict[str, Callable[[bytes], object]]:
    """What each parser is given, its imports counted by atheris."""
    with atheris.instrument_imports(include=["pipeline", "delivery"], enable_loader_override=False):
        from bench.fuzz import jobs as fuzz_jobs  # noqa: PLC0415 - so that it is imported under instruments
        from pipeline import palette  # noqa: PLC0415
        from pipeline.intake import fetch, photo  # noqa: PLC0415

    def forbidden(url: str) -> None:
        fetch.check_endpoint(url, allow_private=False, timeout=20.0, resolve=lambda *_, **__: [(2, 1, 6, "", ("10.0.0.7", 80))])
        raise AssertionError(f"{url!r} got past the check of its address")

    def text(check: Callable[[str], object]) -> Callable[[bytes], object]:
        return lambda data: check(data.decode("utf-8", "surrogateescape"))

    def document(check: Callable[[object], object]) -> Callable[[bytes], object]:
        def parse(data: bytes) -> object:
            try:
                raw = json.loads(data)
            except (ValueError, RecursionError):  # is no JSON: nothing of ours has seen it
                return None
            return check(raw)

        return parse

    targets = {name: check for name, (_, check, _) in fuzz_jobs.TARGETS.items()}
    return {
        "job": document(targets["job"]), "s3Config": document(targets["s3Config"]),
        "palette": text(palette.parse), "output_prefix": text(targets["output_prefix"]), "base64": text(targets["base64"]),
        "url": text(forbidden), "first bytes": photo.sniff,
    }  # fmt: skip


def fuzz(name: str, seconds: int, folder: Path) -> None:
    """Fuzz one parser in this process, which libFuzzer then ends: with status 0, or another one and the input in `folder`."""
    check = _checks()[name]
    from bench.fuzz.jobs import fault_of  # noqa: PLC0415
    from pipeline.errors import JobError  # noqa: PLC0415

    def one(data: bytes) -> None:
        try:
            check(data)
        except JobError as refusal:
            if wrong := fault_of(refusal.sentence):
                raise AssertionError(f"the sentence {wrong}: {refusal.sentence[:200]!a}") from refusal

    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(SEEDS[name]):
        (corpus / str(number)).write_bytes(seed)
    limits = [f"-max_total_time={seconds}", f"-timeout={SLOWEST:.0f}", f"-rss_limit_mb={GROWTH // 1_000_000}", "-max_len=4096"]
    atheris.Setup([sys.argv[0], *limits, "-print_final_stats=1", f"-artifact_prefix={folder}/", str(corpus)], one)
    atheris.Fuzz()


def run(name: str, seconds: int) -> tuple[list[str], str]:
    """One parser in a process of its own: its row of the table, and what went wrong (empty: nothing)."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        command = [sys.executable, "-m", "bench.fuzz_parsers", "--only", name, "--seconds", str(seconds), "--folder", made]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        inputs = [file.read_bytes() for file in folder.iterdir() if file.is_file()]
    stats = {key: int(value) for key, value in re.findall(r"stat::(\w+):\s+(\d+)", done.stderr)}
    reached = re.findall(r"cov: (\d+) ft: (\d+)", done.stderr)
    wrong = "" if done.returncode == 0 and not inputs else done.stderr[-3000:] + "".join(f"\n{b64encode(each).decode()}" for each in inputs)
    cases, memory = stats.get("number_of_executed_units", 0), stats.get("peak_rss_mb", 0)
    return [name, f"{cases:,}", reached[-1][0] if reached else "", f"{memory:,} MB", "fault" if wrong else "0 faults"], wrong


def main() -> int:
    """Fuzz every parser, or the one named, and print a table; 1 when anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz_parsers", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each parser (default 60)")
    parser.add_argument("--only", choices=list(SEEDS), help="this parser alone")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        fuzz(options.only, options.seconds, options.folder)
    table = Table("parser", "cases", "branches reached", "memory", "", title=f"python -m bench.fuzz_parsers --seconds {options.seconds}")
    failed = False
    for name in [options.only] if options.only else SEEDS:
        row, wrong = run(name, options.seconds)
        table.add_row(*row)
        failed |= bool(wrong)
        if wrong:
            print(f"{name}: {wrong}")
    Console().print(table)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
