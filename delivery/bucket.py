"""Which bucket, as a value: from the deployment's settings or from a job's own `s3Config`."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pipeline.errors import Code, JobError

MAX_URL_EXPIRY_SECONDS = 7 * 24 * 3600  # signature version 4 allows no more
DEFAULT_REGION = "us-east-1"

_BUCKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_S3_CONFIG_KEYS = ("accessId", "accessSecret", "bucketName", "endpointUrl")
#: Services whose endpoint tells the region that requests must be signed for.
_REGION_IN_HOST = (
    re.compile(r"s3[.-](?:dualstack\.)?([a-z0-9-]+)\.amazonaws\.com"),
    re.compile(r"s3\.([a-z0-9-]+)\.(?:backblazeb2\.com|wasabisys\.com|scw\.cloud)"),
    re.compile(r"([a-z0-9-]+)\.digitaloceanspaces\.com"),
)
_AUTO_HOSTS = (".r2.cloudflarestorage.com", "storage.googleapis.com")
_RUNPOD_HOST = re.compile(r"s3api-([a-z0-9-]+)\.runpod\.io")


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of an S3 service and how to speak with it. Its printed form shows neither key.

    `endpoint_url` None is AWS; `region` None is derived (`signing_region`); `path_style` None means path-style addresses
    wherever an endpoint is given. Timeouts are seconds per wait, `max_attempts` counts the first one, `seconds` bound a whole
    delivery or fetch. `deployments`: the worker's own bucket, not one that a job brought; `allow_private`: its addresses may be private.
    """

    endpoint_url: str | None
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    name: str
    region: str | None = None
    prefix: str = ""
    url_expiry_seconds: int = 24 * 3600
    public_base_url: str | None = None
    path_style: bool | None = None
    connect_timeout: float = 10.0
    read_timeout: float = 20.0
    max_attempts: int = 5  # over some 8 s: a busy service asks to slow down, and the picture is drawn already
    seconds: float = 60.0
    deployments: bool = True
    allow_private: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.url_expiry_seconds <= MAX_URL_EXPIRY_SECONDS:
            raise ValueError(f"url_expiry_seconds must lie in 1..{MAX_URL_EXPIRY_SECONDS}")


def configured_bucket(
    *,
    endpoint_url: str | None,
    access_key: str | None,
    secret_key: str | None,
    name: str | None,
    region: str | None = None,
    prefix: str = "",
    url_expiry_seconds: int = 24 * 3600,
    public_base_url: str | None = None,
) -> Bucket | None:
    """The deployment's bucket; None when none of its four settings is given.

    Half a configuration is `DELIVERY_FAILED` that names the missing variables: results never land elsewhere in silence.
    """
    given = {"BUCKET_ACCESS_KEY_ID": access_key, "BUCKET_SECRET_ACCESS_KEY": secret_key, "BUCKET_NAME": name}
    if not endpoint_url and not any(given.values()):
        return None
    missing = [variable for variable, value in given.items() if not value]
    if missing or not (access_key and secret_key and name):
        raise JobError(Code.DELIVERY_FAILED, f"A bucket is configured only in part: set {', '.join(missing)}.")
    fault = _fault(name, endpoint_url or None, ("BUCKET_NAME", "BUCKET_ENDPOINT_URL"))
    if fault:
        raise JobError(Code.DELIVERY_FAILED, fault)
    endpoint = plain_endpoint(endpoint_url, name) if endpoint_url else None
    return Bucket(endpoint, access_key, secret_key, name, region or None, prefix.strip("/"), url_expiry_seconds, public_base_url or None)


def bucket_from_s3_config(
    config: object,
    *,
    check_endpoint: Callable[[str], None],
    allow_private: bool = False,
    prefix: str = "",
    url_expiry_seconds: int = 24 * 3600,
) -> Bucket:
    """A job's own bucket from its top-level `s3Config {accessId, accessSecret, bucketName, endpointUrl}`.

    `check_endpoint` is called with the endpoint's URL and refuses (by raising) addresses that jobs may not reach, early; every later
    connection is checked again unless `allow_private`. The
    deployment's region and public address are not taken over: they belong to another bucket. `INVALID_INPUT` names unknown,
    missing and ill-typed keys, never a value.
    """
    if not isinstance(config, Mapping):
        raise JobError(Code.INVALID_INPUT, f"s3Config must be an object with the keys {', '.join(_S3_CONFIG_KEYS)}.")
    unknown = sorted("".join(c if c.isprintable() else "?" for c in str(key)[:40]) for key in config if key not in _S3_CONFIG_KEYS)[:5]
    if unknown:
        raise JobError(Code.INVALID_INPUT, f"s3Config has unknown keys ({', '.join(unknown)}); it takes {', '.join(_S3_CONFIG_KEYS)}.")
    missing = [key for key in _S3_CONFIG_KEYS if key not in config]
    if missing:
        raise JobError(Code.INVALID_INPUT, f"s3Config lacks {', '.join(missing)}.")
    wrong = [key for key in _S3_CONFIG_KEYS if not isinstance(config[key], str) or not config[key].strip()]
    if wrong:
        raise JobError(Code.INVALID_INPUT, f"s3Config.{wrong[0]} must be a string that is not empty.")
    access_key, secret_key, name, endpoint = (config[key].strip() for key in _S3_CONFIG_KEYS)
    fault = _fault(name, endpoint, ("s3Config.bucketName", "s3Config.endpointUrl"))
    if fault:
        raise JobError(Code.INVALID_INPUT, fault)
    plain = plain_endpoint(endpoint, name)
    check_endpoint(plain)
    return Bucket(
        plain,
        access_key,
        secret_key,
        name,
        prefix=prefix.strip("/"),
        url_expiry_seconds=url_expiry_seconds,
        deployments=False,
        allow_private=allow_private,
    )


def _fault(name: str, endpoint: str | None, called: tuple[str, str]) -> str | None:
    """What is wrong with a bucket's name or endpoint, in words that repeat neither; `called` is what the user calls them."""
    if not _BUCKET_NAME.fullmatch(name):
        return f"{called[0]} is not a bucket's name: 2 to 255 letters, digits, dots, hyphens and underscores."
    if endpoint is None:
        return None
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        return f"{called[1]} is not a URL."
    if not usable or parts.username is not None or parts.query or parts.fragment:
        return f"{called[1]} must be an http or https URL without user, query and fragment."
    return None


def plain_endpoint(endpoint: str, name: str) -> str:
    """The service's own endpoint where `endpoint` was given with the bucket in its host name or as its path.

    Services show both forms in their consoles (`https://NAME.s3.eu-west-1.amazonaws.com`, `https://host/NAME`); taken
    literally, they would name the bucket twice.
    """
    parts = urlsplit(endpoint)
    host = parts.netloc.removeprefix(f"{name}.") if "." in parts.netloc.removeprefix(f"{name}.") else parts.netloc
    path = parts.path.strip("/")
    kept = "" if path in {"", name} else f"/{path.removesuffix('/' + name)}"
    return f"{parts.scheme}://{host}{kept}"


def signing_region(bucket: Bucket) -> str:
    """The region that requests are signed for: the one given; else what the endpoint tells; else us-east-1.

    Cloudflare R2 and Google take `auto`; RunPod's volumes want the data centre's id in capitals (`s3api-eu-ro-1` →
    `EU-RO-1`); AWS, Backblaze, Wasabi, Scaleway and DigitalOcean carry theirs in the host name.
    """
    if bucket.region:
        return bucket.region
    host = (urlsplit(bucket.endpoint_url).hostname or "") if bucket.endpoint_url else ""
    if host.endswith(_AUTO_HOSTS):
        return "auto"
    runpod = _RUNPOD_HOST.fullmatch(host)
    if runpod:
        return runpod[1].upper()
    for pattern in _REGION_IN_HOST:
        found = pattern.fullmatch(host)
        if found:
            return found[1]
    return DEFAULT_REGION
