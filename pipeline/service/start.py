"""What a process builds once, at its start, for every job."""

from dataclasses import dataclass

import structlog

from delivery import Bucket, configured_bucket
from pipeline import engines
from pipeline.intake.photo import Limits
from pipeline.settings import Environment, Settings
from pipeline.steps import Steps

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Worker:
    """What a process needs for every job, built once at start-up."""

    environment: Environment
    settings: Settings
    steps: Steps
    bucket: Bucket | None

    @property
    def limits(self) -> Limits:
        """What one picture may cost."""
        given = self.settings.input
        return Limits(int(self.environment.max_input_mb * 1e6), given.max_pixels, given.max_side, given.decode_seconds)


def bucket_of(environment: Environment) -> Bucket | None:
    """The bucket that the environment configures, or None. Raises `DELIVERY_FAILED` (half a bucket)."""
    secret = environment.bucket_secret_access_key
    return configured_bucket(
        endpoint_url=environment.bucket_endpoint_url,
        access_key=environment.bucket_access_key_id,
        secret_key=secret.get_secret_value() if secret else None,
        name=environment.bucket_name,
        region=environment.bucket_region,
        prefix=environment.bucket_prefix,
        url_expiry_seconds=environment.url_expiry_seconds,
        public_base_url=environment.public_base_url,
        addressing=environment.bucket_addressing,
    )


def start(environment: Environment, settings: Settings) -> Worker:
    """Build the engine and read the bucket's configuration. Raises `MODELS_MISSING`, `DELIVERY_FAILED` (half a bucket)."""
    bucket = bucket_of(environment)
    steps = engines.build(environment, settings)
    log.info("engine_ready", engine=steps.name, models=dict(steps.models), expected_seconds=dict(steps.expected_seconds))
    return Worker(environment, settings, steps, bucket)
