"""The builder's door: `python -m builder COMMAND --volume PATH`."""

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Console

from builder import shown, work
from builder.arguments import TRIGGER, UPDATE, All, Config, Embedded, From, Given, Json, Only, Text, Volume, volume_of
from builder.choose import choose, named
from builder.errors import BuilderError, WrongOption
from builder.networks import commands as networks
from builder.networks.fill import fill as fill_networks
from builder.place import records_of
from builder.plan import make_plan
from builder.prune import prune as work_off
from builder.prune import spare
from builder.status import status_of
from builder.tell import size, voices
from builder.train.shell import make_pairs, train_style
from builder.workspace import only_builder
from model_cache.needed import TEXT

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="markdown",
    no_args_is_help=True,
    help="""Fill a model volume, and check it.

    A new volume: `plan` says what will be fetched, `fetch` fills it, `verify` proves it, `doctor` runs every step on your card.
    Everything may be stopped at any moment and run again: it goes on where it stopped.

    With --embedded `plan`, `fetch`, `verify` and `status` are about the classical engine's two small networks, under NETWORKS_PATH.

    HF_TOKEN is sent to the hub for models with terms; HF_ENDPOINT names another hub.

    Exit status: 0; 1 with a sentence when something is missing, wrong or failed; 2 for a wrong option.
    """,
)

_INTERRUPTED = 130


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


@app.command()
def plan(
    volume: Volume = None,
    only: Only = None,
    all_: All = False,
    text: Text = False,
    config: Config = None,
    mbps: Annotated[float, typer.Option("--mbps", help="Bandwidth for the estimate, million bits a second.", min=0.001)] = 1000.0,
    embedded: Embedded = False,
    json_: Json = False,
) -> None:
    """What is there, what is missing, what has changed, and what a fetch would bring.

    Works offline and writes nothing. Goes by sizes and time stamps; `verify` reads the content.
    Sizes are known once a model's source was resolved; before, the number of its parameters stands for them.
    """
    if embedded:
        networks.plan(networks.folder(volume=volume, only=only, all=all_, text=text, config=config), mbps, json_)
        return
    folder = volume_of(volume, must_exist=False)
    rows = make_plan(choose(folder, config, only, all_, text))
    if json_:
        _print(json.dumps(shown.plan_as_data(folder, rows, mbps), indent=2))
    else:
        shown.plan_as_table(Console(), folder, rows, mbps)


@app.command()
def fetch(
    volume: Volume = None,
    only: Only = None,
    all_: All = False,
    text: Text = False,
    config: Config = None,
    from_: Given = None,
    jobs: Annotated[int, typer.Option("--jobs", help="Files fetched at a time.", min=1, max=32)] = 4,
    update: Annotated[str | None, UPDATE] = None,
    keep_downloads: Annotated[bool, typer.Option("--keep-downloads", help="Keep the source files, for `convert`.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Read the content of what is there, and fetch again what is not as recorded.")
    ] = False,
    embedded: Embedded = False,
) -> None:
    """Fill the volume: bring what is missing, convert it, put it in place. Afterwards the volume serves.

    The first fetch of a model takes its repository's present revision and records it in models.lock.json; later ones take exactly that,
    and exactly that content. A killed fetch leaves the old state or the new one, and goes on where it stopped.
    """
    if embedded:
        others = {"volume": volume, "only": only, "all": all_, "text": text, "config": config, "update": update}
        fill_networks(networks.folder(**others, keep_downloads=keep_downloads), from_ or [], check)
        return
    if len(from_ or []) > 1:
        raise WrongOption("--from is given once for a model volume.")
    folder = volume_of(volume, must_exist=False)
    choice = choose(folder, config, only, all_, text)
    fresh = frozenset(named(choice.catalogue, update)) if update else frozenset[str]()
    if outside := fresh - set(choice.to_serve):
        raise WrongOption(f"--update names {', '.join(sorted(outside))}, which is not among the models to fetch; name it with --only.")
    work.fill(choice, from_[0] if from_ else None, jobs, fresh, keep_downloads, check)


@app.command()
def convert(
    volume: Volume = None, only: Only = None, all_: All = False, text: Text = False, config: Config = None, from_: From = None
) -> None:
    """Make the served files again, from downloads that `fetch --keep-downloads` kept or from a folder; nothing is fetched."""
    work.convert_again(choose(volume_of(volume), config, only, all_, text), from_)


@app.command("add-style")
def add_style(
    file: Annotated[Path, typer.Argument(help="A LoRA for SDXL, safetensors, named as diffusers, PEFT or kohya do.", show_default=False)],
    volume: Volume = None,
    name: Annotated[str | None, typer.Option("--name", help="Name on the volume (default: the file's).", show_default=False)] = None,
    trigger: Annotated[str | None, TRIGGER] = None,
    config: Config = None,
) -> None:
    """Install a style: a LoRA file, checked against the volume's drawing network.

    Every prompt then begins with its trigger, and the default prompt's stored embeddings are made anew.
    """
    work.add_style(volume_of(volume), config, file, name, trigger)


app.command("make-pairs")(make_pairs)
app.command("train-style")(train_style)


@app.command()
def verify(
    volume: Volume = None,
    only: Only = None,
    all_: All = False,
    text: Text = False,
    config: Config = None,
    quick: Annotated[bool, typer.Option("--quick", help="Sizes and time stamps alone.")] = False,
    embedded: Embedded = False,
    json_: Json = False,
) -> None:
    """Prove the volume: hashes, tensor names, shapes and dtypes. Names each missing or wrong file, and exits with 1 when there is one.

    Looks at the models that are needed and at all others that are there; with --only at those alone.
    """
    if embedded:
        if not networks.verify(networks.folder(volume=volume, only=only, all=all_, text=text, config=config), not quick, json_):
            raise typer.Exit(1)
        return
    from builder.verify import verify as look  # noqa: PLC0415 - may import torch

    folder = volume_of(volume)
    choice = choose(folder, config, only, all_, text)
    with voices(Console(stderr=json_)) as (_, meter):
        if only is not None:
            found = look(folder, choice.names, not quick, meter)
        else:
            there = {path.name for path in (folder / "models").glob("*")} | set(records_of(folder))
            found = look(folder, None, not quick, meter, choice.prompt if TEXT in choice.names else None)
            found += look(folder, [name for name in choice.to_serve if name not in there], not quick, meter)
    if json_:
        _print(json.dumps({"volume": str(folder), "right": not found, "findings": [asdict(it) for it in found]}, indent=2))
    else:
        for finding in found:
            _print(str(finding))
        _print(
            f"{len(found)} faults; python -m builder fetch --check brings what is wrong again." if found else "Everything is as recorded."
        )
    if found:
        raise typer.Exit(1)


@app.command()
def prune(
    volume: Volume = None,
    only: Only = None,
    all_: All = False,
    text: Text = False,
    config: Config = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed.")] = False,
) -> None:
    """Make room: list models that are not needed, downloads and leavings; with --yes remove them.

    --only says what is needed, in place of the settings.
    """
    folder = volume_of(volume)
    choice = choose(folder, config, only, all_, text)
    found = spare(folder, choice.to_serve)
    for it in found:
        _print(f"{it.shown}: {size(it.size)}")
    if not found:
        _print("Nothing to remove.")
    elif not yes:
        _print(f"{size(sum(it.size for it in found))} in all; --yes removes it.")
    else:
        with work.at_work(choice) as task:
            work_off(task.workspace, spare(folder, choice.to_serve))
        _print("Removed.")


@app.command()
def status(
    volume: Volume = None,
    only: Only = None,
    all_: All = False,
    text: Text = False,
    config: Config = None,
    embedded: Embedded = False,
    json_: Json = False,
) -> None:
    """Models with their revisions, sizes and licences, the style, the prompt's embeddings, and whether the volume is ready to serve."""
    if embedded:
        networks.status(networks.folder(volume=volume, only=only, all=all_, text=text, config=config), json_)
        return
    it = status_of(choose(volume_of(volume), config, only, all_, text))
    if json_:
        _print(json.dumps(it, indent=2))
    else:
        shown.status_as_table(Console(), it)


@app.command()
def mirror(
    s3_bucket: Annotated[str, typer.Option("--s3-bucket", help="The bucket; at RunPod the network volume's id.", show_default=False)],
    s3_endpoint: Annotated[
        str | None, typer.Option("--s3-endpoint", help="At RunPod https://s3api-DATACENTER.runpod.io (default: AWS).", show_default=False)
    ] = None,
    s3_region: Annotated[str | None, typer.Option("--s3-region", help="Default: as the endpoint tells.", show_default=False)] = None,
    s3_prefix: Annotated[str, typer.Option("--s3-prefix", help="Folder in the bucket.")] = "",
    jobs: Annotated[int, typer.Option("--jobs", help="Parts sent at a time.", min=1, max=32)] = 4,
    volume: Volume = None,
) -> None:
    """Copy this folder to a network volume over its S3 API: what differs is sent, the lock file last. May be stopped and run again.

    Keys are read from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, as RunPod documents for its S3 API.
    """
    from builder.remote import Remote, send  # noqa: PLC0415 - imports boto3

    folder = volume_of(volume)
    with only_builder(folder) as workspace, voices(Console()) as (tell, meter):
        send(workspace, Remote(s3_bucket, s3_endpoint, s3_region, s3_prefix.strip("/"), jobs), tell, meter)


@app.command()
def doctor(
    out: Annotated[Path, typer.Option("--out", help="The page to write.", metavar="FILE")] = Path("doctor.html"),
    volume: Volume = None,
    config: Config = None,
    compile_: Annotated[bool, typer.Option("--compile", help="On a card: also fill VOLUME/compiled, which makes drawing faster.")] = False,
    insist: Annotated[bool, typer.Option("--insist", help="Draw without a card too, which takes long.")] = False,
) -> None:
    """Run it: every network loaded, every step run on a sample picture, on this machine's card. Writes one HTML page with the pictures,
    seconds, memory and a verdict for each step, and exits with 1 when one is not ok.
    """
    from builder.doctor import doctor as examine  # noqa: PLC0415 - imports the engine

    folder = volume_of(volume)
    with voices(Console()) as (tell, _):
        well = examine(folder, out, tell, config, compile_, insist)
    _print(f"{out.resolve()}: {'everything is ok' if well else 'not everything is ok'}")
    if not well:
        raise typer.Exit(1)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; its exit status. Errors are one sentence on standard error."""
    before, quiet = structlog.get_config(), structlog.make_filtering_bound_logger(logging.WARNING)
    # What the worker would log of its networks is not what was asked for here.
    structlog.configure(wrapper_class=quiet, logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    try:
        status = int(app(args=arguments, prog_name="python -m builder", standalone_mode=False) or 0)
        if status == _INTERRUPTED:  # typer catches the interrupt itself
            raise KeyboardInterrupt
        return status
    except BuilderError as error:
        sys.stderr.write(f"{error.sentence}\n")
        return 2 if isinstance(error, WrongOption) else 1
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write("Stopped; what was fetched is kept, run the same command again to go on.\n")
        return _INTERRUPTED
    except typer.Exit as error:
        return error.exit_code
    except ModuleNotFoundError as fault:  # after ./run demo there is no torch
        why = str(fault).partition("\n")[0].rstrip(".")
        sys.stderr.write(f"This command needs the packages of requirements.txt: {why}. Run: pip install -r requirements.txt\n")
        return 1
    except Exception as fault:
        usage = getattr(fault, "format_message", None)  # typer's usage errors, whose class it does not publish
        if usage is None:
            raise
        if usage():  # a bare call got the help
            sys.stderr.write(f"{usage().rstrip('.')}; --help lists every option.\n")
        return 2
    finally:
        structlog.configure(**before)


if __name__ == "__main__":
    sys.exit(main())
