"""How a store that speaks S3 is reached: where buckets are, by which address, with how many connections and tries.

Credentials come from the standard AWS chain alone: environment, profile, role. No setting holds any.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from workflow_scripts.core.storage.s3_errors import explain

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SCHEME = "s3://"
READS_AT_ONCE = 32  # a read waits some 20-100 ms for its first byte; threads that wait cost little
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")


@dataclass(frozen=True)
class S3Options:
    """How to reach a store.

    Attributes:
        region: of the bucket; None leaves it to the AWS configuration.
        endpoint_url: None is Amazon's.
        addressing: where the bucket stands in URLs: `path`, `virtual` host, or what suits the endpoint.
    """

    region: str | None = None
    endpoint_url: str | None = None
    addressing: Literal["auto", "path", "virtual"] = "auto"

    def __post_init__(self) -> None:
        """One way to write an endpoint, so that the same store is known as the same."""
        object.__setattr__(self, "endpoint_url", (self.endpoint_url or "").rstrip("/") or None)


def is_bucket(location: str) -> bool:
    """Whether a location names a bucket."""
    return location.startswith(SCHEME)


def parse_location(location: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket/prefix/`; the prefix is empty or ends with one `/`.

    Raises:
        ValueError: there is no bucket in it, or what cannot be one.
    """
    bucket, _, prefix = location.removeprefix(SCHEME).partition("/")
    if not is_bucket(location) or not _BUCKET.fullmatch(bucket):
        # Not repeated in the message: somebody may have put a key and a secret before the bucket.
        raise ValueError("write s3://bucket/prefix/, with a name that a bucket can have and nothing before it")
    return bucket, f"{prefix.strip('/')}/".lstrip("/")


@lru_cache
def client_of(options: S3Options) -> "S3Client":
    """One client for all threads: its pool keeps connections, and making one costs 0.2 s."""
    # Imported here: steps that touch no bucket start without it.
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    # Amazon's links must be of the region's own address: newer regions do not answer at the global one, which `auto` signs for.
    style: Any = {"auto": "path" if options.endpoint_url else "virtual"}.get(options.addressing, options.addressing)
    config = Config(
        # The newer modes let all threads share a store of retries, which a second without the network uses up.
        retries={"mode": "legacy", "total_max_attempts": 6},
        s3={"addressing_style": style},
        signature_version="s3v4",
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=2 * READS_AT_ONCE,
        # Many stores that speak S3 do not know the checksums that Amazon added later; TLS and ETags guard the content.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        return boto3.session.Session().client("s3", region_name=options.region, endpoint_url=options.endpoint_url, config=config)
    except (BotoCoreError, ValueError) as error:
        raise explain(error, options.endpoint_url or "S3", of_object=False) from error
