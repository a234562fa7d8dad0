"""The pod's settings: the deployment's environment variables, and those that only a server has."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from pipeline.settings import Environment, Settings, SettingsError, environment_of, load

#: Seconds that a job at work may still take when the server stops, and after which a server that stops has ended.
LAST_SECONDS, STOP_SECONDS = 25.0, 30


class PodEnvironment(Environment):
    """`Environment` and the variables of the pod alone; docs/settings.md says what each means."""

    workers: int = Field(1, ge=0)
    api_key: SecretStr | None = None
    rate_limit_per_minute: int = Field(0, ge=0)
    retention_hours: float = Field(168, gt=0)
    retention_gb: float = Field(20, gt=0)
    min_free_mb: float = Field(200, ge=0)
    upload_seconds: float = Field(300, gt=0)
    kill_grace_seconds: float = Field(30, gt=0)
    cors_origins: str = ""
    allowed_hosts: str = ""

    @field_validator("api_key")
    @classmethod
    def _sendable(cls, key: SecretStr | None) -> SecretStr | None:
        """A header cannot carry anything else, and whoever asks for a key that cannot be sent locks everybody out."""
        if key is not None and not (key.get_secret_value().isascii() and key.get_secret_value().isprintable()):
            raise ValueError("must consist of printable ASCII characters")
        if key is not None and key.get_secret_value() != key.get_secret_value().strip():
            raise ValueError("must not begin or end with a space")
        return key

    @property
    def in_runpod(self) -> bool:
        """False: RunPod sets RUNPOD_POD_ID in its pods too, but a pod has a disk whose files it serves itself."""
        return False


def listed(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated variable."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


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
        """Where the processes count: in shared memory if possible, for a full disk kills who writes to a mapped file."""
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
    def max_bytes(self) -> int:
        """The largest picture file."""
        return int(self.environment.max_input_mb * 1e6)


def read(values: Mapping[str, str] | None = None) -> Pod:
    """The settings of this process (`values` in place of its environment, for tests); makes the pod's folders.

    Raises `SettingsError`, one sentence that names the variable or the path of the setting.
    """
    found = environment_of(PodEnvironment, values)
    pod = Pod(found, load(found.pipeline_config))
    try:
        pod.own_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingsError(f"Environment variable OUTPUT_DIR: {pod.jobs_folder} cannot be written to: {error.strerror}.") from None
    if not os.access(pod.own_folder, os.W_OK):
        raise SettingsError(f"Environment variable OUTPUT_DIR: {pod.jobs_folder} cannot be written to.")
    return pod
