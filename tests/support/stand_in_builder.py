"""In place of the builder in the pod's trainings: the same lines, files and exit statuses, without networks.

The style's name says what it does: `quick` ends by itself, `slow` goes on until it is asked to end, `deaf` does not end then either,
`noisy` prints much that is no event, `broken` fails as a bug does; `real` is the builder itself.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d4944415478da63fcffff3f030005fe02fea1d5d4a50000000049454e44ae426082"
)


def tell(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def option(name: str) -> str:
    return next(word.partition("=")[2] for word in sys.argv if word.startswith(f"--{name}="))


def train(pairs: Path) -> int:
    name, epochs = option("name"), int(option("epochs"))
    if "WORKERS" in os.environ:  # the pod's may be 0, which is none for the builder
        print("Environment variable WORKERS must be a whole number from 1 to 256.")
        return 2
    folder = Path(option("volume")) / ".builder" / "training" / name
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    (folder / "arguments.json").write_text(json.dumps(sys.argv[1:]))
    (folder / "pid").write_text(str(os.getpid()))
    photos = sorted(path for path in pairs.rglob("*") if path.suffix == ".png")
    if len(photos) < 5:
        problems = [f"{len(photos)} whole pairs: at least 5 are needed"]
        tell("failed", sentence=f"{pairs} cannot be trained with as it is; nothing was loaded.\n  {problems[0]}", problems=problems)
        print("cannot be trained with", file=sys.stderr)
        return 2
    tell("checked", pairs=len(photos))
    tell("prepare", done=len(photos), of=len(photos), pair="")
    done = int((folder / "step").read_text()) if (folder / "step").exists() else 0
    tell("training", step=4 * done, steps=4 * epochs, optimizer="AdamW")
    if name == "broken":
        raise RuntimeError("a bug")
    if name == "noisy":
        for k in range(60_000):
            print(f"{k} {'x' * 100}")
        sys.stdout.write("y" * 3_000_000)
    if name in ("slow", "deaf"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (folder / "child").write_text(str(child.pid))
    if name == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for epoch in range(done, epochs + 1):
        if epoch:
            for step in range(4):
                tell("step", step=4 * epoch - 3 + step, steps=4 * epochs, epoch=epoch, loss=0.5 / epoch, lean=False)
            tell("epoch", epoch=epoch, loss=0.4 / epoch, judged=0.6 / epoch, seconds=0.01)
        picture = folder / "pictures" / f"0123456789ab-{epoch:03d}.png"
        picture.write_bytes(PNG)
        tell("picture", epoch=epoch, pair="car1", file=str(picture))
        (folder / "report.html").write_text(f"<!doctype html><title>Style</title><h1>Epoch {epoch}</h1>")
        (folder / "step").write_text(str(epoch))
        if name in ("slow", "deaf") and epoch == 2:
            while True:
                time.sleep(0.05)
    style = folder / f"{name}.safetensors"
    style.write_bytes(b"a style")
    tell("done", style=str(style), report=str(folder / "report.html"), sentence=f"The style of epoch {epochs} is {style.name}.")
    return 0


def add_style(file: Path) -> int:
    if not re.fullmatch(r"\w+", option("name")):
        print("It is no name for a style.", file=sys.stderr)
        return 1
    target = Path(option("volume")) / "styles" / f"{option('name')}.safetensors"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(file.read_bytes())
    print("trigger: <flat>; every prompt begins with it")
    return 0


if __name__ == "__main__":
    if option("name") == "real":
        from builder.__main__ import main
        from tests.support import torchvision_shim as _shim  # noqa: F401 - before anything that imports torchvision

        sys.exit(main(sys.argv[1:]))
    try:
        sys.exit({"train-style": train, "add-style": add_style}[sys.argv[1]](Path(sys.argv[2])))
    except KeyboardInterrupt:
        sys.exit(130)
