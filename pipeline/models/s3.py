"""Models in S3, or in anything that speaks its protocol (AWS_ENDPOINT_URL).

Credentials, region and endpoint are found by boto3 itself, as AWS's own tools do.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from pipeline.models.cache import Advance, RemoteFile
from pipeline.models.errors import NoModel, Unreachable


@frozen(eq=False)
class S3Store:
    """``s3://bucket/prefix`` as a :class:`pipeline.models.cache.Store`."""

    bucket: str
    prefix: str  # "" or ending in "/"
    client: Any  # boto3 has no types

    @property
    def source(self) -> str:
        """The place as a URL that may be shown."""
        return f"s3://{self.bucket}/{self.prefix}"

    def files(self) -> Sequence[RemoteFile]:
        """All objects below the prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.prefix
        )
        try:
            found = [
                RemoteFile(item["Key"][len(self.prefix) :], int(item["Size"]), str(item["ETag"]))
                for page in pages
                for item in page.get("Contents", ())
                if not item["Key"].endswith("/")
            ]
        except Exception as error:
            raise _explain(error, self.source) from error
        if not found:
            raise NoModel(f"{self.source} holds nothing")
        return found

    def fetch(self, name: str, target: Path, advance: Advance) -> None:
        """Write one object to ``target``."""
        try:
            self.client.download_file(
                self.bucket, self.prefix + name, str(target), Callback=advance
            )
        except OSError:
            raise
        except Exception as error:
            raise _explain(error, self.source + name) from error


def open_s3(url: str) -> S3Store:
    """The store behind ``s3://bucket/prefix``.

    Raises:
        NoModel: boto3 is missing, or the URL names no bucket.
    """
    try:
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415 (an extra)
    except ImportError:
        raise NoModel(
            f"MODEL_PATH={url} needs boto3: install the extra, pip install 'penstock[s3]'"
        ) from None
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not bucket:
        raise NoModel(f"MODEL_PATH={url} names no bucket: it must be s3://bucket/prefix")
    prefix = prefix.strip("/")
    try:
        client = boto3.Session().client("s3")
    except Exception as error:
        raise _explain(error, url) from error
    return S3Store(bucket, f"{prefix}/" if prefix else "", client)


def _explain(error: Exception, where: str) -> NoModel:
    """One line for what boto3 raised; its classes are told apart by name and code."""
    response = getattr(error, "response", None)
    code = str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
    if code in {"NoSuchBucket", "NoSuchKey", "404"}:
        return NoModel(f"{where} does not exist ({code})")
    if code in {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch"}:
        return NoModel(f"{where}: permission denied ({code}); check the AWS credentials")
    kind = type(error).__name__
    if kind in {"NoCredentialsError", "PartialCredentialsError"}:
        return NoModel(f"{where}: no AWS credentials found")
    if kind.endswith(("ConnectionError", "TimeoutError", "ConnectionClosedError")):
        return Unreachable(f"{where}: S3 does not answer ({kind})")
    return NoModel(f"{where}: {kind}: {error}")
