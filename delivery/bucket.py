"""Which bucket, and how it is addressed (path or virtual, region), as a value: the deployment's, or that of a job's own `s3Config`."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from pipeline.errors import Code, JobError
from pipeline.intake.addresses import BUCKET_NAME, is_base

MAX_URL_EXPIRY_SECONDS = 7 * 24 * 3600  # signature version 4 allows no more
DEFAULT_REGION = "us-east-1"

#: Where an address has the bucket's name: in its path (`https://host/NAME/key`), or before its host (`https://NAME.host/key`).
Addressed: TypeAlias = Literal["path", "virtual"]
Addressing: TypeAlias = Literal["auto", "path", "virtual"]

#: A name that can stand before a host, as botocore sees it; dots are allowed only where no certificate has to fit.
_HOST_LABELS = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_S3_CONFIG_KEYS = ("accessId", "accessSecret", "bucketName", "endpointUrl")
_S3_CONFIG_OPTIONAL = ("addressing",)
#: Services that refuse addresses with the name in the path: Alibaba OSS, Tencent COS, Volcengine and BytePlus TOS.
_VIRTUAL_HOSTS = (".aliyuncs.com", ".myqcloud.com", ".volces.com", ".bytepluses.com")
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

    `endpoint_url` None is AWS; `region` None is derived (`signing_region`), and so is what `addressing` leaves open (`addressing_of`).
    Timeouts are seconds per wait, `max_attempts` counts the first one, `seconds` bound a whole delivery or fetch. `deployments`: the
    worker's own bucket, not one that a job brought; `allow_private`: its addresses may be private.
    """

    endpoint_url: str | None
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    name: str
    region: str | None = None
    prefix: str = ""
    url_expiry_seconds: int = MAX_URL_EXPIRY_SECONDS
    public_base_url: str | None = None
    addressing: Addressing = "auto"
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
    url_expiry_seconds: int,
    region: str | None = None,
    prefix: str = "",
    public_base_url: str | None = None,
    addressing: Addressing = "auto",
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
    fault = _fault(name, endpoint_url or None, addressing, ("BUCKET_NAME", "BUCKET_ENDPOINT_URL", "BUCKET_ADDRESSING"))
    if fault:
        raise JobError(Code.DELIVERY_FAILED, fault)
    endpoint, addressing = plain_endpoint(endpoint_url, name, addressing) if endpoint_url else (None, addressing)
    return Bucket(
        endpoint,
        access_key,
        secret_key,
        name,
        region or None,
        prefix.strip("/"),
        url_expiry_seconds,
        public_base_url or None,
        addressing,
    )


def bucket_from_s3_config(
    config: object,
    *,
    check_endpoint: Callable[[str], None],
    url_expiry_seconds: int,
    allow_private: bool = False,
    prefix: str = "",
) -> Bucket:
    """A job's own bucket from its top-level `s3Config {accessId, accessSecret, bucketName, endpointUrl}`, maybe with `addressing`.

    `check_endpoint` is called with the URL that requests will go to and refuses (by raising) addresses that jobs may not reach, early;
    every later connection is checked again unless `allow_private`. The deployment's region, addressing and public address are not taken
    over: they belong to another bucket. `INVALID_INPUT` names unknown, missing and ill-typed keys, never a value.
    """
    known = (*_S3_CONFIG_KEYS, *_S3_CONFIG_OPTIONAL)
    if not isinstance(config, Mapping):
        raise JobError(Code.INVALID_INPUT, f"s3Config must be an object with the keys {', '.join(_S3_CONFIG_KEYS)}.")
    unknown = sorted("".join(c if c.isprintable() else "?" for c in str(key)[:40]) for key in config if key not in known)[:5]
    if unknown:
        raise JobError(Code.INVALID_INPUT, f"s3Config has unknown keys ({', '.join(unknown)}); it takes {', '.join(known)}.")
    missing = [key for key in _S3_CONFIG_KEYS if key not in config]
    if missing:
        raise JobError(Code.INVALID_INPUT, f"s3Config lacks {', '.join(missing)}.")
    wrong = [key for key in known if key in config and (not isinstance(config[key], str) or not config[key].strip())]
    if wrong:
        raise JobError(Code.INVALID_INPUT, f"s3Config.{wrong[0]} must be a string that is not empty.")
    access_key, secret_key, name, endpoint = (config[key].strip() for key in _S3_CONFIG_KEYS)
    said = config.get("addressing", "auto").strip().lower()
    addressing: Addressing | None = next((each for each in get_args(Addressing) if each == said), None)
    if addressing is None:
        raise JobError(Code.INVALID_INPUT, "s3Config.addressing must be auto, path or virtual.")
    fault = _fault(name, endpoint, addressing, ("s3Config.bucketName", "s3Config.endpointUrl", "s3Config.addressing"))
    if fault:
        raise JobError(Code.INVALID_INPUT, fault)
    plain, addressing = plain_endpoint(endpoint, name, addressing)
    bucket = Bucket(
        plain,
        access_key,
        secret_key,
        name,
        prefix=prefix.strip("/"),
        url_expiry_seconds=url_expiry_seconds,
        addressing=addressing,
        deployments=False,
        allow_private=allow_private,
    )
    check_endpoint(plain if addressing_of(bucket) == "path" else plain.replace("://", f"://{name}.", 1))
    return bucket


def _fault(name: str, endpoint: str | None, addressing: Addressing, called: tuple[str, str, str]) -> str | None:
    """What is wrong with a bucket's name, endpoint or addressing, in words that repeat none; `called` is what the user calls them."""
    if not re.fullmatch(BUCKET_NAME, name):
        return f"{called[0]} is not a bucket's name: 2 to 255 letters, digits, dots, hyphens and underscores."
    if endpoint is not None and not is_base(endpoint):
        return f"{called[1]} must be an http or https URL of a host, without user, query and fragment."
    if addressing == "virtual" and not _before_host(name, endpoint):
        return (
            f"{called[2]} cannot be virtual: {called[0]} must be 3 to 63 small letters, digits and hyphens, and {called[1]} "
            "must name a host, not an IP address; path may serve."
        )
    return None


def _before_host(name: str, endpoint: str | None) -> bool:
    """Whether the bucket's name can stand before the service's host."""
    parts = urlsplit(endpoint or "https://s3.amazonaws.com")
    try:
        ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        return _HOST_LABELS.fullmatch(name) is not None and ".." not in name and (parts.scheme == "http" or "." not in name)
    return False


def plain_endpoint(endpoint: str, name: str, addressing: Addressing = "auto") -> tuple[str, Addressing]:
    """The service's own endpoint where `endpoint` was given with the bucket as the end of its path or in front of its host.

    Services show both forms in their consoles (`https://NAME.s3.eu-west-1.amazonaws.com`, `https://host/NAME`); taken
    literally, they would name the bucket twice. Where nothing else was said, the addressing is the one that the endpoint shows.
    A host that begins with the name by chance is kept by giving the name in the path as well.
    """
    parts = urlsplit(endpoint)
    host, path = parts.netloc.lower(), parts.path.rstrip("/")
    if path.endswith(f"/{name}"):
        return f"{parts.scheme}://{host}{path.removesuffix(f'/{name}')}", "path" if addressing == "auto" else addressing
    bare = host.removeprefix(f"{name.lower()}.")
    if bare == host or "." not in bare or _region_in(host):
        return f"{parts.scheme}://{host}{path}", addressing
    plain = f"{parts.scheme}://{bare}{path}"
    return plain, "virtual" if addressing == "auto" and _before_host(name, plain) else addressing


def addressing_of(bucket: Bucket) -> Addressed:
    """Where requests and signed URLs have the bucket's name.

    Left open, it is before the host at AWS and at services that know nothing else, and in the path where any other endpoint is given:
    self-hosted services have no wildcard names.
    """
    if bucket.addressing != "auto":
        return bucket.addressing
    host = urlsplit(bucket.endpoint_url).hostname if bucket.endpoint_url else None
    return "virtual" if host is None or host.endswith(_VIRTUAL_HOSTS) else "path"


def _region_in(host: str) -> str | None:
    """The region that a service's host tells."""
    return next((found[1] for pattern in _REGION_IN_HOST if (found := pattern.fullmatch(host))), None)


def signing_region(bucket: Bucket) -> str:
    """The region that requests are signed for: the one given; else what the endpoint tells; else us-east-1.

    Cloudflare R2 and Google take `auto`; RunPod's volumes want the data centre's id in capitals (`s3api-eu-ro-1` →
    `EU-RO-1`); AWS, Backblaze, Wasabi, Scaleway and DigitalOcean carry theirs in the host name.
    """
    return bucket.region or region_of(bucket.endpoint_url)


def region_of(endpoint: str | None) -> str:
    """`signing_region` where none is given."""
    host = (urlsplit(endpoint).hostname or "") if endpoint else ""
    if host.endswith(_AUTO_HOSTS):
        return "auto"
    runpod = _RUNPOD_HOST.fullmatch(host)
    if runpod:
        return runpod[1].upper()
    return _region_in(host) or DEFAULT_REGION
