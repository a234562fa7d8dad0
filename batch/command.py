"""The batch's command: options, the engine, the exit status."""

import asyncio
import fcntl
import math
import os
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import aiohttp
import typer

from batch import manifest, results
from batch.bar import Bar
from batch.dispatch import Rules, Run
from batch.endpoint import endpoint_of
from batch.engines import Engine, Pod, RunPod
from batch.http import session_of_many
from batch.ledger import Ledger
from batch.source import Source, source_of
from batch.values import Unavailable, WrongUse
from batch.webhook import listening
from delivery import Bucket
from pipeline import log, settings
from pipeline.errors import JobError
from pipeline.intake.fetch import is_url
from pipeline.palette import shown
from pipeline.variables import variable

#: Exit statuses.
COMPLETED, SOME_FAILED, WRONG, OVER_BUDGET, INTERRUPTED = 0, 3, 2, 4, 130
#: Seconds between two writings of the results while the batch goes on, and how much longer than the writing itself.
_RESULTS_EVERY, _RESULTS_SHARE = 15.0, 20.0

app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command was asked for, checked."""

    source: Source
    folder: Path
    endpoint: str
    concurrency: int | None
    budget: float | None
    price: float
    retries: int
    webhook: str | None
    listen: int | None
    watch: bool
    environment: settings.Environment


def _option(help_text: str, *names: str, metavar: str | None = None, **limits: Any) -> Any:
    return typer.Option(*names, help=help_text, metavar=metavar, show_default=False, **limits)


@app.command()
def run(
    source: Annotated[str, typer.Argument(help="A folder, a .csv or .jsonl manifest, or s3://bucket/prefix.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for ledger, results, files and gallery.", show_default=False)],
    endpoint: Annotated[str, _option("local (default), the id of a RunPod endpoint, or a pod's http(s) address.")] = "local",
    concurrency: Annotated[int | None, _option("Jobs at once (RunPod 32, pod 4, local always 1).", metavar="N", min=1, max=1000)] = None,
    budget: Annotated[float | None, _option("Stop before all runs of this folder have cost more.", metavar="MONEY", min=0)] = None,
    price: Annotated[float | None, _option("Price of an hour of execution.", metavar="PER_HOUR", min=0)] = None,
    retry: Annotated[int, _option("How often a failure that may pass is tried again (2).", metavar="N", min=0, max=100)] = 2,
    webhook: Annotated[str | None, _option("Address that RunPod calls with each answer.", metavar="URL")] = None,
    listen: Annotated[int | None, _option("Receive RunPod's webhooks on this port.", metavar="PORT", min=0, max=65535)] = None,
    watch: Annotated[
        bool, typer.Option("--watch/--once", help="Go on with what is added later (default: once).", show_default=False)
    ] = False,
    set_: Annotated[
        list[str] | None, _option("Keys of the job, for all pictures; a manifest's line wins.", "--set", metavar="KEY=VALUE …")
    ] = None,
) -> int:
    """Draw many pictures, each once.

    `python -m batch photos -o out` draws every picture of a folder and writes `out/results.jsonl`, `out/results.csv`,
    `out/gallery.html` and `out/files/ID/…`. The same command goes on after any interruption.

    Exit status: 0 all completed; 2 wrong use; 3 some failed; 4 the budget ended it; 130 interrupted.
    """
    began = time.monotonic()
    with _quiet_interrupt():
        environment = settings.environment()
        wanted = _checked(source, output, endpoint, budget, price, webhook, listen, set_ or [], environment)
        options = Options(
            wanted, output, endpoint, concurrency, budget, price or 0.0, retry, webhook, listen, watch, environment,
        )  # fmt: skip
        with _locked(output):
            wanted.check()
            ledger = Ledger(output)
            try:
                return asyncio.run(_run(options, ledger, began))
            finally:
                ledger.close()


def _checked(
    source: str,
    output: Path,
    endpoint: str,
    budget: float | None,
    price: float | None,
    webhook: str | None,
    listen: int | None,
    given: list[str],
    environment: settings.Environment,
) -> Source:
    """The source; raises `WrongUse` for options that do not go together, before anything is written."""
    if price == math.inf:
        raise WrongUse("--price must be a finite number.")
    if budget is not None and price is None:
        raise WrongUse("--budget needs --price, the price of an hour of execution.")
    runpod = endpoint != "local" and not is_url(endpoint, "http", "https")
    if not runpod and endpoint != "local" and not _has_host(endpoint):
        raise WrongUse("--endpoint must be local, the id of a RunPod endpoint, or a pod's address such as http://127.0.0.1:5090.")
    if (webhook is not None or listen is not None) and not runpod:
        raise WrongUse("--webhook and --listen are RunPod's; --endpoint must be the id of an endpoint.")
    if webhook is not None and not (is_url(webhook, "http", "https") and _has_host(webhook)):
        raise WrongUse("--webhook must be an http or https address.")
    if webhook is not None and listen is not None and {"?", "#"} & set(webhook):
        raise WrongUse("--webhook with --listen must have no query; the name of each picture is added to its path.")
    if output.exists() and not output.is_dir():
        raise WrongUse(f"-o {shown(str(output), 200)}: is a file; name a folder.")

    def bucket(name: str) -> Bucket | None:
        if environment.bucket_name not in (None, name) or not name:
            return None
        from pipeline.service.start import bucket_of  # noqa: PLC0415 - it brings the engines, which other sources do not need

        return bucket_of(environment)

    return source_of(source, output, manifest.settings_of(given), bucket)


def _has_host(url: str) -> bool:
    """Whether an address names a host, and a port that there can be."""
    try:
        return bool(urlsplit(url).hostname) and urlsplit(url).port != 0
    except ValueError:
        return False


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder alone among all runs; the system lets it go when the process ends, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise WrongUse(f"Nothing can be written into {shown(str(folder), 200)}: {error.strerror}.") from error
    with lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            who = lock.read(20).strip()
            raise WrongUse(f"Another run works on {shown(str(folder), 200)}{f' (process {who})' if who.isdigit() else ''}.") from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


@contextmanager
def _quiet_interrupt() -> Iterator[None]:
    """SIGTERM, which schedulers send, ends the run as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@asynccontextmanager
async def _engine(options: Options, session: aiohttp.ClientSession, secret: str) -> AsyncIterator[Engine]:
    if options.endpoint == "local":
        from batch.local import Local  # noqa: PLC0415 - the engine's libraries take seconds to load
        from pipeline import service  # noqa: PLC0415

        log.configure("error" if options.environment.log_level == "info" else options.environment.log_level)
        worker = await asyncio.to_thread(service.start, options.environment, settings.load(options.environment.pipeline_config))
        yield Local(worker, options.folder)
        return
    if is_url(options.endpoint, "http", "https"):
        url = options.endpoint.rstrip("/")
        yield Pod(url, variable("API_KEY") or "", session, url)
        return
    endpoint = endpoint_of(options.endpoint, session)
    engine = RunPod(endpoint, f"runpod:{options.endpoint}", lambda _: options.webhook)
    if options.listen is None:
        yield engine
        return
    async with listening(engine, options.listen, secret, options.webhook):
        yield engine


async def _run(options: Options, ledger: Ledger, began: float) -> int:
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(session_of_many())
        engine = await stack.enter_async_context(_engine(options, session, ledger.secret))
        many = engine.concurrency if options.concurrency is None or options.endpoint == "local" else options.concurrency
        bar = stack.enter_context(Bar(ledger, priced=options.price > 0))
        rules = Rules(many, options.retries, options.budget, options.price, options.watch)
        run = Run(options.folder, ledger, engine, options.source, rules, session, bar.say)
        _on_interrupt(run, bar)
        helpers = [asyncio.create_task(bar.follow(run)), asyncio.create_task(_keep_writing(options, ledger))]
        try:
            await run.go()
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            try:
                await asyncio.to_thread(results.write, options.folder, ledger, options.source.shown)
            except OSError as error:
                run.fault = run.fault or Unavailable(f"The results cannot be stored in {options.folder}: {error.strerror}.")
    return _told(options, ledger, run, began)


def _on_interrupt(run: Run, bar: Bar) -> None:
    """The first Ctrl-C cancels what is in flight, the second ends the process; the ledger is whole either way."""

    def heard() -> None:
        if run.stopping.is_set():
            os._exit(INTERRUPTED)
        run.stopping.set()
        bar.say("Cancelling what is in flight; a second Ctrl-C ends at once.")

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, heard)


async def _keep_writing(options: Options, ledger: Ledger) -> None:
    """Write the results now and then, so that a long batch can be looked at."""
    answers, took = -1, 0.0
    while True:
        await asyncio.sleep(max(_RESULTS_EVERY if not options.watch else 2.0, _RESULTS_SHARE * took))
        if ledger.changes == answers:
            continue
        answers, began = ledger.changes, time.monotonic()
        await asyncio.to_thread(results.write, options.folder, ledger, options.source.shown)
        took = time.monotonic() - began


def _told(options: Options, ledger: Ledger, run: Run, began: float) -> int:
    """Say how it ended; the exit status."""
    for name, error in ledger.failures():
        sys.stderr.write(f"{name}: {error}\n")
    for path in run.unsettled:
        sys.stderr.write(f"{path.name}: is still being written; the next run takes it\n")
    count = ledger.count()
    if run.scanned and not count.items:
        sys.stderr.write(f"{options.source.shown} holds no picture.\n")
    cost = f", cost {ledger.spent:.2f}" if options.price else ""
    left = count.items - count.completed - count.failed
    waiting = f", {left} not done" if left else ""
    sys.stdout.write(f"{count.completed} completed, {count.failed} failed{waiting}{cost}, {time.monotonic() - began:.0f} s\n")
    for name in ("results.jsonl", "results.csv", "gallery.html"):
        sys.stdout.write(f"{options.folder.resolve() / name}\n")
    if isinstance(run.fault, WrongUse):
        raise run.fault
    if run.fault is not None and not isinstance(run.fault, Unavailable):
        raise run.fault
    if run.fault is not None:
        sys.stderr.write(f"{run.fault} The same command goes on later.\n")
        return SOME_FAILED
    if run.stopping.is_set():
        sys.stderr.write("Interrupted; the same command goes on.\n")
        return INTERRUPTED
    if run.over_budget:
        sys.stderr.write("The budget is used up; the same command with a higher --budget goes on.\n")
        return OVER_BUDGET
    return SOME_FAILED if count.failed or left or run.unsettled else COMPLETED


def _each_set(arguments: list[str]) -> list[str]:
    """The arguments with `--set a=1 b=2` as `--set a=1 --set b=2`."""
    out: list[str] = []
    setting = False
    for one in arguments:
        more = setting and not one.startswith("-") and "=" in one and out[-1] != "--set"
        out += ["--set", one] if more else [one]
        setting = one == "--set" or (setting and not one.startswith("-") and "=" in one)
    return out


def main(arguments: list[str] | None = None) -> int:
    """The exit status; the reason for a wrong use is the last line on standard error."""
    try:
        status = app(args=_each_set(sys.argv[1:] if arguments is None else arguments), prog_name="python -m batch", standalone_mode=False)
    except (WrongUse, settings.SettingsError, JobError) as error:
        sys.stderr.write(f"{error}\n")
        return WRONG
    except sqlite3.Error as error:
        sys.stderr.write(f"The ledger cannot be used: {error}. The same command goes on later.\n")
        return SOME_FAILED
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as fault:
        usage = getattr(fault, "format_message", None)  # typer's usage errors, whose class it does not publish
        if usage is None:
            raise
        sys.stderr.write(f"{usage().rstrip('.')}; --help lists every option.\n")
        return WRONG
    return int(status or 0)
