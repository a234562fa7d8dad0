"""Jobs as no honest caller would send them, and what `pipeline.job.read` and its neighbours must do with each.

Every case is made from the seed and its number alone, so that one case can be made again: `case(seed, number)`.
"""

import math
import random
import signal
import time
from base64 import b64encode
from collections.abc import Callable
from types import FrameType
from typing import Any

from bench.fuzz.tally import GROWTH, SLOWEST, Tally, peak
from delivery import bucket_from_s3_config
from pipeline.errors import Code, JobError
from pipeline.intake.data_uri import decode_base64
from pipeline.intake.fetch import check_endpoint
from pipeline.job import Job, read
from pipeline.stored_keys import safe_prefix

#: Planted where secrets and private texts stand; no sentence may hold it.
SECRET = "pLaNtEd-5ecret"
#: Characters that a sentence may have.
LONGEST = 400
#: A host name that the stand-in resolver knows; nothing here asks a real one.
_PUBLIC, _PRIVATE = "93.184.215.14", "10.0.0.7"

_KEYS = [field.alias or name for name, field in Job.model_fields.items()]
_FLOATS = [0.0, -0.0, 1e308, -1e308, 5e-324, math.nan, math.inf, -math.inf, 0.1, 1 + 1e-16]
_INTS = [0, 1, -1, 2**31, 2**32 - 1, 2**32, 2**53 + 1, 2**63, -(2**63) - 1, 10**30, 10**400, 10**4299, 10**5000]
_TEXTS = [
    "",
    " ",
    "\0",
    "\n",
    "a\nb.",
    "\ud800",
    "x\udfff",
    "\u202eevil",
    "\ufeff",
    "ﬁ",
    "İ",
    "ß" * 9,
    "💥",
    "é",
    "../..",
    "..",
    "/",
    "a//b",
    "C:\\x",
    "%2e%2e",
    "<script>alert(1)</script>",
    "]]>",
    "{{7*7}}",
    "${x}",
    "'; --",
    "null",
    "NaN",
    "1e999",
    "0x10",
    "٣",
    "#FFF",
    "fff,000",
    "#ggg",
    "remove",
    "keep",
    "http://",
    "http://[::1",
    "http://a:99999/",
    "http://\ud800/",
    "s3://",
    "data:",
    "data:image/png;base64",
    "data:;;;;;base64,",
    "=",
    "====",
]


def text(rng: random.Random) -> str:
    """Any text: a known nuisance, random code points (surrogates too), or rarely a giant."""
    kind = rng.random()
    if kind < 0.6:
        return rng.choice(_TEXTS)
    if kind < 0.9995:
        top = rng.choice([0x7F, 0xFF, 0xFFFF, 0x10FFFF])
        return "".join(map(chr, rng.choices(range(top + 1), k=rng.choice([1, 3, 9, 81, 600]))))
    return rng.choice([*_TEXTS, "fff,", "a ", ";", "A"])[:8] * rng.choice([100_000, 500_000, 2_000_000])


def anything(rng: random.Random, depth: int = 0) -> Any:  # noqa: PLR0911 - one return for each kind
    """Any value that JSON can carry, and now and then one that it cannot."""
    kind = rng.random()
    if kind < 0.12:
        return rng.choice(_INTS)
    if kind < 0.24:
        return rng.choice(_FLOATS)
    if kind < 0.34:
        return rng.choice([True, False, None])
    if kind < 0.7:
        return text(rng)
    if kind < 0.84 and depth < 5:
        return [anything(rng, depth + 1) for _ in range(rng.choice([0, 1, 2, 4, 5, 40]))]
    if kind < 0.97 and depth < 5:
        return {rng.choice([*_KEYS, text(rng)]): anything(rng, depth + 1) for _ in range(rng.choice([0, 1, 2, 5]))}
    if kind < 0.9975:
        return rng.choice([(), (1, 2), b"bytes", {1}, object(), 1j, range(3)])
    return _giant(rng)


def _giant(rng: random.Random) -> Any:
    """Very deep, very wide or both."""
    kind, many = rng.randrange(5), rng.choice([500, 990, 5_000, 60_000])
    if kind == 0:
        return [rng.choice(["svg", 1, None, [], "fff", "#000"])] * (many * 10)
    if kind == 1:
        return {f"key{n}": n for n in range(many)}
    deep: Any = 1.0
    for _ in range(many):
        deep = {"a": deep} if kind == 2 else [deep]
    return deep


def _color(rng: random.Random) -> str:
    return rng.choice(["#", ""]) + "".join(rng.choices("0123456789abcdefABCDEF", k=rng.choice([3, 6])))


def _box(rng: random.Random) -> list[float]:
    """One in four is thinner than a pixel of any photo: right as a job, whatever comes of it once the photo is known."""
    x0, y0 = rng.random() * 0.5, rng.random() * 0.5
    thin = 10 ** rng.uniform(-9, -4)
    width, height = rng.choice([(1, 1), (1, 1), (1, 1), rng.choice([(thin, 1), (1, thin), (thin, thin)])])
    return [x0, y0, x0 + width * (0.01 + rng.random() * 0.49), y0 + height * (0.01 + rng.random() * 0.49)]


_FIELDS: dict[str, Callable[[random.Random], Any]] = {
    "schema": lambda _: 1,
    "palette_hex_list": lambda rng: rng.choice([list, ",".join])(_color(rng) for _ in range(rng.randint(2, 70))),
    "palette_name": lambda rng: rng.choice(["default", "greys", "flat-red", "Greys", "../palettes"]),
    "palette_from_url": lambda _: f"https://a.test/brand.png?X-Amz-Signature={SECRET}",
    "color_locks": lambda rng: [
        {**rng.choice([{"part": rng.choice(["body", "glass", "wheels"])}, {"point": [rng.random(), rng.random()]}]), "color": _color(rng)}
        for _ in range(rng.randint(0, 3))
    ],
    "job_preset": lambda rng: rng.choice(["catalogue", "lineart", "sticker", "../settings", "sticker.yaml"]),
    "seed": lambda rng: rng.getrandbits(32),
    "preset": lambda rng: rng.choice(["draft", "standard", "best"]),
    "num_inference_steps": lambda rng: rng.randint(1, 150),
    "guidance_scale": lambda rng: rng.uniform(0, 30),
    "depth_weight": lambda rng: rng.uniform(0, 2),
    "canny_weight": lambda rng: rng.uniform(0, 2),
    "canny_end": lambda rng: rng.random(),
    "prompt": lambda _: f"a car, {SECRET}",
    "negative_prompt": lambda _: f"no {SECRET}",
    "lora_scale": lambda rng: rng.uniform(0, 2),
    "remove": lambda rng: rng.choices(["text", "sticker", "roof rack", "Kühlergrill", "text"], k=rng.randint(0, 6)),
    "background": lambda rng: rng.choice(["remove", "keep", "#fff", "FF0000"]),
    "vehicle_box": _box,
    "matte_url": lambda _: f"https://a.test/m.png?X-Amz-Signature={SECRET}",
    "stroke": lambda rng: {"mode": rng.choice(["both", "none"]), "width": rng.uniform(0.1, 64), "color": _color(rng)},
    "detail": lambda rng: rng.uniform(0, 0.05),
    "size": lambda rng: rng.randint(1024, 8192),
    "canvas": lambda rng: rng.choice(["square", "photo", "vehicle"]),
    "outputs": lambda rng: rng.choices(["svg", "png", "report", "intermediates", "pdf"], k=rng.randint(1, 5)),
    "allow_low_iou": lambda rng: rng.random() < 0.5,
    "delivery": lambda rng: rng.choice(["auto", "s3", "inline", "local"]),
    "output_prefix": lambda _: "orders/42",
}


def valid_job(rng: random.Random) -> dict[str, Any]:
    """A job that is right but for the chance that a palette has too few colours or lacks the background's."""
    job: dict[str, Any] = {key: _FIELDS[key](rng) for key in rng.sample(list(_FIELDS), rng.randint(0, 6))}
    if rng.random() < 0.5:
        job["image_url"] = f"https://a.test/p.jpg?X-Amz-Signature={SECRET}"
    else:
        job["image_base64"] = b64encode(SECRET.encode()).decode()
    return job


def _broken(rng: random.Random, value: Any) -> Any:  # noqa: PLR0911 - one return for each kind
    """One wrong thing in a value: another value in its place, or one wrong thing inside it."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        kind = rng.random()
        if kind < 0.6:
            return {**value, key: _broken(rng, value[key])}
        if kind < 0.7:
            return {k: v for k, v in value.items() if k != key}
        new = rng.choice([rng.choice(_KEYS), key[:-1], key.upper(), text(rng)])
        if kind < 0.9 or (isinstance(value[key], str) and SECRET in value[key]):  # a secret under the key of a colour may be repeated
            return {**value, new: anything(rng)}
        return {new if k == key else k: v for k, v in value.items()}
    if isinstance(value, list) and value and rng.random() < 0.6:
        place = rng.randrange(len(value))
        return [_broken(rng, v) if n == place else v for n, v in enumerate(value)]
    if isinstance(value, float) and rng.random() < 0.5:
        return value * rng.choice([-1, 1e3, 1e300, math.nan])
    if isinstance(value, str) and value and rng.random() < 0.4 and SECRET not in value:
        place = rng.randrange(len(value))
        return value[:place] + text(rng) + value[place + rng.randrange(2) :]
    return anything(rng)


def _some_job(rng: random.Random) -> Any:
    job: Any = valid_job(rng)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 4])):
        job = _broken(rng, job)
    return job


def _some_s3_config(rng: random.Random) -> Any:
    host = rng.choice(["s3.a.test", "name.s3.a.test", "[::1]", "10.1.2.3", "a.test:9000", "a.test/name", text(rng)])
    config: Any = {
        "accessId": SECRET,
        "accessSecret": SECRET + "2",
        "bucketName": "name",
        "endpointUrl": rng.choice(["https://", "http://", ""]) + host,
    }
    if rng.random() < 0.5:
        config["addressing"] = rng.choice(["auto", "path", "virtual", "Path", text(rng)])
    for _ in range(rng.choice([0, 1, 1, 2])):
        config = _broken(rng, config)
    return config


def _some_prefix(rng: random.Random) -> str:
    return "/".join(text(rng) if rng.random() < 0.4 else rng.choice(["orders", "42", "é", "a b"]) for _ in range(rng.randint(1, 5)))


def _some_base64(rng: random.Random) -> str:
    body = b64encode(rng.randbytes(rng.choice([0, 1, 2, 30, 300]))).decode()
    place = rng.randrange(len(body) + 1)
    body = rng.choice([body, body[:place], body[:place] + text(rng) + body[place:], text(rng)])
    return rng.choice(["", "", "data:image/png;base64,", "data:;base64,", "DATA:image/x;a=b;base64,", text(rng) + ","]) + body


def _resolve(host: str, port: int, **_: object) -> list[Any]:
    if "private" in host or host[:1].isdigit() or ":" in host:
        return [(2, 1, 6, "", (_PRIVATE, port))]
    return [(2, 1, 6, "", (_PUBLIC, port))]


def _read_job(raw: Any) -> None:
    job = read(raw)
    if (again := read(job.model_dump(by_alias=True))) != job:
        raise AssertionError(f"not stable: {job!r} became {again!r}")


def _read_s3_config(raw: Any) -> None:
    bucket = bucket_from_s3_config(
        raw, check_endpoint=lambda url: check_endpoint(url, allow_private=False, timeout=20, resolve=_resolve), url_expiry_seconds=3600
    )
    if SECRET in repr(bucket):
        raise AssertionError("a bucket prints its keys")


def _read_prefix(raw: str) -> None:
    parts = safe_prefix(raw).split("/")
    if raw.startswith("/") or {"..", ".", ""} & set(parts) or any(c < " " for c in raw) or len(raw.encode()) > 512:
        raise AssertionError("an unsafe prefix passed")


def _read_base64(raw: str) -> None:
    decode_base64(raw, 50_000_000)


#: What is fuzzed: how a case is made, what it is given to, and its share of the cases.
TARGETS: dict[str, tuple[Callable[[random.Random], Any], Callable[[Any], None], int]] = {
    "job": (_some_job, _read_job, 76),
    "s3Config": (_some_s3_config, _read_s3_config, 8),
    "output_prefix": (_some_prefix, _read_prefix, 8),
    "base64": (_some_base64, _read_base64, 8),
}


def case(seed: int, number: int) -> tuple[str, Any]:
    """The target and the input of one case."""
    rng = random.Random((seed << 40) + number)
    target = rng.choices(list(TARGETS), [share for _, _, share in TARGETS.values()])[0]
    return target, TARGETS[target][0](rng)


class HangError(BaseException):
    """Raised by the clock: no `except Exception` of what is tested may swallow it."""


def _hang(_signal: int, _frame: FrameType | None) -> None:
    raise HangError


def fault_of(sentence: str) -> str | None:
    """What is wrong with an error's sentence; None when nothing is."""
    if SECRET in sentence:
        return "repeats a secret"
    if len(sentence) > LONGEST:
        return f"has {len(sentence)} characters"
    if "\n" in sentence or "Traceback" in sentence or not sentence.endswith((".", "?")):
        return "is not one sentence"
    return None


def judge(target: str, raw: Any) -> tuple[str, str | None]:
    """Give one case to its target: the answer (a code or "accepted"), and what is wrong with it."""
    try:
        TARGETS[target][1](raw)
    except JobError as error:
        wrong = fault_of(error.sentence)
        return Code(error.code), f"the sentence {wrong}: {error.sentence[:200]!a}" if wrong else None
    except HangError:
        return "hang", f"took more than {SLOWEST:g} s"
    except BaseException as error:  # whatever else comes out is what is looked for
        if isinstance(error, KeyboardInterrupt):
            raise
        return "fault", f"{type(error).__name__}: {str(error)[:200]!a}"
    return "accepted", None


def fuzz(seed: int, cases: int, tick: Callable[[int], None]) -> Tally:
    """Run cases 0 to `cases` − 1; `tick(n)` is called after every thousand with how many were done."""
    tally = Tally()
    signal.signal(signal.SIGALRM, _hang)
    before = peak()
    for number in range(cases):
        target, raw = case(seed, number)
        began = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, SLOWEST)
        answer, wrong = judge(target, raw)
        signal.setitimer(signal.ITIMER_REAL, 0)
        tally.slowest = max(tally.slowest, time.perf_counter() - began)
        tally.answers[f"{target}: {answer}"] += 1
        if wrong and len(tally.faults) < 200:
            tally.faults.append((number, f"{target}: {wrong}"))
        if number == 100:  # everything is loaded by now
            before = peak()
        if number % 1000 == 999:
            tick(1000)
    tally.grown = peak() - before
    if tally.grown > GROWTH:
        tally.faults.append((cases, f"the process grew by {tally.grown:,} bytes"))
    return tally


def tell(seed: int, number: int) -> str:
    """One case in words: its target, its input (shortened) and what comes of it."""
    target, raw = case(seed, number)
    try:
        shown = ascii(raw)
    except (RecursionError, ValueError) as error:
        shown = f"cannot be shown ({error})"
    return f"{target}: {shown[:2000]}\n→ {judge(target, raw)}"
