"""The people pipeline on a real object store: what it reads, copies and publishes, and what faults on the way cost."""

import csv
import io
import json
import os
import re
import signal
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.lab import faulty
from tests.lab.faulty import FaultyProxy
from tests.lab.swift import SwiftServer
from tests.workflow.conftest import Project, new_project
from tests.workflow.test_faults import jobs_of, started, wait_for
from workflow_scripts.demo.people_data import draw

SCENES = 40
SMALL = 1100  # more keys than a page of a listing holds
THRESHOLD, HIGHER = 0.9, 0.93  # the small ones are noise, which the demo's model takes for people: at these, most are kept
FROM_DECIDE = {"people_04_decide", "people_05_merge", "people_06_publish", "people_07_report"}


def fill(folder: Path) -> None:
    """Drawn scenes, damaged files, odd names, and very many small images."""
    draw(folder, folder.parent / "truth.csv", SCENES, seed=3)
    rng = np.random.default_rng(0)
    (folder / "small").mkdir()
    for number in range(SMALL):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / f"small/{number:04d}.png")


@dataclass
class Bucket:
    """A bucket with a source below `in/`, seen from the test, and a way to it that can be made to fail, for the workflow."""

    name: str
    swift: SwiftServer
    proxy: FaultyProxy

    def place(self, name: str) -> str:
        return f"s3://{self.name}/{name}/"

    def keys(self, prefix: str) -> dict[str, str]:
        """ETags by key, without the prefix."""
        pages = self.swift.client().get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return {found["Key"].removeprefix(prefix): found["ETag"] for page in pages for found in page.get("Contents", ())}

    def read(self, key: str) -> bytes:
        return self.swift.client().get_object(Bucket=self.name, Key=key)["Body"].read()

    def put(self, key: str, body: bytes) -> None:
        self.swift.client().put_object(Bucket=self.name, Key=key, Body=body)

    def rows(self, key: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.read(key).decode(), newline="")))

    def upload(self, folder: Path) -> None:
        client = self.swift.client()

        def one(path: Path) -> None:
            key = f"in/{path.relative_to(folder).as_posix()}"
            client.put_object(Bucket=self.name, Key=key, Body=path.read_bytes(), ContentType="image/x-test", Metadata={"shot": "1"})

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(one, [path for path in folder.rglob("*") if path.is_file()]))

    def asked(self) -> dict[str, int]:
        """Requests by kind since the last time."""
        counts = dict(self.proxy.counts())
        with self.proxy.lock:
            self.proxy.requests.clear()
        return counts


@pytest.fixture(scope="module")
def shared_proxy(swift: SwiftServer) -> Iterator[FaultyProxy]:
    with FaultyProxy(swift.endpoint) as faulty_proxy:
        yield faulty_proxy


@pytest.fixture(scope="module", autouse=True)
def credentials(swift: SwiftServer) -> Iterator[None]:
    """What the workflow's processes find in their environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in swift.environment().items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The same images cleaned as a folder: what the bucket's results have to equal."""
    project = new_project(tmp_path_factory.mktemp("folder") / "p", fill, shard_count=1, threshold=THRESHOLD)
    project.run()
    return project


@pytest.fixture(scope="module")
def bucket(swift: SwiftServer, shared_proxy: FaultyProxy, on_disk: Project) -> Bucket:
    """A bucket that holds the same images below `in/`."""
    name = f"photos-{uuid.uuid4().hex[:8]}"
    swift.client().create_bucket(Bucket=name)
    filled = Bucket(name, swift, shared_proxy)
    filled.upload(on_disk.root / "photos")
    return filled


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, bucket: Bucket) -> Project:
    """The bucket cleaned in one shard."""
    project = new_project(tmp_path_factory.mktemp("bucket") / "p", lambda _: None, **places(bucket, "first"), shard_count=1)
    project.write_config(presigned={"enabled": True, "expires_seconds": 3600})
    project.run()
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path, bucket: Bucket) -> Iterator[Project]:
    """A copy of the finished project, to change."""
    bucket.asked()
    yield finished.copy_to(tmp_path / "copy")
    bucket.proxy.rules.clear()


def places(bucket: Bucket, name: str) -> dict[str, Any]:
    named = {"destination": bucket.place(f"{name}/images"), "manifests": bucket.place(f"{name}/manifests"), "threshold": THRESHOLD}
    return {"source": bucket.place("in"), **named, "endpoint_url": bucket.proxy.endpoint}


def tables(project: Project) -> dict[str, list[tuple[str, ...]]]:
    """The merged tables: keys below the source, scores, contents and reasons, which do not depend on where the images lie."""
    columns = {"removed": ("people_prob", "margin", "sha256", "reason"), "errors": ("error",)}
    found = {}
    for name in ("removed", "kept", "errors"):
        with (project.results / f"05_merge/aggregate/{name}_all.csv").open(newline="") as handle:
            rows = list(csv.DictReader(handle))
        wanted = columns.get(name, columns["removed"])
        found[name] = [(row["s3_key"].removeprefix("in/"), *(row[column] for column in wanted)) for row in rows]
    return found


# ---- what comes out ----


def test_a_bucket_and_a_folder_are_cleaned_alike(finished: Project, on_disk: Project, bucket: Bucket) -> None:
    assert tables(finished) == tables(on_disk)
    removed, kept, errors = (len(tables(finished)[name]) for name in ("removed", "kept", "errors"))
    assert (removed + kept + errors, errors) == (SCENES + SMALL + 22, 5)


def test_the_copy_is_what_was_kept_to_the_byte_with_its_fields(finished: Project, bucket: Bucket) -> None:
    source, copied = bucket.keys("in/"), bucket.keys("first/images/")
    kept = {row[0] for row in tables(finished)["kept"]}
    assert len(kept) > 500
    assert copied == {key: source[key] for key in kept}
    head = bucket.swift.client().head_object(Bucket=bucket.name, Key=f"first/images/{min(kept)}")
    assert (head["ContentType"], head["Metadata"]) == ("image/x-test", {"shot": "1"})


def test_manifests_stand_beside_it_as_readers_know_them(finished: Project, bucket: Bucket) -> None:
    found = bucket.keys("first/manifests/r/")
    shard = {"removed.csv", "kept.csv", "removed_image_ids.txt", "removed_s3_urls.txt", "errors.csv", "run_metadata.json"}
    aggregate = {"removed_all.csv", "kept_all.csv", "removed_all_image_ids.txt", "removed_all_s3_urls.txt", "errors_all.csv"}
    wanted = shard | {f"shard-0000-of-0001/{name}" for name in shard}
    assert set(found) == wanted | {f"aggregate/{name}" for name in aggregate | {"merge_metadata.json"}}
    (row, *_) = bucket.rows("first/manifests/r/removed.csv")
    assert row["s3_uri"] == f"s3://{bucket.name}/{row['s3_key']}"
    assert row["https_url"].startswith(f"{bucket.proxy.endpoint}/{bucket.name}/in/")
    assert row["etag"] == bucket.keys("in/")[row["s3_key"].removeprefix("in/")].strip('"')
    metadata = json.loads(bucket.read("first/manifests/r/run_metadata.json"))
    assert {name: metadata[name] for name in ("bucket", "region", "src_prefix", "dst_prefix", "dry_run", "shard_count")} == {
        "bucket": bucket.name,
        "region": "us-east-1",
        "src_prefix": "in/",
        "dst_prefix": bucket.place("first/images"),
        "dry_run": False,
        "shard_count": 1,
    }


def test_links_open_every_image_by_plain_http_and_stand_in_the_published_copy_alone(finished: Project, bucket: Bucket) -> None:
    rows = bucket.rows("first/manifests/r/aggregate/removed_all.csv") + bucket.rows("first/manifests/r/aggregate/kept_all.csv")
    odd = [row for row in rows if "odd" in row["s3_key"]]
    assert len(odd) >= 9
    for row in odd:
        with urllib.request.urlopen(row["presigned_url"]) as answer:
            assert len(answer.read()) == int(row["size"])
    metadata = json.loads(bucket.read("first/manifests/r/aggregate/merge_metadata.json"))
    assert metadata["presigned"]["expires_seconds"] == 3600
    assert "note" not in metadata["presigned"], "these credentials do not expire"
    tracked = (finished.results / "05_merge/aggregate/kept_all.csv").read_text()
    assert "X-Amz-Signature" not in tracked


def test_the_secret_is_in_no_file(finished: Project, bucket: Bucket) -> None:
    secret = bucket.swift.secret_key.encode()
    assert os.environ["AWS_SECRET_ACCESS_KEY"].encode() == secret
    files = [path for path in finished.root.rglob("*") if path.is_file()]
    assert len(files) > 30
    assert [path for path in files if secret in path.read_bytes()] == []
    assert [key for key in bucket.keys("first/manifests/") if secret in bucket.read(f"first/manifests/{key}")] == []


def test_the_source_is_as_it_was(finished: Project, bucket: Bucket, on_disk: Project) -> None:
    files = {path.relative_to(on_disk.root / "photos").as_posix() for path in (on_disk.root / "photos").rglob("*") if path.is_file()}
    assert set(bucket.keys("in/")) == files
    changing = {request.key for request in bucket.proxy.requests if request.method != "GET" and request.key.startswith("in/")}
    assert changing == set()


# ---- what a change costs ----


def test_nothing_changed_asks_nothing_of_the_store(project: Project, bucket: Bucket) -> None:
    assert project.planned() == set()
    project.run()
    assert bucket.asked() == {}


def test_more_shards_give_the_same_tables_and_read_no_image_again(project: Project, finished: Project, bucket: Bucket) -> None:
    project.write_config(shard_count=4)
    project.run()
    asked = bucket.asked()
    # One read is the look whether reading is allowed at all.
    assert (asked.get("get", 0), asked.get("copy", 0)) == (1, 0)
    assert project.aggregate() == finished.aggregate()
    assert {"shard-0003-of-0004/kept.csv", "aggregate/kept_all.csv"} <= set(bucket.keys("first/manifests/r/"))
    assert not [key for key in bucket.keys("first/manifests/r/") if "of-0001" in key], "manifests of the old division are gone"


def test_another_threshold_reads_nothing_and_copies_the_difference(project: Project, bucket: Bucket) -> None:
    before = {row[0] for row in tables(project)["kept"]}
    project.write_config(**places(bucket, "higher"))
    project.run("people_verify")
    project.write_config(threshold=HIGHER)
    bucket.asked()
    assert project.planned() == FROM_DECIDE
    project.run()
    after = {row[0] for row in tables(project)["kept"]}
    asked = bucket.asked()
    assert before < after
    assert asked.get("get", 0) == 0
    assert asked["copy"] == project.counts("06_publish")["copied"] == len(after) - len(before)
    assert set(bucket.keys("higher/images/")) == after
    project.run("people_verify")


def test_new_and_replaced_objects_alone_are_read(project: Project, bucket: Bucket) -> None:
    replaced = bucket.read("in/small/0001.png")
    bucket.put("in/album-00/new.jpg", bucket.read("in/small/0000.png"))
    bucket.put("in/small/0001.png", bucket.read("in/small/0002.png"))
    try:
        assert project.planned() == set(), "a bucket is listed again when its snapshot label changes"
        project.write_config(snapshot="second look", **places(bucket, "second"))
        bucket.asked()
        project.run()
        read = [request.key for request in bucket.proxy.requests if request.kind == "get"]
        # The first image of the listing is read once more, to see whether reading is allowed at all.
        assert {"in/album-00/new.jpg", "in/small/0001.png"} <= set(read)
        assert len(read) == 3
        rows = {row[0]: row for name in ("removed", "kept") for row in tables(project)[name]}
        assert rows["album-00/new.jpg"][3] == rows["small/0000.png"][3]
        assert rows["small/0001.png"][3] == rows["small/0002.png"][3]
    finally:  # other tests read the same source
        bucket.swift.client().delete_object(Bucket=bucket.name, Key="in/album-00/new.jpg")
        bucket.put("in/small/0001.png", replaced)


# ---- faults ----


def fresh(bucket: Bucket, root: Path, name: str, **settings: Any) -> Project:
    """A project that knows nothing of the bucket yet."""
    return new_project(root / "p", lambda _: None, **places(bucket, name), **{"shard_count": 1, "max_images": 60} | settings)


def test_what_changes_between_listing_and_reading_is_an_error_and_never_scored_wrongly(bucket: Bucket, tmp_path: Path) -> None:
    client = bucket.swift.client()
    for number in range(6):
        bucket.put(f"moving/{number}.png", bucket.read(f"in/small/{number + 10:04d}.png"))

    def act(request: faulty.Request) -> None:
        if request.key == "moving/3.png":
            bucket.put("moving/3.png", b"something else")
            bucket.put("moving/9.png", b"came after the listing")
        if request.key == "moving/4.png":
            client.delete_object(Bucket=bucket.name, Key="moving/4.png")

    project = fresh(bucket, tmp_path, "moved", max_images=0)
    project.write_config(source=bucket.place("moving"))
    bucket.proxy.rules.append(faulty.call(act, kind="get", key="moving/"))
    project.run()
    bucket.proxy.rules.clear()
    found = tables(project)
    assert found["errors"] == [("moving/3.png", "download: changed since listing"), ("moving/4.png", "download: gone since listing")]
    assert sorted(row[0] for name in ("kept", "removed") for row in found[name]) == [f"moving/{n}.png" for n in (0, 1, 2, 5)]
    project.write_config(snapshot="after")
    project.run()
    assert {row[0]: row[1] for row in tables(project)["errors"]} == dict.fromkeys(("moving/3.png", "moving/9.png"), "decode: not an image")


def test_a_store_that_stumbles_is_asked_again(bucket: Bucket, tmp_path: Path, finished: Project) -> None:
    bucket.proxy.rules += [
        faulty.answer(503, "SlowDown", kind="list", times=1),
        faulty.cut(20, kind="get", times=3),
        faulty.answer(500, "InternalError", kind="get", times=2),
        faulty.hang_up(kind="get", times=2),
        faulty.answer(503, "SlowDown", kind="copy", times=2),
        faulty.hang_up("after", kind="copy", times=1),
        faulty.answer(503, "SlowDown", kind="put", times=2),
    ]
    project = fresh(bucket, tmp_path, "stumbled")
    try:
        project.run("people", "people_verify")
        assert all(rule.used == rule.times for rule in bucket.proxy.rules), "every fault was met"
    finally:
        bucket.proxy.rules.clear()
    assert [row for row in tables(project)["errors"] if row[1].startswith("download:")] == []
    sample = {row for name in ("kept", "removed") for row in tables(project)[name]}
    assert sample <= {row for name in ("kept", "removed") for row in tables(finished)[name]}


def test_a_store_that_goes_away_costs_a_retry_and_no_image_an_error(bucket: Bucket, tmp_path: Path) -> None:
    project = fresh(bucket, tmp_path, "died", max_images=400)
    reads = [0]

    def die(request: faulty.Request) -> None:
        reads[0] += 1
        if reads[0] == 300:
            bucket.proxy.refuse()

    bucket.proxy.rules.append(faulty.call(die, kind="get"))
    log = project.root / "logs/people/r/02_embed/shard-0000-of-0001.log"
    with started(project) as process:
        wait_for(lambda: process.poll() is not None or (log.is_file() and "the store " in log.read_text()))
        assert not (project.results / "02_embed/shard-0000-of-0001.parquet").exists(), "a dead store is no error of its images"
        bucket.proxy.rules.clear()
        bucket.proxy.accept()
        assert process.wait(timeout=400) == 0
    counts = project.counts("02_embed")
    assert counts["known"] >= 100
    assert counts["read"] + counts["known"] == 400
    assert not [row for row in tables(project)["errors"] if row[1].startswith("download:")]


def test_killed_while_embedding_reads_what_is_missing(bucket: Bucket, tmp_path: Path, finished: Project) -> None:
    project = fresh(bucket, tmp_path, "killed", max_images=0)
    bucket.proxy.rules.append(faulty.delay(0.15, kind="get"))
    segments = lambda: list((project.root / "cache").glob("locators/*/*.arrow"))  # noqa: E731
    with started(project) as process:
        wait_for(lambda: process.poll() is not None or len(segments()) > 0)
        for job in jobs_of(process, "embed.py"):
            os.kill(job.pid, signal.SIGKILL)
        process.kill()
    bucket.proxy.rules.clear()
    project.run("--unlock")
    bucket.asked()
    project.run()
    counts = project.counts("02_embed")
    assert counts["known"] > 0
    assert bucket.asked()["get"] <= counts["read"] + 1 < SMALL
    assert tables(project) == tables(finished)


def test_killed_while_publishing_copies_what_is_missing(project: Project, bucket: Bucket) -> None:
    project.write_config(**places(bucket, "cut"))
    journal = project.results / "06_publish/journal.jsonl"
    bucket.proxy.rules.append(faulty.delay(0.05, kind="copy"))
    with started(project) as process:
        wait_for(lambda: process.poll() is not None or len(bucket.keys("cut/images/")) > 100)
        for job in jobs_of(process, "publish.py"):
            os.kill(job.pid, signal.SIGKILL)
        process.kill()
    bucket.proxy.rules.clear()
    assert bucket.keys("cut/manifests/") == {}, "manifests stand for a complete copy"
    assert not (project.results / "06_publish/receipt.parquet").exists()
    project.run("--unlock")
    bucket.asked()
    project.run()
    counts = project.counts("06_publish")
    kept = len(tables(project)["kept"])
    assert counts["already_there"] >= 50
    assert bucket.asked()["copy"] == counts["copied"] == kept - counts["already_there"]
    assert len(bucket.keys("cut/images/")) == kept
    assert journal.is_file()
    project.run("people_verify")


def test_prune_removes_its_own_copies_and_nothing_else(project: Project, bucket: Bucket) -> None:
    project.write_config(**places(bucket, "pruned") | {"threshold": HIGHER})
    project.run()
    before = bucket.keys("pruned/images/")
    stale = sorted(before.keys() - {row[0] for row in tables_at(project, THRESHOLD)})
    assert len(stale) > 2
    bucket.put("pruned/images/mine.jpg", b"somebody else's")
    bucket.put(f"pruned/images/{stale[0]}", b"changed by somebody")
    project.write_config(threshold=THRESHOLD, prune=True, prune_max_fraction=0.0)
    refused = project.run(check=False)
    assert refused.returncode != 0
    assert "prune_max_fraction" in refused.stdout
    project.write_config(prune_max_fraction=0.9)
    project.run()
    assert bucket.keys("pruned/images/").keys() == before.keys() - set(stale[1:]) | {"mine.jpg"}


def tables_at(project: Project, threshold: float) -> list[tuple[str, ...]]:
    """What another threshold keeps."""
    found = tables(project)
    return [row for name in ("kept", "removed") for row in found[name] if float(row[1]) < threshold]


# ---- wrong from the start ----


@pytest.mark.parametrize(
    ("environment", "settings", "text"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret-word"}, {}, "the secret key is not this access key's; check AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "lab:nobody"}, {}, "AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, {}, "no credentials found"),
        ({}, {"source": "s3://no-such-bucket-here/in/"}, "s3://no-such-bucket-here/in/: there is no such bucket"),
        ({}, {"destination": "s3://no-such-bucket-here/out/"}, "s3://no-such-bucket-here/out/: there is no such bucket"),
        ({}, {"manifests": "s3://no-such-bucket-here/m/"}, "s3://no-such-bucket-here/m/: there is no such bucket"),
        ({}, {"endpoint_url": "http://127.0.0.1:9"}, "the store cannot be reached"),
        ({}, {"source": "nothing"}, "none of its 0 files is an image"),
    ],
    ids=["secret", "key", "none", "source", "destination", "manifests", "endpoint", "empty"],
)
def test_what_cannot_work_is_said_before_any_work(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], settings: dict[str, str], text: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    project = fresh(bucket, tmp_path, "never")
    if settings.get("source") == "nothing":
        settings = {"source": bucket.place("nothing")}
    project.write_config(**settings)
    bucket.asked()
    # The listing alone: what it does not find out, the steps after it would.
    failed = project.run("results/people/r/01_list/objects.parquet", check=False)
    assert failed.returncode != 0
    log = (project.root / "logs/people/r/01_list.log").read_text()
    assert text in log
    assert "Traceback" not in log
    assert not (project.results / "02_embed").exists()
    assert "wrong-secret-word" not in failed.stdout + log
    assert bucket.asked().get("get", 0) <= 1


def test_a_destination_inside_the_source_is_refused_at_once(bucket: Bucket, tmp_path: Path) -> None:
    project = fresh(bucket, tmp_path, "never")
    project.write_config(destination=bucket.place("in/cleaned"))
    bucket.asked()
    failed = project.run("-n", "people", check=False)
    assert failed.returncode != 0
    assert "lie within each other; give each a place of its own" in failed.stdout
    assert bucket.asked() == {}


# ---- machines without a shared disk ----


def timeless(path: Path) -> str:
    """A file without the times of objects: another test wrote some of them again."""
    return re.sub(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", "T", path.read_text())


def test_machines_without_a_shared_disk_make_the_same_run(bucket: Bucket, tmp_path: Path, finished: Project) -> None:
    settings = {**places(bucket, "remote"), "shard_count": 3, "presigned": {"enabled": True}}
    head = new_project(tmp_path / "head", lambda _: None, **settings)
    head.run("people_listing")
    bucket.put("in/album-00/late.jpg", bucket.read("in/small/0000.png"))  # no machine may see what the listing has not
    try:
        early = head.run("people_merge_remote", check=False)
        assert early.returncode != 0
        assert "the merge needs every shard; missing: " in early.stdout
        for name, shards in (("one", [0, 2]), ("two", [1])):
            machine = new_project(tmp_path / name, lambda _: None, **settings, shards=shards, published_listing=True)
            wrong = machine.run("people", "-n", check=False)
            assert wrong.returncode != 0
            assert "use the target people_shard here" in wrong.stdout
            machine.run("people_shard")
        machine.run("people_verify")
        assert machine.planned("people_shard") == set()
    finally:
        bucket.swift.client().delete_object(Bucket=bucket.name, Key="in/album-00/late.jpg")
    merger = new_project(tmp_path / "merger", lambda _: None, **settings)
    merger.run("people_merge_remote")
    merged = merger.results / "06_merge_remote/aggregate"
    for name in ("removed_all.csv", "kept_all.csv", "errors_all.csv", "removed_all_image_ids.txt", "removed_all_s3_urls.txt"):
        assert timeless(merged / name) == timeless(finished.results / f"05_merge/aggregate/{name}"), name
        published = bucket.read(f"remote/manifests/r/aggregate/{name}")
        with_links = name in ("removed_all.csv", "kept_all.csv")
        assert (published != (merged / name).read_bytes()) == with_links, "links stand in the published copy alone"
    assert bucket.keys("remote/images/") == bucket.keys("first/images/")
    bucket.swift.client().delete_object(Bucket=bucket.name, Key="remote/manifests/r/shard-0001-of-0003/kept.csv")
    again = merger.run("people_merge_remote", check=False)
    assert again.returncode != 0
    assert "shard-0001-of-0003/kept.csv; run people_shard for them first" in again.stdout
