"""What an S3 service's refusal or silence means for a caller: one sentence without secrets, URLs or a service's own prose."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from delivery.bucket import Bucket
from pipeline.errors import Code, JobError

_VIRTUAL = "let addresses begin with the bucket's name: BUCKET_ADDRESSING=virtual, or addressing in s3Config"
_ADVICE = {
    "AccessDenied": "let the key read, write and delete objects there",
    "403": "let the key read, write and delete objects there",
    "NoSuchBucket": "check the bucket's name and endpoint",
    "InvalidAccessKeyId": "check the access key",
    "SignatureDoesNotMatch": "check the secret key and BUCKET_REGION",
    "AuthorizationHeaderMalformed": "check BUCKET_REGION",
    "PermanentRedirect": "check the endpoint and BUCKET_REGION",
    "SecondLevelDomainForbidden": _VIRTUAL,  # Alibaba
    "PathStyleDomainForbidden": _VIRTUAL,  # Tencent
    "VirtualHostDomainRequired": _VIRTUAL,  # Huawei
    "InvalidPathAccess": _VIRTUAL,  # Volcengine, BytePlus
    **dict.fromkeys(("301", "302", "307", "308"), "redirects are not followed, so give the endpoint's final address"),
    "RequestTimeTooSkewed": "set the worker's clock",
    "PreconditionFailed": "an object that the key may not read is there already; choose another output_prefix",
    "NotImplemented": "let the key read objects there, so that an earlier delivery can be put back",
}
_SILENCE = {
    "ConnectTimeoutError": "does not accept connections in time",
    "ReadTimeoutError": "does not answer in time",
    "EndpointConnectionError": "cannot be reached",
    "ConnectionClosedError": "closes the connection",
    "SSLError": "has no valid certificate",
    "ProxyConnectionError": "cannot be reached through the proxy",
}


@contextmanager
def answered(say: Callable[[Exception], JobError]) -> Iterator[None]:
    """Turn botocore's errors into the `JobError` that `say` makes of them; everything else passes."""
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError  # noqa: PLC0415

    try:
        yield
    except (BotoCoreError, ClientError, HTTPClientError) as error:
        # `from None`: botocore's texts hold whole URLs, and a chained traceback would carry them into the log
        raise say(error) from None


def error_code(error: Exception) -> str | None:
    """The service's error code, such as `NoSuchBucket`; None when there was no answer.

    What does not look like a code is not repeated: with a job's own endpoint, anybody may have written it.
    """
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return None
    code = str(response.get("Error", {}).get("Code", ""))
    return code if re.fullmatch(r"[A-Za-z0-9.]{1,64}", code) else "an unknown error"


def delivery_failed(error: Exception, bucket: Bucket) -> JobError:
    """`DELIVERY_FAILED`: the bucket's name and what its service said; fatal where that was a refusal, which another try cannot mend."""
    return JobError(Code.DELIVERY_FAILED, f"{_told(error, bucket)}.", fatal=_refused(error))


def _refused(error: Exception) -> bool:
    """Whether the service has answered with a 4xx other than those that ask to wait."""
    response = getattr(error, "response", None)
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) if isinstance(response, dict) else 0
    return 400 <= status < 500 and status not in (408, 409, 425, 429)


def input_failed(error: Exception, bucket: Bucket) -> JobError:
    """`INPUT_FORBIDDEN` where the service refuses the key, else `INPUT_UNREACHABLE`."""
    code = error_code(error)
    if code in {"NoSuchKey", "404"}:
        return JobError(Code.INPUT_UNREACHABLE, f"The bucket {bucket.name} holds no object of that key (NoSuchKey).")
    refused = {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed"}
    return JobError(Code.INPUT_FORBIDDEN if code in refused else Code.INPUT_UNREACHABLE, f"{_told(error, bucket)}.")


def _told(error: Exception, bucket: Bucket) -> str:
    code = error_code(error)
    if code is None:
        kind = next((cls.__name__ for cls in type(error).__mro__ if cls.__name__ in _SILENCE), "")
        return f"The service of the bucket {bucket.name} {_SILENCE.get(kind, f'could not be used ({type(error).__name__})')}"
    advice = _ADVICE.get(code)
    return f"The bucket {bucket.name} answered {code}" + (f": {advice}" if advice else "")
