"""Artifacts, keys, buckets and inline delivery: no service needed."""

import base64
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery import Artifact, Bucket, bucket_from_s3_config, configured_bucket, deliver_inline, s3_urls
from delivery.bucket import signing_region
from pipeline.errors import Code, JobError
from pipeline.stored_keys import safe_prefix

S3_CONFIG = {"accessId": "AKIA-id", "accessSecret": "s3cr3t", "bucketName": "pictures", "endpointUrl": "https://s3.example"}


def accept(_: str) -> None:
    return None


@pytest.mark.parametrize("text", ["job-1", "orders/42", "a b/c", "ü/漢", "a..b", "x" * 200, "u1-9f/..."])
def test_safe_prefixes_pass_unchanged(text: str) -> None:
    assert safe_prefix(text) == text


BAD_PREFIXES = ["", "..", ".", "../a", "a/../b", "a/./b", "/a", "a/", "a//b", "a\\b", " ", "a/ /b", "a/.. /b"]
BAD_PREFIXES += ["a\tb", "a\nb", "a\0b", "a\x7fb", "a\u202eb", "a\u200bb", "a\u00a0b", "a\u2028b", "\ud800"]


@pytest.mark.parametrize("text", [*BAD_PREFIXES, "x" * 201, "/".join(["abc"] * 150)])
def test_unsafe_prefixes_are_refused(text: str) -> None:
    with pytest.raises(JobError, match="INVALID_INPUT: output_prefix"):
        safe_prefix(text)


@given(st.text())
def test_what_is_safe_stays_inside_the_folder(text: str) -> None:
    try:
        safe_prefix(text)
    except JobError as error:
        assert error.code is Code.INVALID_INPUT
    else:
        root = Path("/root/of/all")
        assert (root / text).resolve().is_relative_to(root) and (root / text).resolve() != root


def test_artifact_names_are_plain() -> None:
    assert Artifact.of("illustration.svg", b"").content_type == "image/svg+xml"
    for name in ("../x.svg", "a/b.svg", "noending", "A.SVG", ""):
        with pytest.raises(ValueError, match="artifact name"):
            Artifact(name, "image/png", b"")


def test_inline_is_a_data_uri() -> None:
    urls = deliver_inline([Artifact.of("report.html", "é".encode()), Artifact.of("preview.png", b"123")])
    assert urls == {"report.html": "data:text/html;charset=utf-8;base64,w6k=", "preview.png": "data:image/png;base64,MTIz"}


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 1000])
def test_inline_limit_counts_the_encoded_size(size: int) -> None:
    artifacts = [Artifact.of("preview.png", b"x" * size), Artifact.of("labels.png", b"yy")]
    encoded = sum(len(url) for url in deliver_inline(artifacts).values())
    assert deliver_inline(artifacts, limit=encoded)
    with pytest.raises(JobError, match="OUTPUT_TOO_LARGE"):
        deliver_inline(artifacts, limit=encoded - 1)


def test_inline_default_limit() -> None:
    assert base64.b64decode(deliver_inline([Artifact.of("preview.png", b"x" * 5_900_000)])["preview.png"].partition(",")[2])
    with pytest.raises(JobError, match=r"OUTPUT_TOO_LARGE: The files come to 8\.3 MB inside the answer and 8 MB is the limit"):
        deliver_inline([Artifact.of("preview.png", b"x" * 6_200_000)])


def test_two_artifacts_of_one_name_are_a_bug() -> None:
    with pytest.raises(ValueError, match="same name"):
        deliver_inline([Artifact.of("preview.png", b"1"), Artifact.of("preview.png", b"2")])


def test_s3_config() -> None:
    seen: list[str] = []
    bucket = bucket_from_s3_config(S3_CONFIG, check_endpoint=seen.append, prefix="/p/", url_expiry_seconds=60)
    theirs = {"deployments": False, "allow_private": False}
    assert bucket == Bucket("https://s3.example", "AKIA-id", "s3cr3t", "pictures", prefix="p", url_expiry_seconds=60, **theirs)
    assert seen == ["https://s3.example"]
    assert "s3cr3t" not in repr(bucket) and "AKIA-id" not in repr(bucket)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (None, "accessId, accessSecret, bucketName, endpointUrl"),
        ("s3://x", "must be an object"),
        ([], "must be an object"),
        ({}, "lacks accessId, accessSecret, bucketName, endpointUrl"),
        ({**S3_CONFIG, "region": "eu"}, "unknown keys \\(region\\)"),
        ({k: v for k, v in S3_CONFIG.items() if k != "accessSecret"}, "lacks accessSecret"),
        ({**S3_CONFIG, "accessId": 7}, "s3Config.accessId must be a string"),
        ({**S3_CONFIG, "accessSecret": " "}, "s3Config.accessSecret must be a string"),
        ({**S3_CONFIG, "addressing": "dns"}, "s3Config.addressing must be auto, path or virtual"),
        ({**S3_CONFIG, "addressing": True}, "s3Config.addressing must be a string"),
        ({**S3_CONFIG, "addressing": "virtual", "endpointUrl": "http://127.0.0.1:9000"}, "s3Config.addressing cannot be virtual"),
        ({**S3_CONFIG, "addressing": "virtual", "endpointUrl": "https://[2001:db8::1]"}, "s3Config.addressing cannot be virtual"),
        ({**S3_CONFIG, "addressing": "virtual", "bucketName": "Pic_tures"}, "s3Config.addressing cannot be virtual"),
        ({**S3_CONFIG, "addressing": "virtual", "bucketName": "pic.tures"}, "s3Config.addressing cannot be virtual"),
        ({**S3_CONFIG, "bucketName": "a/b"}, "s3Config.bucketName"),
        ({**S3_CONFIG, "bucketName": "../x"}, "s3Config.bucketName"),
        ({**S3_CONFIG, "endpointUrl": "ftp://s3.example"}, "s3Config.endpointUrl"),
        ({**S3_CONFIG, "endpointUrl": "file:///etc/passwd"}, "s3Config.endpointUrl"),
        ({**S3_CONFIG, "endpointUrl": "https://user:pw@s3.example"}, "s3Config.endpointUrl"),
        ({**S3_CONFIG, "endpointUrl": "https://s3.example/?x=1"}, "s3Config.endpointUrl"),
        ({**S3_CONFIG, "endpointUrl": "https://s3.example:99999"}, "s3Config.endpointUrl"),
        ({**S3_CONFIG, "endpointUrl": "https://s3.example:"}, "s3Config.endpointUrl"),
        ({**S3_CONFIG, "endpointUrl": "https://https://s3.example"}, "s3Config.endpointUrl"),
        ({**S3_CONFIG, "endpointUrl": "https://s3..example"}, "s3Config.endpointUrl"),
        ({**S3_CONFIG, "endpointUrl": "https://s3 .example"}, "s3Config.endpointUrl"),
        ({**S3_CONFIG, "endpointUrl": "s3.example"}, "s3Config.endpointUrl"),
        ({**S3_CONFIG, "endpointUrl": "https:s3.example"}, "s3Config.endpointUrl"),
        ({**S3_CONFIG, "endpointUrl": "https://[::1"}, "s3Config.endpointUrl"),
    ],
)
def test_bad_s3_config_names_the_key_and_no_value(config: object, named: str) -> None:
    with pytest.raises(JobError, match=f"INVALID_INPUT: .*{named}") as failed:
        bucket_from_s3_config(config, check_endpoint=accept, url_expiry_seconds=60)
    for value in ("AKIA-id", "s3cr3t", "pictures", "s3.example", "pw@", "passwd"):
        assert value not in failed.value.sentence


def test_s3_config_endpoint_passes_the_callers_check() -> None:
    def refuse(url: str) -> None:
        raise JobError(Code.INPUT_FORBIDDEN, "That address is private.")

    with pytest.raises(JobError, match="INPUT_FORBIDDEN"):
        bucket_from_s3_config({**S3_CONFIG, "endpointUrl": "http://169.254.169.254"}, check_endpoint=refuse, url_expiry_seconds=60)


def test_configured_bucket() -> None:
    nothing = {"url_expiry_seconds": 60, "endpoint_url": None, "access_key": None, "secret_key": "", "name": None}
    assert configured_bucket(**nothing) is None
    whole = {"url_expiry_seconds": 60, "endpoint_url": "", "access_key": "a", "secret_key": "hidden", "name": "pictures"}
    bucket = configured_bucket(**whole, prefix="x/", public_base_url="")
    assert bucket == Bucket(None, "a", "hidden", "pictures", prefix="x", url_expiry_seconds=60)
    with pytest.raises(JobError, match=r"DELIVERY_FAILED: .*set BUCKET_ACCESS_KEY_ID, BUCKET_SECRET_ACCESS_KEY, BUCKET_NAME"):
        configured_bucket(**{**nothing, "endpoint_url": "https://s3.example"})
    with pytest.raises(JobError, match=r"DELIVERY_FAILED: .*set BUCKET_SECRET_ACCESS_KEY\."):
        configured_bucket(**{**whole, "secret_key": None})


@pytest.mark.parametrize("seconds", [0, -1, 7 * 24 * 3600 + 1])
def test_expiry_is_limited(seconds: int) -> None:
    with pytest.raises(ValueError, match="url_expiry_seconds"):
        Bucket(None, "a", "b", "c", url_expiry_seconds=seconds)


OWN, OSS = "s3.eu-west-1.amazonaws.com", "oss-cn-hangzhou.aliyuncs.com"


@pytest.mark.parametrize(
    ("endpoint", "addressing", "address"),
    [
        (None, "auto", "https://pictures.s3.eu-west-1.amazonaws.com"),
        (None, "virtual", "https://pictures.s3.eu-west-1.amazonaws.com"),
        (None, "path", "https://s3.eu-west-1.amazonaws.com/pictures"),
        ("https://s3.example", "auto", "https://s3.example/pictures"),
        ("https://s3.example/", "path", "https://s3.example/pictures"),
        ("https://s3.example", "virtual", "https://pictures.s3.example"),
        ("HTTPS://S3.Example:9000/", "virtual", "https://pictures.s3.example:9000"),
        ("https://s3.example:9000/pictures/", "auto", "https://s3.example:9000/pictures"),
        ("https://s3.example:9000/pictures/", "path", "https://s3.example:9000/pictures"),
        ("https://s3.example:9000/pictures", "virtual", "https://pictures.s3.example:9000"),
        (f"https://pictures.{OWN}", "auto", f"https://pictures.{OWN}"),
        (f"https://pictures.{OWN}", "virtual", f"https://pictures.{OWN}"),
        (f"https://pictures.{OWN}", "path", f"https://{OWN}/pictures"),
        (f"https://PICTURES.{OWN}/", "auto", f"https://pictures.{OWN}"),
        ("http://pictures.oss.localhost:8912", "auto", "http://pictures.oss.localhost:8912"),
        (f"https://{OSS}", "auto", f"https://pictures.{OSS}"),
        (f"https://{OSS}", "path", f"https://{OSS}/pictures"),
        (f"https://pictures.{OSS}", "auto", f"https://pictures.{OSS}"),
        ("https://cos.ap-guangzhou.myqcloud.com", "auto", "https://pictures.cos.ap-guangzhou.myqcloud.com"),
        ("https://tos-s3-cn-beijing.volces.com", "auto", "https://pictures.tos-s3-cn-beijing.volces.com"),
        ("https://example.com/storage/v1/s3", "auto", "https://example.com/storage/v1/s3/pictures"),
        ("https://example.com/storage/v1/s3/pictures", "auto", "https://example.com/storage/v1/s3/pictures"),
        ("https://pictures.example.com/pictures", "auto", "https://pictures.example.com/pictures"),  # the host is so called by chance
        ("http://pictures.local", "auto", "http://pictures.local/pictures"),
        ("http://127.0.0.1:9000", "auto", "http://127.0.0.1:9000/pictures"),
        ("http://[::1]:9000", "path", "http://[::1]:9000/pictures"),
    ],
)
def test_every_address_names_the_bucket_once(endpoint: str | None, addressing: str, address: str) -> None:
    """The deployment's own and a job's, in signed URLs as in requests, for both are made by the same client."""
    keys = {"access_key": "a", "secret_key": "b", "name": "pictures", "region": "eu-west-1", "url_expiry_seconds": 60}
    bucket = configured_bucket(endpoint_url=endpoint, addressing=addressing, **keys)
    assert s3_urls(["preview.png"], bucket, "j")["preview.png"].startswith(f"{address}/j/preview.png?")
    if endpoint is None:
        return
    checked: list[str] = []
    config = {**S3_CONFIG, "endpointUrl": endpoint, "addressing": addressing.upper()}
    bucket = bucket_from_s3_config(config, check_endpoint=checked.append, url_expiry_seconds=60)
    assert s3_urls(["preview.png"], bucket, "j")["preview.png"].startswith(f"{address}/j/preview.png?")
    assert checked[0].rstrip("/") == address.removesuffix("/pictures")


@pytest.mark.parametrize("name", ["pic.tures", "Pictures", "pic_tures"])
def test_a_name_that_is_no_host_goes_into_the_path_by_itself(name: str) -> None:
    given = {"access_key": "a", "secret_key": "b", "url_expiry_seconds": 60}
    for endpoint in ("https://s3.example", f"https://{name}.s3.example", f"https://s3.example/{name}"):
        bucket = configured_bucket(endpoint_url=endpoint, name=name, **given)
        assert s3_urls(["preview.png"], bucket, "j")["preview.png"].startswith(f"https://s3.example/{name}/j/preview.png?")
    with pytest.raises(JobError, match="BUCKET_ADDRESSING cannot be virtual"):
        configured_bucket(endpoint_url="https://s3.example", name=name, addressing="virtual", **given)
    with pytest.raises(JobError, match="BUCKET_ADDRESSING cannot be virtual"):
        configured_bucket(endpoint_url=None, name=name, addressing="virtual", **given)


@pytest.mark.parametrize(
    ("endpoint", "given_region", "region"),
    [
        (None, None, "us-east-1"),
        (None, "eu-west-3", "eu-west-3"),
        ("https://s3.eu-central-1.amazonaws.com", None, "eu-central-1"),
        ("https://s3.amazonaws.com", None, "us-east-1"),
        ("https://0123456789abcdef.r2.cloudflarestorage.com", None, "auto"),
        ("https://0123456789abcdef.eu.r2.cloudflarestorage.com", None, "auto"),
        ("https://storage.googleapis.com", None, "auto"),
        ("https://s3api-eu-ro-1.runpod.io", None, "EU-RO-1"),
        ("https://s3api-eu-ro-1.runpod.io", "other", "other"),
        ("https://s3.us-west-004.backblazeb2.com", None, "us-west-004"),
        ("https://s3.eu-central-2.wasabisys.com", None, "eu-central-2"),
        ("https://fra1.digitaloceanspaces.com", None, "fra1"),
        ("http://127.0.0.1:9000", None, "us-east-1"),
    ],
)
def test_signing_region(endpoint: str | None, given_region: str | None, region: str) -> None:
    assert signing_region(Bucket(endpoint, "a", "b", "c", given_region)) == region


def test_importing_delivery_imports_no_boto3() -> None:
    program = "import delivery, sys; sys.exit(any(m in sys.modules for m in ('boto3', 'botocore', 'torch', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], check=False).returncode == 0
