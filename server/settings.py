"""The pod's settings: the deployment's environment variables, and those that only a server has."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from pipeline.intake.addresses import is_host, is_origin
from pipeline.settings import YEAR, Environment, Settings, SettingsError, check_output_folder, environment_of, load

#: Seconds that a job at work may still take when the server stops, and after which a server that stops has ended.
LAST_SECONDS, STOP_SECONDS = 25.0, 30


def listed(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated variable."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _key(key: SecretStr) -> SecretStr:
    """Refuse a key that no header can carry: it would lock everybody out."""
    if not (key.get_secret_value().isascii() and key.get_secret_value().isprintable()):
        raise ValueError("it cannot be sent")
    return key


def _origins(text: str) -> str:
    """As browsers write them, in small letters and without a slash."""
    origins = [part.lower().rstrip("/") for part in listed(text)]
    if not all(part == "*" or is_origin(part) for part in origins):
        raise ValueError("no origins")
    return ",".join(origins)


def _hosts(text: str) -> str:
    hosts = [part.lower().strip("[]") for part in listed(text)]
    if not all(is_host(part) for part in hosts):
        raise ValueError("no hosts")
    return ",".join(hosts)


class PodEnvironment(Environment):
    """`Environment` and the variables of the pod alone; docs/settings.md says what each means."""

    workers: int = Field(1, ge=0, le=256, description="a whole number from 0 to 256")
    api_key: Annotated[SecretStr, AfterValidator(_key)] | None = Field(None, description="printable ASCII characters")
    rate_limit_per_minute: int = Field(0, ge=0, le=1_000_000_000, description="a whole number from 0 (no limit) to 1000000000")
    retention_hours: float = Field(168, gt=0, description="a number of hours above 0; inf keeps jobs for ever")
    retention_gb: float = Field(20, gt=0, description="a number of gigabytes above 0; inf sets no limit")
    min_free_mb: float = Field(200, ge=0, allow_inf_nan=False, description="a number of megabytes, 0 or more")
    upload_seconds: float = Field(300, gt=0, le=YEAR, description=f"a number of seconds above 0, {YEAR} at most")
    kill_grace_seconds: float = Field(30, gt=0, le=YEAR, description=f"a number of seconds above 0, {YEAR} at most")
    while_training: Literal["wait", "refuse"] = Field("wait", description="wait or refuse")
    training_mb: float = Field(2000, ge=0.001, le=100_000, description="a number of megabytes from 0.001 to 100000")
    training_files: int = Field(2000, ge=1, le=100_000, description="a whole number from 1 to 100000")
    cors_origins: Annotated[str, AfterValidator(_origins)] = Field(
        "", description="sites such as https://shop.example, separated by commas, each with its scheme and without a path; or *"
    )
    allowed_hosts: Annotated[str, AfterValidator(_hosts)] = Field(
        "", description="names of this server such as art.example.com, separated by commas, without scheme and port; empty for all"
    )


@dataclass(frozen=True, slots=True)
class Pod:
    """What every process of the pod works with, read once at its start."""

    environment: PodEnvironment
    settings: Settings

    @property
    def jobs_folder(self) -> Path:
        """Holds a folder for each job."""
        return self.environment.output_dir

    @property
    def own_folder(self) -> Path:
        """What belongs to no single job: the database, locks, uploads that are under way."""
        return self.environment.output_dir / ".server"

    @property
    def metrics_folder(self) -> Path:
        """Where the processes count: in shared memory if possible, because a process that writes to a mapped file is killed when the disk
        is full."""
        shared = Path("/dev/shm")
        if not os.access(shared, os.W_OK):
            return self.own_folder / "metrics"
        name = hashlib.sha256(str(self.jobs_folder.resolve()).encode()).hexdigest()[:16]
        return shared / f"vehicle-vector-{os.getuid()}-{name}"

    @property
    def database(self) -> Path:
        """The one shared state."""
        return self.own_folder / "jobs.sqlite"

    @property
    def training_folder(self) -> Path:
        """The pairs to train with, and the log of the training."""
        return self.own_folder / "training"

    @property
    def max_bytes(self) -> int:
        """The largest picture file."""
        return int(self.environment.max_input_mb * 1e6)


def read(values: Mapping[str, str] | None = None) -> Pod:
    """The settings of this process (`values` in place of its environment, for tests); makes the pod's folders.

    Raises `SettingsError`, one sentence that names the variable or the path of the setting.
    """
    found = environment_of(PodEnvironment, values)
    pod = Pod(found, load(found.pipeline_config))
    check_output_folder(found)
    try:
        pod.own_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        sentence = f"Environment variable OUTPUT_DIR must be a folder that can be written to; {pod.jobs_folder} cannot: {error.strerror}."
        raise SettingsError(sentence) from None
    if not os.access(pod.own_folder, os.W_OK):
        raise SettingsError(f"Environment variable OUTPUT_DIR must be a folder that can be written to; {pod.own_folder} cannot.")
    return pod
