from tests.support.s3_service import s3_service

__all__ = ["s3_service"]
