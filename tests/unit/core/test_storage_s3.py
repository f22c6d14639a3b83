"""A bucket as a store, where no line is needed: how places are written, what is found in them, what errors of a store mean."""

import datetime as dt
import http.server
import os
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import boto3
import botocore.exceptions
import pytest
import urllib3.exceptions
from botocore.exceptions import ClientError
from moto import mock_aws

from tests.lab.server import ISOLATED
from workflow_scripts.core.step import StepError
from workflow_scripts.core.storage import (
    FolderStorage,
    Item,
    S3Options,
    S3Storage,
    StorageError,
    StoreError,
    open_storage,
    parse_location,
    s3,
)
from workflow_scripts.core.storage.s3_errors import explain

SECRET = "a-secret/that+nobody=sees"


@pytest.fixture(autouse=True)
def _own_credentials(monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {**ISOLATED, "AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "eu-west-3"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    s3.client_of.cache_clear()
    yield
    s3.client_of.cache_clear()


@pytest.fixture
def client():
    """A store within this process, with the bucket `bucket`."""
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-3"})
        yield client


def keys(client, prefix=""):
    return [found["Key"] for found in client.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", [])]


def put(client, key, body=b"content", **fields):
    client.put_object(Bucket="bucket", Key=key, Body=body, **fields)


# ---- how a place is written ----


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("s3://bucket", ("bucket", "")),
        ("s3://bucket/", ("bucket", "")),
        ("s3://bucket/photos", ("bucket", "photos/")),
        ("s3://bucket/photos/", ("bucket", "photos/")),
        ("s3://bucket//photos//", ("bucket", "photos/")),
        ("s3://my.bucket-1/a/b c/ü", ("my.bucket-1", "a/b c/ü/")),
    ],
)
def test_a_location_is_a_bucket_and_a_prefix(location, place):
    assert parse_location(location) == place


@pytest.mark.parametrize(
    "location", ["s3://", "s3:///photos", "s3://b/photos", "s3://key:secret@bucket/", "s3:/bucket", "bucket/photos", ""]
)
def test_what_is_no_bucket_is_refused_and_not_repeated(location):
    with pytest.raises(ValueError, match="write s3://bucket/prefix/") as error:
        parse_location(location)
    assert "secret" not in str(error.value)


def test_a_location_opens_the_store_of_its_kind(tmp_path):
    assert isinstance(open_storage(str(tmp_path)), FolderStorage)
    store = open_storage("s3://bucket/photos", {"region": "eu-west-1", "endpoint_url": "https://host:9000/", "addressing": "path"})
    assert isinstance(store, S3Storage)
    assert (store.bucket, store.prefix, store.location) == ("bucket", "photos/", "s3://bucket/photos")
    assert store.options == S3Options("eu-west-1", "https://host:9000", "path")


def test_the_same_place_has_one_identity():
    def identity(location, **options):
        return S3Storage(location, S3Options(**options)).identity

    assert identity("s3://bucket/a") == identity("s3://bucket/b/", region="eu-west-1") == identity("s3://bucket", endpoint_url="")
    here = {"endpoint_url": "http://127.0.0.1:9000"}
    assert identity("s3://bucket", **here) == identity("s3://bucket", endpoint_url="http://127.0.0.1:9000/")
    assert len({identity("s3://bucket"), identity("s3://other"), identity("s3://bucket", **here)}) == 3


def test_naming_a_bucket_needs_no_library_for_buckets():
    code = "import sys; from workflow_scripts.core.storage import open_storage; open_storage('s3://bucket/'); print('boto3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], text=True, capture_output=True, check=True)
    assert done.stdout == "False\n"


# ---- addresses ----


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ({}, "https://bucket.s3.eu-west-3.amazonaws.com/"),
        ({"region": "ap-east-1"}, "https://bucket.s3.ap-east-1.amazonaws.com/"),
        ({"endpoint_url": "http://127.0.0.1:9000"}, "http://127.0.0.1:9000/bucket/"),
        ({"endpoint_url": "https://host/base/"}, "https://host/base/bucket/"),
        ({"endpoint_url": "https://host:9000", "addressing": "virtual"}, "https://bucket.host:9000/"),
    ],
)
def test_addresses_name_the_object(options, address):
    store = S3Storage("s3://bucket/photos/", S3Options(**options))
    key = "photos/a b/ü#%+&?'{}~.jpg"
    path = "photos/a%20b/%C3%BC%23%25%2B%26%3F%27%7B%7D~.jpg"
    assert store.https_url(key) == f"{address}{path}"
    assert store.uri(key) == f"s3://bucket/{key}"
    link = urlsplit(store.presigned_url(key, 604_800))
    assert f"{link.scheme}://{link.netloc}{link.path}" == f"{address}{path}", "signed for another address than the plain one"
    query = parse_qs(link.query)
    assert (query["X-Amz-Expires"], query["X-Amz-SignedHeaders"]) == (["604800"], ["host"])
    assert query["X-Amz-Credential"][0].split("/")[2] == store.region
    assert SECRET not in link.geturl()


def test_a_bucket_with_dots_is_no_host_of_a_link():
    # No certificate covers it.
    assert S3Storage("s3://my.bucket/").presigned_url("a", 60).startswith("https://s3.eu-west-3.amazonaws.com/my.bucket/a?")


def test_keys_and_paths_below_the_prefix():
    store = S3Storage("s3://bucket/photos")
    assert store.below("photos/a/b.jpg") == "a/b.jpg"
    assert store.key_of("a/b.jpg") == "photos/a/b.jpg"
    assert S3Storage("s3://bucket").key_of("/lead.jpg") == "/lead.jpg"


# ---- what is in a bucket ----


def test_a_prefix_takes_what_is_below_it_and_nothing_beside(client):
    for key in ("photos/a", "photos/b/c", "photos2/a", "photos", "photos.jpg"):
        put(client, key)
    assert [item.key for item in S3Storage("s3://bucket/photos").list()] == ["photos/a", "photos/b/c"]
    assert len(list(S3Storage("s3://bucket").list())) == 5
    assert list(S3Storage("s3://bucket/none").list()) == []


def test_an_object_is_read_if_it_is_what_was_listed(client):
    put(client, "photos/a.jpg", b"12345")
    store = S3Storage("s3://bucket/photos")
    (item,) = store.list()
    assert (item.size, item.etag) == (5, "827ccb0eea8a706c4c34a16891f84e7b")
    assert store.find("photos/a.jpg") == item
    assert store.read(item) == b"12345"
    with pytest.raises(StorageError, match=r"^changed since listing$"):
        store.read(Item(item.key, 4, item.etag, item.last_modified))
    put(client, "photos/a.jpg", b"54321")
    with pytest.raises(StorageError, match=r"^changed since listing$"):
        store.read(item)
    store.delete("photos/a.jpg")
    with pytest.raises(StorageError, match=r"^gone since listing$"):
        store.read(item)
    assert store.find("photos/a.jpg") is None
    store.delete("photos/a.jpg")


@pytest.mark.parametrize(
    "failure",
    [
        botocore.exceptions.ResponseStreamingError(error="cut"),
        botocore.exceptions.ReadTimeoutError(endpoint_url="http://host"),
        botocore.exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=5),
        urllib3.exceptions.SSLError("bad record"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_a_body_that_breaks_off_is_read_again(client, monkeypatch, failure):
    put(client, "a", b"12345")
    store = S3Storage("s3://bucket")
    (item,) = store.list()
    failures = [failure] * (s3.BODY_ATTEMPTS - 1)
    real = botocore.response.StreamingBody.read

    def read(body, *arguments):
        if failures:
            raise failures.pop()
        return real(body, *arguments)

    monkeypatch.setattr(botocore.response.StreamingBody, "read", read)
    monkeypatch.setattr("tenacity.nap.time", type("at_once", (), {"sleep": lambda seconds: None}))
    assert store.read(item) == b"12345"
    failures = [failure] * s3.BODY_ATTEMPTS
    with pytest.raises(StorageError, match="cut off"):
        store.read(item)


@pytest.mark.parametrize("from_file", [False, True])
def test_what_is_written_says_what_it_is(client, tmp_path, from_file):
    store = S3Storage("s3://bucket/out")
    kinds = {
        "a.jpg": "image/jpeg",
        "a.png": "image/png",
        "a.csv": "text/csv; charset=utf-8",
        "a.html": "text/html; charset=utf-8",
        "a.json": "application/json",
        "a": "application/octet-stream",
    }
    for name, kind in kinds.items():
        (tmp_path / name).write_bytes(b"12345")
        key = f"out/{name}"
        written = store.put_file(key, tmp_path / name) if from_file else store.write(key, b"12345")
        found = store.find(key)
        assert found
        assert (written.key, written.size, written.etag) == (found.key, found.size, found.etag)
        assert client.head_object(Bucket="bucket", Key=key)["ContentType"] == kind
    assert keys(client) == sorted(f"out/{name}" for name in kinds)


def test_a_copy_keeps_what_belongs_to_the_object(client, monkeypatch):
    put(client, "photos/a b.jpg", b"12345", ContentType="image/x-own", CacheControl="max-age=60", Metadata={"by": "someone"})
    source, target = S3Storage("s3://bucket/photos"), S3Storage("s3://bucket/clean")
    (item,) = source.list()
    for limit in (5, 4):  # whole, then in parts
        monkeypatch.setattr(s3, "COPY_WHOLE_UP_TO", limit)
        copied = target.copy_from(source, item, "clean/a b.jpg")
        assert copied == target.find("clean/a b.jpg")
        found = client.get_object(Bucket="bucket", Key="clean/a b.jpg")
        assert (found["ContentType"], found["CacheControl"], found["Metadata"]) == ("image/x-own", "max-age=60", {"by": "someone"})
        assert found["Body"].read() == b"12345"
        target.delete("clean/a b.jpg")


def test_a_file_of_a_folder_is_copied_into_a_bucket(client, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"12345")
    folder = FolderStorage(tmp_path)
    (item,) = folder.list()
    S3Storage("s3://bucket/clean").copy_from(folder, item, "clean/a.jpg")
    assert client.get_object(Bucket="bucket", Key="clean/a.jpg")["Body"].read() == b"12345"


def test_preparing_writes_nothing(client):
    S3Storage("s3://bucket/out").prepare()
    assert keys(client) == []
    assert not client.list_multipart_uploads(Bucket="bucket").get("Uploads")
    with pytest.raises(StoreError, match="there is no such bucket"):
        S3Storage("s3://no-such-bucket/out").prepare()


def test_a_bucket_that_is_not_there_is_known_before_the_first_item(client):
    with pytest.raises(StoreError, match=r"^s3://no-such-bucket/photos: there is no such bucket"):
        S3Storage("s3://no-such-bucket/photos").list()


def test_the_buckets_own_region_passes(client):
    asked = [S3Storage("s3://bucket/in", S3Options(region="eu-west-3")), S3Storage("s3://bucket/in")]  # the second: that of the environment
    for store in asked:
        store.check_region()
    assert [store.region for store in asked] == ["eu-west-3", "eu-west-3"]


def test_a_region_that_is_not_the_buckets_is_refused_with_the_right_one(client):
    # Reads would be led to the right one all the same, while links and addresses named the wrong one.
    store = S3Storage("s3://bucket/in", S3Options(region="us-east-1"))
    with pytest.raises(StoreError) as caught:
        store.check_region()
    assert str(caught.value) == "s3://bucket/in: the bucket is in another region; set region: eu-west-3"


def test_a_store_that_does_not_tell_a_buckets_region_passes(client, monkeypatch):
    asked = []
    monkeypatch.setattr(S3Storage, "_call", lambda self, name, **arguments: asked.append(name) or {})
    S3Storage("s3://bucket/in", S3Options(region="us-east-1")).check_region()
    assert asked == ["head_bucket"]


def test_the_region_of_a_bucket_that_is_not_there(client):
    with pytest.raises(StoreError, match=r"^s3://no-such-bucket/in: there is no such bucket"):
        S3Storage("s3://no-such-bucket/in").check_region()


def test_other_stores_have_no_regions_to_check(monkeypatch):
    monkeypatch.setattr(S3Storage, "_call", lambda *_, **__: pytest.fail("asked"))
    S3Storage("s3://bucket/in", S3Options(region="anything", endpoint_url="http://127.0.0.1:9000")).check_region()


def test_an_objects_error_and_the_places_are_told_apart_and_both_end_a_step():
    assert issubclass(StorageError, StepError)
    assert issubclass(StoreError, StepError)
    assert not issubclass(StoreError, StorageError)
    assert not issubclass(StorageError, StoreError)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.JPG", "image/jpeg"),
        ("a.jpeg", "image/jpeg"),
        ("a.webp", "image/webp"),
        ("a.tif", "image/tiff"),
        ("a b/é.bmp", "image/bmp"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.parquet", "application/octet-stream"),
        ("a.gz", "application/octet-stream"),
    ],
)
def test_a_kind_follows_from_the_name_alone_on_every_machine(client, monkeypatch, name, kind):
    monkeypatch.setattr("mimetypes.guess_type", lambda *_: ("from/the-system", None))
    S3Storage("s3://bucket/out").write(f"out/{name}", b"12345")
    assert client.head_object(Bucket="bucket", Key=f"out/{name}")["ContentType"] == kind


def test_an_upload_that_fails_says_why(client, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"12345")
    with pytest.raises(StoreError, match="there is no such bucket"):
        S3Storage("s3://no-such-bucket/out").put_file("out/a.jpg", tmp_path / "a.jpg")


# ---- what errors mean ----


def answer(code, status, message="said the store", **more):
    headers = more.pop("headers", {})
    response = {"Error": {"Code": code, "Message": message, **more}, "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers}}
    return ClientError(response, "GetObject")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (answer("NoSuchKey", 404), "gone since listing"),
        (answer("404", 404), "gone since listing"),
        (answer("PreconditionFailed", 412), "changed since listing"),
        (answer("412", 412), "changed since listing"),
        (answer("AccessDenied", 403), "access denied"),
        (answer("403", 403), "access denied"),
        (answer("InvalidObjectState", 403), "archived; restore it from its storage class first"),
        (answer("KeyTooLongError", 400, "Your key is too long."), "KeyTooLongError: Your key is too long."),
        (answer("InvalidRequest", 400, ""), "InvalidRequest"),
    ],
)
def test_errors_that_are_one_objects_own(error, text):
    explained = explain(error, "s3://bucket/", of_object=True)
    assert isinstance(explained, StorageError)
    assert str(explained) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (answer("NoSuchBucket", 404), "there is no such bucket"),
        (answer("InvalidAccessKeyId", 403), "AWS_ACCESS_KEY_ID"),
        (answer("SignatureDoesNotMatch", 403), "AWS_SECRET_ACCESS_KEY"),
        (answer("ExpiredToken", 400), "expired"),
        (answer("InvalidToken", 400), "AWS_SESSION_TOKEN"),
        (answer("RequestTimeTooSkewed", 403), "clock"),
        (answer("PermanentRedirect", 301, headers={"x-amz-bucket-region": "ap-east-1"}), "set region: ap-east-1"),
        (answer("AuthorizationHeaderMalformed", 400, Region="ap-east-1"), "set region: ap-east-1"),
        (answer("301", 301), "another region"),
        (answer("SlowDown", 503), "SlowDown"),
        (answer("InternalError", 500), "run again"),
        (answer("502", 502, "Bad Gateway"), "502: Bad Gateway.*endpoint_url"),
        (answer("", 500, ""), "status 500"),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="http://host"), "cannot be reached"),
        (botocore.exceptions.ConnectTimeoutError(endpoint_url="http://host"), "cannot be reached"),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="http://host"), "does not answer"),
        (botocore.exceptions.ConnectionClosedError(endpoint_url="http://host"), "does not answer"),
        (botocore.exceptions.SSLError(endpoint_url="http://host", error="certificate"), "AWS_CA_BUNDLE"),
        (botocore.exceptions.NoCredentialsError(), "no credentials found"),
        (botocore.exceptions.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), "missing: AWS_SECRET_ACCESS_KEY"),
        (botocore.exceptions.ProfileNotFound(profile="mine"), r"\(mine\)"),
    ],
)
@pytest.mark.parametrize("of_object", [False, True])
def test_errors_that_are_the_places(error, text, of_object):
    explained = explain(error, "s3://bucket/", of_object=of_object)
    assert isinstance(explained, StoreError)
    with pytest.raises(StoreError, match=rf"^s3://bucket/: .*{text}"):
        raise explained


@pytest.mark.parametrize("error", [answer("AccessDenied", 403), answer("403", 403)])
def test_a_refusal_of_the_place_names_what_was_refused(error):
    explained = explain(error, "s3://bucket/", of_object=False)
    assert isinstance(explained, StoreError)
    assert str(explained) == "s3://bucket/: access denied to GetObject; the key in use lacks a right here"


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "no credentials found; set AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": None}, "missing: AWS_SECRET_ACCESS_KEY"),
        ({"AWS_PROFILE": "mine"}, r"the credentials cannot be used.*\(mine\)"),
    ],
    ids=["none", "half", "profile"],
)
def test_credentials_that_are_not_there(monkeypatch, environment, text):
    for name, value in environment.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    with pytest.raises(StoreError, match=text) as error:
        S3Storage("s3://bucket/").list()
    assert SECRET not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize(
    ("options", "text"), [({"endpoint_url": "localhost:99"}, "https://host:port"), ({"region": "no region!"}, "'no region!'")]
)
def test_a_setting_that_cannot_be_is_said(options, text):
    with pytest.raises(StoreError, match=text):
        S3Storage("s3://bucket/", S3Options(**options)).list()


@pytest.fixture
def page(monkeypatch):
    """Makes a server that has the same answer to everything; gives its address."""
    monkeypatch.setattr("botocore.endpoint.time", type("at_once", (), {"sleep": lambda seconds: None}))
    servers = []

    def of(status, body):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_HEAD = do_GET  # noqa: N815

            def log_message(self, *arguments):
                pass

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield of
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (200, b"<html><body>console</body></html>", "no S3 store; check endpoint_url"),
        (200, b"<!doctype html><br>console", "endpoint_url is not that of an S3 store"),
        (200, b"", "no S3 store; check endpoint_url"),
        (404, b"<html>not found</html>", "endpoint_url is not that of an S3 store"),
        (502, b"bad gateway", "502: Bad Gateway.*endpoint_url"),
        (301, b"", "leads elsewhere"),
    ],
)
def test_what_is_no_store_does_not_pass_for_an_empty_one(page, status, body, text):
    store = S3Storage("s3://bucket/", S3Options(endpoint_url=page(status, body)))
    with pytest.raises(StoreError, match=text):
        store.list()
    with pytest.raises(StoreError, match=text):
        store.prepare()


def test_nothing_that_is_shown_holds_a_secret(client):
    put(client, "a")
    store = S3Storage("s3://bucket/")
    (item,) = store.list()
    assert SECRET not in f"{store!r} {store.options!r} {store.identity} {item!r} {store.uri('a')} {store.https_url('a')}"


def test_temporary_credentials_are_known_as_such(monkeypatch):
    store = S3Storage("s3://bucket/")
    assert store.credentials_end() == (False, None)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    assert store.credentials_end() == (True, None)
    end = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(hours=2)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", end.isoformat())
    assert store.credentials_end() == (True, end)
