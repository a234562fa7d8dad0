"""Artifacts to URLs: an S3 bucket, the answer itself, or a local folder; each delivery is everything or nothing.

Importing this package does not import boto3, which is slow to load: the S3 functions do so when they are called.
"""

from delivery.artifact import CONTENT_TYPES, RESULT_NAME, Artifact
from delivery.bucket import Bucket, bucket_from_s3_config, configured_bucket
from delivery.inline import INLINE_LIMIT, deliver_inline
from delivery.local import DISK_FULL, deliver_local, local_urls
from delivery.s3 import check_bucket, deliver_s3, fetch_s3, listed_s3, s3_urls

__all__ = [
    "CONTENT_TYPES",
    "DISK_FULL",
    "INLINE_LIMIT",
    "RESULT_NAME",
    "Artifact",
    "Bucket",
    "bucket_from_s3_config",
    "check_bucket",
    "configured_bucket",
    "deliver_inline",
    "deliver_local",
    "deliver_s3",
    "fetch_s3",
    "listed_s3",
    "local_urls",
    "s3_urls",
]
