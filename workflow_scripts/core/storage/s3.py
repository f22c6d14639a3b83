"""A prefix of a bucket as a store: Amazon S3, or whatever speaks its protocol (MinIO, Ceph, Swift, R2, …)."""

import mimetypes
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from workflow_scripts.core.storage.base import Item, Storage, StorageError, StoreError
from workflow_scripts.core.storage.s3_client import READS_AT_ONCE, SCHEME, S3Options, client_of, parse_location
from workflow_scripts.core.storage.s3_errors import NOT_S3, explain

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

COPY_WHOLE_UP_TO = 5 * 1024**3  # larger objects are copied in parts; the limit of CopyObject
PART_BYTES = 512 * 1024**2
BODY_ATTEMPTS = 4
_WRITE_CHECK = ".darkroom-write-check"
_KINDS = mimetypes.MimeTypes()  # Python's own table: the system's would differ between machines


class S3Storage:
    """The objects of a bucket whose keys start with a prefix. An item's key is its whole key in the bucket."""

    reads_at_once = READS_AT_ONCE

    def __init__(self, location: str, options: S3Options | None = None) -> None:
        """Take `s3://bucket/prefix/`; nothing is asked of the store yet."""
        self.location = location
        self.options = options or S3Options()
        self.bucket, self.prefix = parse_location(location)
        # Without the prefix: an object is the same by whichever prefix it was found.
        self.identity = f"{self.options.endpoint_url or SCHEME}/{self.bucket}"

    def prepare(self) -> None:
        """Make sure that objects can be written, without writing one: an upload in parts is begun and given up."""
        place: dict[str, Any] = {"Bucket": self.bucket, "Key": f"{self.prefix}{_WRITE_CHECK}"}
        begun = self._call("create_multipart_upload", **place)
        if "UploadId" not in begun:
            raise StoreError(f"{self.location}: {NOT_S3}")
        self._call("abort_multipart_upload", **place, UploadId=begun["UploadId"])

    def check_region(self) -> None:
        """Refuse a region that is not the bucket's: reads would be led there all the same, but links would name the wrong one."""
        if self.options.endpoint_url is None:
            found = self._call("head_bucket", Bucket=self.bucket).get("BucketRegion", self.region)
            if found != self.region:
                raise StoreError(f"{self.location}: the bucket is in another region; set region: {found}")

    def list(self) -> Iterator[Item]:
        """Every object below the prefix, page by page, in the store's order (Amazon's is that of the keys' UTF-8 bytes)."""
        pages = self._pages()
        first = next(pages)  # now, so that a wrong bucket or key is known before work starts
        return (_item(found) for page in chain([first], pages) for found in page.get("Contents", ()))

    def _pages(self) -> Iterator[Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix):
                # A web page in answer would else pass for an empty bucket.
                if "Name" not in page:
                    raise StoreError(f"{self.location}: {NOT_S3}")
                yield page
        except (BotoCoreError, ClientError, RecursionError) as error:
            raise explain(error, self.location, of_object=False) from error

    def read(self, item: Item) -> bytes:
        """The whole content, if it is still what was listed (ETag and size). A body that is cut off is asked for again."""
        from botocore.exceptions import HTTPClientError, IncompleteReadError
        from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential
        from urllib3.exceptions import HTTPError

        cut_off = (HTTPClientError, IncompleteReadError, HTTPError)  # the last: a TLS failure, which botocore passes on as it is
        attempts = Retrying(
            stop=stop_after_attempt(BODY_ATTEMPTS), wait=wait_random_exponential(0.5, max=10), retry=retry_if_exception_type(cut_off)
        )
        try:
            return attempts(self._read_once, item)
        except RetryError as error:
            raise StorageError(f"the body was cut off {BODY_ATTEMPTS} times") from error

    def _read_once(self, item: Item) -> bytes:
        answer = self._call("get_object", of_object=True, Bucket=self.bucket, Key=item.key, IfMatch=f'"{item.etag}"')
        if answer["ContentLength"] != item.size or _bare(answer["ETag"]) != item.etag:
            answer["Body"].close()
            raise StorageError("changed since listing")
        data: bytes = answer["Body"].read()
        return data

    def find(self, key: str) -> Item | None:
        """The object at this key as it is now, or None."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            found = self._client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                return None
            raise explain(error, self.location, of_object=True) from error
        except (BotoCoreError, RecursionError) as error:
            raise explain(error, self.location, of_object=True) from error
        return Item(key, found["ContentLength"], _bare(found["ETag"]), _time(found["LastModified"]))

    def copy_from(self, source: Storage, item: Item, key: str) -> Item:
        """Copy an object, within the store where both are in it: its bytes, content type and metadata; refused when it changed."""
        if not isinstance(source, S3Storage) or source.options.endpoint_url != self.options.endpoint_url:
            return self.write(key, source.read(item))
        if item.size > COPY_WHOLE_UP_TO:
            return self._copy_in_parts(source, item, key)
        answer = self._call(
            "copy_object",
            of_object=True,
            Bucket=self.bucket,
            Key=key,
            CopySource={"Bucket": source.bucket, "Key": item.key},
            CopySourceIfMatch=f'"{item.etag}"',
        )
        result = answer["CopyObjectResult"]
        return Item(key, item.size, _bare(result["ETag"]), _time(result["LastModified"]))

    def _copy_in_parts(self, source: "S3Storage", item: Item, key: str) -> Item:
        from boto3.s3.transfer import TransferConfig
        from s3transfer.exceptions import S3CopyFailedError

        # A copy in parts starts a new object, which has none of the old one's fields unless they are given.
        head = source._call("head_object", of_object=True, Bucket=source.bucket, Key=item.key, IfMatch=f'"{item.etag}"')
        fields = ("ContentType", "ContentEncoding", "ContentDisposition", "ContentLanguage", "CacheControl", "Metadata")
        kept = {name: head[name] for name in fields if head.get(name)}
        try:
            self._call(
                "copy",
                of_object=True,
                CopySource={"Bucket": source.bucket, "Key": item.key},
                Bucket=self.bucket,
                Key=key,
                ExtraArgs={**kept, "CopySourceIfMatch": f'"{item.etag}"'},
                SourceClient=source._client,
                Config=TransferConfig(multipart_threshold=COPY_WHOLE_UP_TO, multipart_chunksize=PART_BYTES),
            )
        except S3CopyFailedError as error:  # a part's condition did not hold
            raise StorageError("changed since listing") from error
        there = self.find(key)
        if there is None or there.size != item.size:
            raise StorageError("the copy is not whole")
        return there

    def write(self, key: str, data: bytes) -> Item:
        """Write an object, with the content type that its name tells."""
        answer = self._call("put_object", of_object=True, Bucket=self.bucket, Key=key, Body=data, ContentType=_content_type(key))
        return Item(key, len(data), _bare(answer["ETag"]), _time(datetime.now(UTC)))

    def put_file(self, key: str, path: Path) -> Item:
        """Write an object from a local file, a large one in parts."""
        fields = {"ContentType": _content_type(key)}
        with path.open("rb") as handle:  # `upload_file` would hide the store's error behind one of its own
            self._call("upload_fileobj", of_object=True, Fileobj=handle, Bucket=self.bucket, Key=key, ExtraArgs=fields)
        there = self.find(key)
        if there is None or there.size != path.stat().st_size:
            raise StorageError("the upload is not whole")
        return there

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error. A bucket with versions keeps the old one."""
        self._call("delete_object", of_object=True, Bucket=self.bucket, Key=key)

    def below(self, key: str) -> str:
        """The key without the prefix."""
        return key.removeprefix(self.prefix)

    def key_of(self, relative: str) -> str:
        """The prefix and the path below it."""
        return f"{self.prefix}{relative}"

    def uri(self, key: str) -> str:
        """`s3://bucket/key`, not encoded: what the AWS tools take."""
        return f"{SCHEME}{self.bucket}/{key}"

    def https_url(self, key: str) -> str:
        """The address of the object, percent-encoded; opens only what is public."""
        path = quote(key, safe="/~")
        if self.options.endpoint_url is None:
            return f"https://{self.bucket}.s3.{self.region}.amazonaws.com/{path}"
        scheme, host, base, _, _ = urlsplit(self.options.endpoint_url)
        base = base.rstrip("/")
        if self.options.addressing == "virtual":
            return urlunsplit((scheme, f"{self.bucket}.{host}", f"{base}/{path}", "", ""))
        return urlunsplit((scheme, host, f"{base}/{self.bucket}/{path}", "", ""))

    def presigned_url(self, key: str, seconds: int) -> str:
        """An address that anybody can read the object by for so many seconds, or until the credentials in use expire."""
        url: str = self._call(
            "generate_presigned_url", ClientMethod="get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=seconds
        )
        return url

    @property
    def region(self) -> str:
        """The region in use."""
        return self.options.region or self._client.meta.region_name

    def credentials_end(self) -> tuple[bool, datetime | None]:
        """Whether the credentials in use are temporary, and when they end as far as that is known."""
        import boto3

        credentials = boto3.session.Session().get_credentials()
        temporary = credentials is not None and bool(credentials.get_frozen_credentials().token)
        return temporary, getattr(credentials, "_expiry_time", None)

    @property
    def _client(self) -> "S3Client":
        return client_of(self.options)

    def _call(self, name: str, *, of_object: bool = False, **arguments: Any) -> Any:
        """Call the client; its errors become ours."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client, name)(**arguments)
        except (BotoCoreError, ClientError, Boto3Error, RecursionError) as error:
            raise explain(error, self.location, of_object=of_object) from error


def _item(found: Any) -> Item:
    return Item(found["Key"], found["Size"], _bare(found["ETag"]), _time(found["LastModified"]))


def _content_type(key: str) -> str:
    kind = _KINDS.guess_type(key, strict=False)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def _bare(etag: str) -> str:
    return etag.strip('"')


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
