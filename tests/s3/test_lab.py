"""The stores that the other tests stand on: what they refuse, keep and can hold, and that the proxy before them does what it is told."""

import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError, HTTPClientError, NoCredentialsError

from tests.lab import faulty
from tests.lab.faulty import FaultyProxy
from tests.lab.keys import ODD_KEYS
from tests.lab.moto import MotoServer
from tests.lab.server import S3Server
from tests.lab.swift import SwiftServer

REPO = Path(__file__).parents[2]
PART = 5 * 1024**2  # the least that a part of an upload may have, unless it is the last


def code_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    """What botocore calls the error, and HTTP's number."""
    answer = error.value.response
    return answer["Error"].get("Code", ""), answer["ResponseMetadata"]["HTTPStatusCode"]


def refusal(call: Any, **arguments: Any) -> tuple[str, int]:
    """The code and status that a call is refused with."""
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return code_of(error)


def test_a_wrong_key_is_refused(swift: SwiftServer, bucket: str) -> None:
    swift.client().put_object(Bucket=bucket, Key="a", Body=b"a")
    for wrong in ({"aws_secret_access_key": "wrong"}, {"aws_access_key_id": "lab:nobody"}):
        client = swift.client(**wrong)
        assert refusal(client.list_objects_v2, Bucket=bucket) == ("SignatureDoesNotMatch", 403)
        assert refusal(client.get_object, Bucket=bucket, Key="a") == ("SignatureDoesNotMatch", 403)
        # An answer to HEAD has no body, so nothing but the status is known.
        assert refusal(client.head_object, Bucket=bucket, Key="a") == ("403", 403)
    access, secret = swift.stranger
    stranger = swift.client(aws_access_key_id=access, aws_secret_access_key=secret)
    assert refusal(stranger.list_objects_v2, Bucket=bucket) == ("AccessDenied", 403)
    assert refusal(stranger.put_object, Bucket=bucket, Key="a", Body=b"b") == ("AccessDenied", 403)


def test_without_credentials_nothing_is_sent(proxy: FaultyProxy, swift: SwiftServer) -> None:
    client = swift.client(proxy.endpoint, aws_access_key_id=None, aws_secret_access_key=None)
    with pytest.raises(NoCredentialsError):
        client.list_objects_v2(Bucket="bucket")
    assert not proxy.requests


def test_what_is_missing_is_named(swift: SwiftServer, bucket: str) -> None:
    client = swift.client()
    assert refusal(client.list_objects_v2, Bucket="no-such-bucket") == ("NoSuchBucket", 404)
    assert refusal(client.get_object, Bucket="no-such-bucket", Key="a") == ("NoSuchBucket", 404)
    assert refusal(client.put_object, Bucket="no-such-bucket", Key="a", Body=b"") == ("NoSuchBucket", 404)
    assert refusal(client.get_object, Bucket=bucket, Key="a") == ("NoSuchKey", 404)
    assert refusal(client.head_object, Bucket=bucket, Key="a") == ("404", 404)


def test_a_presigned_link_opens_by_plain_http_and_no_other_does(swift: SwiftServer, bucket: str) -> None:
    client = swift.client(config=Config(signature_version="s3v4", proxies={}))
    client.put_object(Bucket=bucket, Key="a b.jpg", Body=b"content")
    link = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b.jpg"}, ExpiresIn=60)
    assert urllib.request.urlopen(link).read() == b"content"
    head, _, signature = link.partition("X-Amz-Signature=")
    changed = f"{head}X-Amz-Signature={signature.translate(str.maketrans('0123456789abcdef', '123456789abcdef0'))}"
    for other in (changed, link.replace("a%20b.jpg", "c.jpg"), link.replace("Expires=60", "Expires=600")):
        assert other != link
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(other)
        assert error.value.code == 403


def test_a_long_listing_comes_in_pages(swift: SwiftServer, crowd: str) -> None:
    pages = list(swift.client().get_paginator("list_objects_v2").paginate(Bucket=crowd))
    assert [len(page["Contents"]) for page in pages] == [1000, 200]
    keys = [found["Key"] for page in pages for found in page["Contents"]]
    assert keys == [f"crowd/{n:04d}.jpg" for n in range(1200)]


def test_conditions_on_reading_and_copying_hold(swift: SwiftServer, bucket: str) -> None:
    client = swift.client()
    etag = client.put_object(Bucket=bucket, Key="a", Body=b"a")["ETag"]
    assert client.get_object(Bucket=bucket, Key="a", IfMatch=etag)["Body"].read() == b"a"
    assert refusal(client.get_object, Bucket=bucket, Key="a", IfMatch='"0"') == ("PreconditionFailed", 412)
    assert refusal(client.head_object, Bucket=bucket, Key="a", IfMatch='"0"') == ("412", 412)
    source = {"Bucket": bucket, "Key": "a"}
    refused = refusal(client.copy_object, Bucket=bucket, Key="b", CopySource=source, CopySourceIfMatch='"0"')
    assert refused == ("PreconditionFailed", 412)
    assert refusal(client.head_object, Bucket=bucket, Key="b") == ("404", 404)
    assert client.copy_object(Bucket=bucket, Key="b", CopySource=source, CopySourceIfMatch=etag)["CopyObjectResult"]["ETag"] == etag


def test_an_object_can_be_copied_in_parts_under_a_condition(swift: SwiftServer, bucket: str) -> None:
    client = swift.client()
    content = bytes(PART) + b"the last part"
    etag = client.put_object(Bucket=bucket, Key="large", Body=content)["ETag"]

    def copy(condition: str) -> str:
        upload = client.create_multipart_upload(Bucket=bucket, Key="copy", ContentType="image/png", Metadata={"from": "large"})["UploadId"]
        parts: list[Any] = []
        for number, (first, last) in enumerate([(0, PART - 1), (PART, len(content) - 1)], 1):
            answer = client.upload_part_copy(
                Bucket=bucket,
                Key="copy",
                UploadId=upload,
                PartNumber=number,
                CopySource={"Bucket": bucket, "Key": "large"},
                CopySourceRange=f"bytes={first}-{last}",
                CopySourceIfMatch=condition,
            )
            parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
        return client.complete_multipart_upload(Bucket=bucket, Key="copy", UploadId=upload, MultipartUpload={"Parts": parts})["ETag"]

    assert refusal(copy, condition='"0"') == ("PreconditionFailed", 412)
    copied = copy(etag)
    assert copied.endswith('-2"')  # as Amazon writes it: no MD5 of the whole, but of the parts', with their number
    (listed,) = [found for found in client.list_objects_v2(Bucket=bucket)["Contents"] if found["Key"] == "copy"]
    assert (listed["ETag"], listed["Size"]) == (copied, len(content))
    found = client.get_object(Bucket=bucket, Key="copy", IfMatch=copied)
    assert found["Body"].read() == content
    assert (found["ContentType"], found["Metadata"]) == ("image/png", {"from": "large"})


def test_data_outlives_kill_and_restart(swift: SwiftServer, bucket: str) -> None:
    client = swift.client()
    client.put_object(Bucket=bucket, Key="a", Body=b"kept")
    for kill in (swift.kill_proxy, swift.kill):
        kill()
        with pytest.raises(EndpointConnectionError):
            client.get_object(Bucket=bucket, Key="a")
        swift.restart()
        assert client.get_object(Bucket=bucket, Key="a")["Body"].read() == b"kept"
        assert [found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]] == ["a"]


def test_odd_keys_come_back_as_they_went_in(swift: SwiftServer, bucket: str) -> None:
    client = swift.client()
    for key in ODD_KEYS:
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in ODD_KEYS:
        assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode(), key
    listed = [found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]]
    assert listed == sorted(ODD_KEYS, key=str.encode)
    paged = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 3})
    assert [found["Key"] for page in paged for found in page["Contents"]] == listed


def test_keys_that_it_cannot_hold_are_refused(swift: SwiftServer, bucket: str) -> None:
    client = swift.client()
    for key, code in (("x" * 1025, "KeyTooLongError"), ("ü" * 513, "KeyTooLongError"), ("a\0b", "InvalidURI")):
        assert refusal(client.put_object, Bucket=bucket, Key=key, Body=b"") == (code, 400)


def test_several_servers_run_side_by_side_and_nothing_is_left_of_them(moto: MotoServer, tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with MotoServer(tmp_path) as other:
        assert other.endpoint != moto.endpoint
        other.client().create_bucket(Bucket="other")
        moto.client().create_bucket(Bucket="bucket")
        assert [found["Name"] for found in other.client().list_buckets()["Buckets"]] == ["other"]
        other.kill()
        other.restart()
        assert other.client().list_buckets()["Buckets"] == []
    assert {child.pid for child in psutil.Process().children(recursive=True)} == before


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_server_ends_with_whoever_started_it(end: signal.Signals) -> None:
    command = [sys.executable, "-m", "tests.lab.moto"]
    with subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines = [next(process.stdout) for _ in range(10)]
        assert any(line.startswith("export AWS_ENDPOINT_URL=http://127.0.0.1:") for line in lines)
        children = psutil.Process(process.pid).children(recursive=True)
        assert any("moto.server" in child.cmdline() for child in children)
        process.send_signal(end)
        try:
            process.wait(timeout=20)
        finally:
            process.kill()
        assert not psutil.wait_procs(children, timeout=20)[1]


class TestProxy:
    """What the proxy does with requests, besides passing them on."""

    @pytest.fixture
    def client(self, swift: SwiftServer, proxy: FaultyProxy, bucket: str) -> Any:
        client = swift.client(proxy.endpoint)
        client.put_object(Bucket=bucket, Key="a", Body=b"0123456789", ContentType="image/png")
        proxy.requests.clear()
        return client

    def test_signatures_stay_valid_and_requests_are_counted(self, swift: SwiftServer, proxy: FaultyProxy, client: Any, bucket: str) -> None:
        client.list_objects_v2(Bucket=bucket, Prefix="a")
        client.head_object(Bucket=bucket, Key="a")
        client.copy_object(Bucket=bucket, Key="ü b", CopySource={"Bucket": bucket, "Key": "a"})
        assert client.get_object(Bucket=bucket, Key="ü b")["Body"].read() == b"0123456789"
        client.delete_object(Bucket=bucket, Key="ü b")
        client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b"}]})
        upload = client.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
        client.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"x")
        client.abort_multipart_upload(Bucket=bucket, Key="m", UploadId=upload)
        client.head_bucket(Bucket=bucket)
        assert proxy.counts() == {"list": 1, "head": 1, "copy": 1, "get": 1, "delete": 2, "multipart": 2, "put": 1, "bucket": 1}
        assert {request.bucket for request in proxy.requests} == {bucket}
        assert proxy.requests[0].query["prefix"] == "a"
        assert proxy.requests[3].key == "ü b"
        wrong = swift.client(proxy.endpoint, aws_secret_access_key="wrong")
        assert refusal(wrong.get_object, Bucket=bucket, Key="a") == ("SignatureDoesNotMatch", 403)

    def test_a_body_sent_in_chunks_arrives(self, proxy: FaultyProxy, client: Any, bucket: str, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(bytes(300_000))
        client.upload_file(str(tmp_path / "file"), bucket, "b")
        assert client.head_object(Bucket=bucket, Key="b")["ContentLength"] == 300_000

    def test_a_cut_body_is_noticed(self, proxy: FaultyProxy, client: Any, bucket: str) -> None:
        proxy.rules.append(faulty.cut(after=4, kind="get", times=1))
        with pytest.raises(HTTPClientError):
            client.get_object(Bucket=bucket, Key="a")["Body"].read()
        assert client.get_object(Bucket=bucket, Key="a")["Body"].read() == b"0123456789"

    def test_errors_are_answered_as_often_as_told(self, proxy: FaultyProxy, client: Any, bucket: str) -> None:
        proxy.rules.append(faulty.answer(503, "SlowDown", key="a", times=2))
        for _ in range(2):
            assert refusal(client.get_object, Bucket=bucket, Key="a") == ("SlowDown", 503)
        client.get_object(Bucket=bucket, Key="a")
        # Amazon's answer to a copy that fails after its headers are sent.
        proxy.rules.append(faulty.answer(200, "InternalError", kind="copy"))
        with pytest.raises(ClientError, match="InternalError"):
            client.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"})

    def test_it_can_be_slow_or_silent(self, swift: SwiftServer, proxy: FaultyProxy, client: Any, bucket: str) -> None:
        proxy.rules.append(faulty.delay(0.3, kind="head", times=1))
        before = time.monotonic()
        client.head_object(Bucket=bucket, Key="a")
        assert time.monotonic() - before >= 0.3
        proxy.rules[:] = [faulty.stall(2, after=4, kind="get", times=1)]
        impatient = swift.client(proxy.endpoint, config=Config(read_timeout=0.3, retries={"total_max_attempts": 1}))
        with pytest.raises(HTTPClientError):
            impatient.get_object(Bucket=bucket, Key="a")["Body"].read()

    def test_it_can_hang_up_before_and_after_the_deed(self, swift: SwiftServer, proxy: FaultyProxy, client: Any, bucket: str) -> None:
        proxy.rules[:] = [faulty.hang_up("before", kind="put", times=1), faulty.hang_up("after", kind="put", times=1)]
        for done in (0, 1):
            with pytest.raises(HTTPClientError):
                client.put_object(Bucket=bucket, Key="b", Body=b"b")
            assert swift.client().list_objects_v2(Bucket=bucket, Prefix="b")["KeyCount"] == done

    def test_it_can_refuse_connections_and_take_them_again(self, proxy: FaultyProxy, client: Any, bucket: str) -> None:
        proxy.refuse()
        with pytest.raises(EndpointConnectionError):
            client.get_object(Bucket=bucket, Key="a")
        proxy.accept()
        assert client.get_object(Bucket=bucket, Key="a")["Body"].read() == b"0123456789"

    def test_it_can_change_an_object_behind_the_clients_back(
        self, swift: SwiftServer, proxy: FaultyProxy, client: Any, bucket: str
    ) -> None:
        def change(request: faulty.Request) -> None:
            swift.client().put_object(Bucket=request.bucket, Key=request.key, Body=b"changed")

        proxy.rules.append(faulty.call(change, kind="get", times=1))
        assert client.get_object(Bucket=bucket, Key="a")["Body"].read() == b"changed"

    def test_it_serves_many_at_once(self, proxy: FaultyProxy, client: Any, bucket: str) -> None:
        proxy.rules.append(faulty.delay(0.5, kind="get"))
        threads = [threading.Thread(target=client.get_object, kwargs={"Bucket": bucket, "Key": "a"}) for _ in range(8)]
        before = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert proxy.counts()["get"] == 8
        assert time.monotonic() - before < 8 * 0.5

    def test_a_server_that_is_down_looks_down(self, moto: MotoServer) -> None:
        server: S3Server = moto
        with FaultyProxy("http://127.0.0.1:9") as proxy, pytest.raises(HTTPClientError):
            server.client(proxy.endpoint).list_buckets()
