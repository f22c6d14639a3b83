"""A bucket as a store, against a real object store and over a line that fails: what is listed, read, copied, refused and said."""

import re
import threading
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest

from tests.lab import faulty
from tests.lab.faulty import FaultyProxy, Request
from tests.lab.keys import ODD_KEYS
from tests.lab.moto import MotoServer
from tests.lab.swift import SwiftServer
from workflow_scripts.core.storage import FolderStorage, Item, S3Options, S3Storage, StorageError, StoreError, s3

MIB = 1024**2
FIELDS = {
    "ContentType": "image/x-own",
    "ContentEncoding": "identity",
    "ContentDisposition": 'inline; filename="a.jpg"',
    "CacheControl": "max-age=60",
    "Metadata": {"photographer": "someone", "licence": "CC0"},
}
Store = Callable[..., S3Storage]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits before the next attempt; how often there is one stays as it is."""
    at_once = SimpleNamespace(sleep=lambda seconds: None)
    monkeypatch.setattr("botocore.endpoint.time", at_once)
    monkeypatch.setattr("tenacity.nap.time", at_once)


@pytest.fixture(autouse=True)
def credentials(swift: SwiftServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the store, as a user sets them; clients of earlier tests have others."""
    s3.client_of.cache_clear()
    for name, value in swift.environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def store(proxy: FaultyProxy, bucket: str) -> Store:
    """Makes the store of a prefix, by way of the proxy, which at first does nothing."""

    def of(prefix: str = "photos/", bucket: str = bucket, **options: Any) -> S3Storage:
        return S3Storage(f"s3://{bucket}/{prefix}", S3Options(**{"endpoint_url": proxy.endpoint, **options}))

    return of


@pytest.fixture
def put(swift: SwiftServer, bucket: str) -> Callable[..., str]:
    """Writes an object past everything that is tested; gives its ETag."""
    client = swift.client()

    def of(key: str, body: bytes = b"content", **fields: Any) -> str:
        return client.put_object(Bucket=bucket, Key=key, Body=body, **fields)["ETag"].strip('"')

    return of


@pytest.fixture
def keys(swift: SwiftServer, bucket: str) -> Callable[[], list[str]]:
    """What is in the bucket."""
    return lambda: [found["Key"] for found in swift.client().list_objects_v2(Bucket=bucket).get("Contents", [])]


def only(store: S3Storage) -> Item:
    """The one object of a store."""
    (item,) = store.list()
    return item


def change(swift: SwiftServer, key: str, body: bytes) -> Callable[[Request], object]:
    """Another content for an object while a request about it is on its way."""
    return lambda request: swift.client().put_object(Bucket=request.bucket, Key=key, Body=body)


# ---- listing ----


def test_a_long_listing_is_whole_and_its_pages_are_asked_for_when_they_are_needed(proxy: FaultyProxy, store: Store, crowd: str) -> None:
    items = store("", bucket=crowd).list()
    assert proxy.counts() == {"list": 1}
    first = list(islice(items, 1000))
    assert proxy.counts() == {"list": 1}
    everything = [*first, *items]
    assert proxy.counts() == {"list": 2}
    assert [item.key for item in everything] == [f"crowd/{n:04d}.jpg" for n in range(1200)]
    assert all(item.size == len(str(n)) for n, item in enumerate(everything))


def test_an_item_is_what_stands_in_the_bucket(store: Store, put: Callable[..., str]) -> None:
    etag = put("photos/a.jpg", b"12345")
    item = only(store())
    assert (item.key, item.size, item.etag) == ("photos/a.jpg", 5, etag)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", item.last_modified)
    assert store().find("photos/a.jpg") == item


def test_a_prefix_ends_at_its_slash(store: Store, put: Callable[..., str]) -> None:
    for key in ("photos/a", "photos/b/c", "photos2/a", "photos", "photos.jpg", "other/photos/a"):
        put(key)
    for written in ("photos/", "photos", "/photos//"):
        assert [item.key for item in store(written).list()] == ["photos/a", "photos/b/c"]
    assert len(list(store("").list())) == 6
    assert list(store("photo").list()) == []


def test_a_listing_that_breaks_off_is_an_error_and_never_a_shorter_list(proxy: FaultyProxy, store: Store, crowd: str) -> None:
    items = store("", bucket=crowd).list()
    next(items)
    proxy.rules.append(faulty.answer(503, "SlowDown", kind="list"))
    with pytest.raises(StoreError, match="SlowDown"):
        list(items)
    proxy.rules[:] = [faulty.cut(after=2000, kind="list", times=1), faulty.answer(500, "InternalError", kind="list", times=2)]
    assert len(list(store("", bucket=crowd).list())) == 1200


# ---- reading ----


def test_reading_gives_the_bytes(proxy: FaultyProxy, store: Store, put: Callable[..., str]) -> None:
    body = bytes(range(256)) * 1000
    put("photos/a.jpg", body)
    put("photos/empty.jpg", b"")
    here = store()
    assert [here.read(item) for item in here.list()] == [body, b""]
    assert proxy.counts() == {"list": 1, "get": 2}


@pytest.mark.parametrize("body", [b"CONTENT", b"longer than it was"], ids=["as long", "longer"])
def test_an_object_that_changed_since_it_was_listed_is_not_read(
    swift: SwiftServer, proxy: FaultyProxy, store: Store, put: Callable[..., str], body: bytes
) -> None:
    put("photos/a.jpg")
    item = only(store())
    proxy.rules.append(faulty.call(change(swift, "photos/a.jpg", body), kind="get"))
    with pytest.raises(StorageError, match=r"^changed since listing$"):
        store().read(item)
    assert proxy.counts()["get"] == 1, "there is no use in asking again"


def test_an_object_that_is_gone_is_an_error_of_its_own(swift: SwiftServer, bucket: str, store: Store, put: Callable[..., str]) -> None:
    put("photos/a.jpg")
    item = only(store())
    swift.client().delete_object(Bucket=bucket, Key=item.key)
    with pytest.raises(StorageError, match=r"^gone since listing$"):
        store().read(item)


def test_a_refusal_of_one_object_is_an_error_of_its_own(proxy: FaultyProxy, store: Store, put: Callable[..., str]) -> None:
    put("photos/a.jpg")
    put("photos/b.jpg")
    proxy.rules.append(faulty.answer(403, "AccessDenied", key="a.jpg"))
    first, second = store().list()
    with pytest.raises(StorageError, match=r"^access denied$"):
        store().read(first)
    with pytest.raises(StorageError, match=r"^access denied$"):
        store().find(first.key)
    assert store().read(second) == b"content"


def test_a_body_that_is_cut_off_is_asked_for_again(proxy: FaultyProxy, store: Store, put: Callable[..., str]) -> None:
    put("photos/a.jpg", bytes(100_000))
    item = only(store())
    proxy.rules[:] = [faulty.cut(after=50_000, times=2), faulty.cut(after=0, times=1)]
    assert store().read(item) == bytes(100_000)
    assert proxy.counts()["get"] == s3.BODY_ATTEMPTS
    proxy.rules[:] = [faulty.cut(after=99_999)]
    with pytest.raises(StorageError, match="cut off"):
        store().read(item)
    assert proxy.counts()["get"] == 2 * s3.BODY_ATTEMPTS


def test_an_object_that_changes_between_two_attempts_is_not_pieced_together(
    swift: SwiftServer, proxy: FaultyProxy, store: Store, put: Callable[..., str]
) -> None:
    put("photos/a.jpg", bytes(100_000))
    item = only(store())
    proxy.rules[:] = [faulty.cut(after=50_000, times=1), faulty.call(change(swift, "photos/a.jpg", b"\1" * 100_000))]
    with pytest.raises(StorageError, match=r"^changed since listing$"):
        store().read(item)


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (503, "ServiceUnavailable")])
def test_a_store_that_is_busy_for_a_moment_is_asked_again(
    proxy: FaultyProxy, store: Store, put: Callable[..., str], status: int, code: str
) -> None:
    put("photos/a.jpg")
    item = only(store())
    proxy.rules[:] = [faulty.answer(status, code, times=3)]
    assert store().read(item) == b"content"
    proxy.rules[:] = [faulty.answer(status, code)]
    # Not the object's fault: it must not become an error row.
    with pytest.raises(StoreError, match=code):
        store().read(item)


def test_many_readers_get_through_a_store_that_asks_them_to_slow_down(proxy: FaultyProxy, store: Store, crowd: str) -> None:
    here = store("", bucket=crowd)
    items = list(islice(here.list(), 200))
    proxy.rules[:] = [faulty.answer(503, "SlowDown", key=item.key, times=2) for item in items]
    with ThreadPoolExecutor(here.reads_at_once) as threads:
        assert list(threads.map(here.read, items)) == [str(n).encode() for n in range(200)]
    assert proxy.counts()["get"] == 3 * len(items)


def test_many_readers_get_through_a_moment_without_the_store(
    proxy: FaultyProxy, store: Store, crowd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Attempts without a pause between them would all fall into that moment.
    monkeypatch.setattr("botocore.endpoint.time", time)
    here = store("", bucket=crowd)
    items = list(islice(here.list(), 200))
    back = threading.Timer(1.5, proxy.accept)
    proxy.rules[:] = [faulty.call(lambda request: (back.start(), threading.Thread(target=proxy.refuse).start()), key="0050", times=1)]
    with ThreadPoolExecutor(here.reads_at_once) as threads:
        assert list(threads.map(here.read, items)) == [str(n).encode() for n in range(200)]


def test_a_store_that_cannot_be_reached_is_no_objects_fault(proxy: FaultyProxy, store: Store, put: Callable[..., str]) -> None:
    put("photos/a.jpg")
    here = store()
    item = only(here)
    proxy.refuse()
    calls: list[Callable[[], object]] = [
        here.list,
        here.prepare,
        lambda: here.read(item),
        lambda: here.find(item.key),
        lambda: here.write("photos/b", b""),
        lambda: here.delete(item.key),
        lambda: here.copy_from(here, item, "photos/b"),
    ]
    for call in calls:
        with pytest.raises(StoreError, match="cannot be reached"):
            call()
    proxy.accept()
    assert here.read(item) == b"content"
    proxy.rules[:] = [faulty.hang_up()]
    with pytest.raises(StoreError, match="does not answer"):
        here.read(item)


# ---- copying ----


def fields_of(swift: SwiftServer, bucket: str, key: str) -> dict[str, Any]:
    """Those of an object's fields that a copy must keep."""
    found: Any = swift.client().head_object(Bucket=bucket, Key=key)
    return {name: found.get(name) for name in FIELDS}


def test_a_copy_is_made_by_the_store_and_keeps_type_and_metadata(
    swift: SwiftServer, proxy: FaultyProxy, store: Store, bucket: str, put: Callable[..., str]
) -> None:
    put("photos/a.jpg", b"12345", **FIELDS)
    item = only(store())
    copied = store("clean/").copy_from(store(), item, "clean/a.jpg")
    assert proxy.counts() == {"list": 1, "copy": 1}
    assert copied == store().find("clean/a.jpg")
    assert store().read(copied) == b"12345"
    assert fields_of(swift, bucket, "clean/a.jpg") == fields_of(swift, bucket, "photos/a.jpg") == FIELDS


def test_a_copy_to_another_bucket_of_the_store(swift: SwiftServer, store: Store, put: Callable[..., str], bucket: str) -> None:
    put("photos/a.jpg", b"12345")
    swift.client().create_bucket(Bucket=f"{bucket}-other")
    other = store("", bucket=f"{bucket}-other")
    copied = other.copy_from(store(), only(store()), "a.jpg")
    assert other.read(copied) == b"12345"


@pytest.mark.parametrize("large", [False, True], ids=["whole", "in parts"])
def test_an_object_that_changed_since_it_was_listed_is_not_copied(
    swift: SwiftServer, store: Store, put: Callable[..., str], keys: Any, monkeypatch: pytest.MonkeyPatch, large: bool, bucket: str
) -> None:
    if large:
        monkeypatch.setattr(s3, "COPY_WHOLE_UP_TO", 3)
    put("photos/a.jpg", b"12345")
    item = only(store())
    put("photos/a.jpg", b"54321")
    with pytest.raises(StorageError, match=r"^changed since listing$"):
        store("clean/").copy_from(store(), item, "clean/a.jpg")
    swift.client().delete_object(Bucket=bucket, Key="photos/a.jpg")
    with pytest.raises(StorageError, match=r"^gone since listing$"):
        store("clean/").copy_from(store(), item, "clean/a.jpg")
    assert keys() == []


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Objects of this size are copied in three parts."""
    monkeypatch.setattr(s3, "COPY_WHOLE_UP_TO", 6 * MIB)
    monkeypatch.setattr(s3, "PART_BYTES", 5 * MIB)
    return bytes(5 * MIB) + b"\1" * 5 * MIB + b"the last part"


def test_a_large_object_is_copied_in_parts_and_keeps_type_and_metadata(
    swift: SwiftServer, proxy: FaultyProxy, store: Store, bucket: str, put: Callable[..., str], in_parts: bytes
) -> None:
    put("photos/a b.jpg", in_parts, **FIELDS)
    item = only(store())
    copied = store("clean/").copy_from(store(), item, "clean/a b.jpg")
    assert proxy.counts()["copy"] == 3
    assert proxy.counts()["get"] == proxy.counts()["put"] == 0, "the bytes stay in the store"
    assert copied == store().find("clean/a b.jpg")
    assert copied.etag != item.etag  # of the parts, not of the whole
    assert store().read(copied) == in_parts
    assert fields_of(swift, bucket, "clean/a b.jpg") == FIELDS
    # What was copied in parts can be a source in turn.
    again = store("again/").copy_from(store("clean/"), copied, "again/a b.jpg")
    assert store().read(again) == in_parts


def test_a_large_object_that_changes_between_its_parts_leaves_nothing_behind(
    swift: SwiftServer, proxy: FaultyProxy, store: Store, bucket: str, put: Callable[..., str], keys: Any, in_parts: bytes
) -> None:
    put("photos/a.jpg", in_parts)
    item = only(store())
    first_part = faulty.delay(0, kind="copy", times=1)
    proxy.rules[:] = [first_part, faulty.call(change(swift, "photos/a.jpg", in_parts[::-1]), kind="copy", times=1)]
    with pytest.raises(StorageError, match=r"^changed since listing$"):
        store("clean/").copy_from(store(), item, "clean/a.jpg")
    assert keys() == ["photos/a.jpg"]
    assert not swift.client().list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_a_part_that_fails_for_a_moment_is_copied_again(proxy: FaultyProxy, store: Store, put: Callable[..., str], in_parts: bytes) -> None:
    put("photos/a.jpg", in_parts)
    proxy.rules[:] = [faulty.answer(503, "SlowDown", kind="copy", times=2), faulty.hang_up("after", kind="copy", times=1)]
    copied = store("clean/").copy_from(store(), only(store()), "clean/a.jpg")
    assert store().read(copied) == in_parts


@pytest.mark.parametrize(
    "rule",
    [
        faulty.answer(503, "SlowDown", kind="copy", times=2),
        faulty.answer(200, "InternalError", kind="copy", times=1),  # Amazon's answer when a copy fails after its headers are sent
        faulty.hang_up("before", kind="copy", times=1),
        faulty.hang_up("after", kind="copy", times=1),
    ],
    ids=["busy", "late failure", "never arrived", "answer lost"],
)
def test_a_copy_that_fails_for_a_moment_is_made_again(proxy: FaultyProxy, store: Store, put: Callable[..., str], rule: faulty.Rule) -> None:
    put("photos/a.jpg")
    proxy.rules[:] = [rule]
    copied = store("clean/").copy_from(store(), only(store()), "clean/a.jpg")
    assert copied == store().find("clean/a.jpg")
    assert store().read(copied) == b"content"


def test_a_copy_that_is_refused_is_an_error_of_its_own(proxy: FaultyProxy, store: Store, put: Callable[..., str]) -> None:
    put("photos/a.jpg")
    proxy.rules[:] = [faulty.answer(403, "AccessDenied", kind="copy")]
    with pytest.raises(StorageError, match=r"^access denied$"):
        store("clean/").copy_from(store(), only(store()), "clean/a.jpg")


def test_a_copy_from_another_store_or_a_folder_goes_through_this_machine(
    moto: MotoServer, store: Store, put: Callable[..., str], bucket: str, tmp_path: Any
) -> None:
    etag = put("photos/a.jpg", b"12345")
    item = only(store())
    moto.client().create_bucket(Bucket=bucket)
    other = S3Storage(f"s3://{bucket}/clean", S3Options(endpoint_url=moto.endpoint))
    assert other.copy_from(store(), item, "clean/a.jpg").etag == etag
    assert other.read(only(other)) == b"12345"
    put("photos/a.jpg", b"54321")
    with pytest.raises(StorageError, match=r"^changed since listing$"):
        other.copy_from(store(), item, "clean/a.jpg")
    (tmp_path / "b.jpg").write_bytes(b"from a folder")
    folder = FolderStorage(tmp_path)
    copied = store("clean/").copy_from(folder, next(folder.list()), "clean/b.jpg")
    assert store().read(copied) == b"from a folder"


# ---- finding, writing, deleting ----


def test_what_is_written_is_found_and_what_is_deleted_is_not(swift: SwiftServer, bucket: str, store: Store, keys: Any) -> None:
    here = store("clean/")
    assert here.find("clean/a.jpg") is None
    for body in (b"first", b"the second"):
        written, found = here.write("clean/a.jpg", body), here.find("clean/a.jpg")
        assert found
        assert (written.key, written.size, written.etag) == (found.key, found.size, found.etag)
        assert here.read(found) == body
    here.write("clean/table.csv", "ü,1\n".encode())
    here.write("clean/blob", b"")
    kinds = [swift.client().head_object(Bucket=bucket, Key=key)["ContentType"] for key in keys()]
    assert kinds == ["image/jpeg", "application/octet-stream", "text/csv; charset=utf-8"]
    for _ in range(2):
        here.delete("clean/a.jpg")
        assert here.find("clean/a.jpg") is None
    assert keys() == ["clean/blob", "clean/table.csv"]


def test_a_write_whose_answer_is_lost_is_made_again(proxy: FaultyProxy, store: Store) -> None:
    proxy.rules[:] = [faulty.hang_up("after", kind="put", times=1), faulty.answer(503, "SlowDown", kind="put", times=1)]
    written = store().write("photos/a.jpg", b"12345")
    assert only(store()).etag == written.etag
    assert proxy.counts()["put"] == 3


def test_preparing_says_whether_objects_can_be_written_and_writes_none(
    swift: SwiftServer, store: Store, bucket: str, keys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store().prepare()
    assert keys() == []
    assert not swift.client().list_multipart_uploads(Bucket=bucket).get("Uploads")
    with pytest.raises(StoreError, match="there is no such bucket"):
        store(bucket="no-such-bucket").prepare()
    s3.client_of.cache_clear()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", swift.stranger[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", swift.stranger[1])
    with pytest.raises(StoreError, match="access denied"):
        store().prepare()


# ---- keys ----


def test_odd_keys_go_round(store: Store, bucket: str) -> None:
    here = store("")
    for key in ODD_KEYS:
        here.write(key, key.encode())
    items = list(here.list())
    assert [item.key for item in items] == sorted(ODD_KEYS, key=str.encode)
    for item in items:
        assert here.read(item) == item.key.encode()
        assert here.find(item.key) == item
        assert urllib.request.urlopen(here.presigned_url(item.key, 60)).read() == item.key.encode()
        if len(item.key.encode()) < 1000:
            copied = here.copy_from(here, item, f"copies/{item.key}")
            assert here.read(copied) == item.key.encode()
        here.delete(item.key)
    assert [here.below(item.key) for item in here.list()] == sorted((f"copies/{key}" for key in ODD_KEYS if len(key) < 512), key=str.encode)
    assert [store("copies").key_of(store("copies").below(item.key)) for item in here.list()] == [item.key for item in here.list()]


def test_a_key_that_the_store_cannot_hold_is_an_error_of_its_own(store: Store) -> None:
    with pytest.raises(StorageError, match="KeyTooLongError"):
        store().write("x" * 1025, b"")


# ---- addresses ----


def test_a_presigned_address_opens_by_plain_http_for_a_time(store: Store, put: Callable[..., str]) -> None:
    put("photos/a b.jpg", b"12345")
    here = store()
    assert urllib.request.urlopen(here.presigned_url("photos/a b.jpg", 60)).read() == b"12345"
    assert "X-Amz-Expires=604800" in here.presigned_url("photos/a b.jpg", 604_800)
    plain = here.https_url("photos/a b.jpg")
    assert here.presigned_url("photos/a b.jpg", 60).startswith(f"{plain}?")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(plain)


def test_a_public_object_opens_by_its_plain_address(swift: SwiftServer, store: Store, put: Callable[..., str], bucket: str) -> None:
    swift.client().put_bucket_acl(Bucket=bucket, ACL="public-read")
    put("photos/a b.jpg", b"12345")
    # Swift answers anonymous requests at its own address, not at that of its S3 layer.
    account = f"{swift.endpoint}/v1/AUTH_lab"
    assert (
        urllib.request.urlopen(store().https_url("photos/a b.jpg").replace(store().options.endpoint_url or "", account)).read() == b"12345"
    )


# ---- what goes wrong, and what is said ----


def said(error: BaseException) -> str:
    """All that could come to a log: the message and the whole trace with its causes."""
    return f"{error}\n{error!r}\n{''.join(traceback.format_exception(error))}"


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "a-wrong-secret"}, "the secret key is not this access key.s; check AWS_SECRET_ACCESS_KEY"),
        # Amazon says InvalidAccessKeyId; Swift does not tell the two apart.
        ({"AWS_ACCESS_KEY_ID": "lab:nobody"}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "lab:stranger", "AWS_SECRET_ACCESS_KEY": SwiftServer.stranger[1]}, "access denied to ListObjectsV2"),
        ({"AWS_SECRET_ACCESS_KEY": None}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "no credentials found; set AWS_ACCESS_KEY_ID"),
        ({"AWS_PROFILE": "mine"}, r"the credentials cannot be used.*\(mine\)"),
    ],
    ids=["secret", "key", "stranger", "half", "none", "profile"],
)
def test_wrong_credentials_are_said_at_once_and_clearly(
    proxy: FaultyProxy, store: Store, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str | None], text: str
) -> None:
    for name, value in environment.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match=text) as error:
        store().list()
    assert len(proxy.requests) <= 1, "asking again does not help"
    secrets = [environment.get("AWS_SECRET_ACCESS_KEY"), SwiftServer.secret_key]
    assert not any(secret in said(error.value) for secret in secrets if secret)


def test_a_wrong_bucket_or_endpoint_is_said_at_once_and_clearly(store: Store, proxy: FaultyProxy, swift: SwiftServer) -> None:
    with pytest.raises(StoreError, match=r"^s3://no-such-bucket/photos/: there is no such bucket"):
        store(bucket="no-such-bucket").list()
    with pytest.raises(StoreError, match="there is no such bucket"):
        store(bucket="no-such-bucket").read(Item("a", 1, "0", ""))
    with pytest.raises(StoreError, match="there is no such bucket"):
        store(bucket="no-such-bucket").write("a", b"")
    proxy.refuse()
    with pytest.raises(StoreError, match="cannot be reached; check endpoint_url"):
        store().list()
    with pytest.raises(StoreError, match="cannot be reached; check endpoint_url"):
        store(endpoint_url="http://no-such-host.invalid").list()


def test_a_wrong_region_is_put_right(store: Store, put: Callable[..., str]) -> None:
    put("photos/a.jpg")
    here = store(region="eu-west-1")
    assert here.read(only(here)) == b"content"
    copied = here.copy_from(here, only(here), "clean/a.jpg")
    assert here.find("clean/a.jpg") == copied


def test_nothing_that_is_shown_holds_a_secret(store: Store, put: Callable[..., str]) -> None:
    put("photos/a.jpg")
    here = store()
    shown = [repr(here), repr(here.options), here.location, here.identity, repr(only(here)), here.uri("a"), here.https_url("a")]
    assert not any(SwiftServer.secret_key in text for text in shown)
    assert SwiftServer.secret_key not in here.presigned_url("photos/a.jpg", 60)
