"""people 04: the threshold, what people decided, exclusions, and the accounts."""

import math

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from workflow_scripts.core.accounting import AccountingError
from workflow_scripts.core.json_files import read_json
from workflow_scripts.core.step import StepError
from workflow_scripts.people import manifests, score
from workflow_scripts.people.decide import decide


@pytest.fixture
def reviewed(run):
    """Give the run a file of reviews."""

    def write(*rows):
        run.reviews = run.root / "decide.csv"
        run.reviews.write_text("sha256,path,decision,reason\n" + "".join(f"{','.join(row)},looked at it\n" for row in rows))

    return write


def excluding(run, text, by="sha256", strip_prefix="", name="exclude.csv"):
    path = run.root / name
    path.write_text(text)
    run.settings["exclude"] = [*run.settings["exclude"], {"csv": str(path), "by": by, "strip_prefix": strip_prefix}]
    return str(path)


def decided(run):
    run.list()
    return run.decide()


# ---- the threshold ----


@pytest.mark.parametrize(
    ("threshold", "removed"),
    [
        (0.5, ["d", "c", "b"]),
        (0.500001, ["d", "c"]),
        (0.499999, ["d", "c", "b", "a"]),
        (0.0, ["d", "c", "b", "a", "z"]),
        (1.0, ["d"]),
        (0.7, ["d", "c"]),
    ],
)
def test_what_reaches_the_threshold_is_removed(run, threshold, removed):
    for key, prob in {"a": 0.499999, "b": 0.5, "c": 0.7, "d": 1.0, "z": 0.0}.items():
        run.put(f"{key}.jpg", prob)
    run.settings["threshold"] = threshold
    counts = decided(run)
    found = run.outcomes()
    assert found["removed"] == [f"{key}.jpg" for key in removed]
    assert set(found["kept"]) == {"a.jpg", "b.jpg", "c.jpg", "d.jpg", "z.jpg"} - set(found["removed"])
    assert (counts["removed"], counts["kept"], counts["scanned"]) == (len(removed), 5 - len(removed), 5)
    assert {row["reason"] for row in run.rows("removed")} == {f"people_prob >= {threshold}"}
    assert {row["reason"] for row in run.rows("kept")} <= {f"people_prob < {threshold}"}


def test_a_row_says_everything_of_its_image(run):
    path = run.put("a b/photo #1.final.jpg", 0.75)
    decided(run)
    (row,) = run.rows("removed")
    status = path.stat()
    assert row == {
        "image_id": "photo #1",
        "s3_key": "a b/photo #1.final.jpg",
        "s3_uri": f"file://{run.source}/a%20b/photo%20%231.final.jpg",
        "https_url": "",
        "presigned_url": "",
        "people_prob": "0.750000",
        "size": "22",
        "etag": f"{status.st_mtime_ns:x}-{status.st_size:x}",
        "last_modified": row["last_modified"],
        "margin": f"{math.log(3) / 100:.6f}",
        "sha256": run.sha256("a b/photo #1.final.jpg"),
        "reason": "people_prob >= 0.5",
    }
    assert row["last_modified"][4::3] == "--T::Z"
    assert (run.shard() / "removed_image_ids.txt").read_text() == "photo #1\n"
    assert (run.shard() / "removed_s3_urls.txt").read_text() == row["s3_uri"] + "\n"


def test_ids_may_collide_and_keys_keep_the_images_apart(run):
    for key in ("a/photo.jpg", "b/photo.png", "b/photo.x.jpg"):
        run.put(key, 0.9)
    decided(run)
    assert [(row["image_id"], row["s3_key"]) for row in run.rows("removed")] == [
        ("photo", "a/photo.jpg"),
        ("photo", "b/photo.png"),
        ("photo", "b/photo.x.jpg"),
    ]


# ---- every image is accounted for ----


def everything(run):
    run.put("a/kept.jpg", 0.1)
    run.put("a/removed.jpg", 0.9)
    run.put("b/truncated.jpg", error="decode: truncated")
    run.put("b/gone.jpg", error="download: no such file or directory")
    run.put("b/excluded.jpg", 0.8)
    run.put("c/notes.txt")
    run.put("c/more.TXT")
    run.put("c/film.mp4")
    (run.source / b"c/caf\xe9.jpg".decode(errors="surrogateescape")).write_bytes(b"x")
    return excluding(run, f"sha256\n{run.sha256('b/excluded.jpg')}\n")


def test_every_listed_file_has_one_outcome(run):
    csv = everything(run)
    counts = decided(run)
    assert counts == {
        "listed": 9,
        "not_sampled": 0,
        "excluded": 1,
        "skipped": 3,
        "kept": 1,
        "removed": 1,
        "errors": 3,
        "scanned": 5,
    }
    assert run.rows("errors") == [
        {"s3_key": "b/gone.jpg", "error": "download: no such file or directory"},
        {"s3_key": "b/truncated.jpg", "error": "decode: truncated"},
        {"s3_key": r"c/caf\udce9.jpg", "error": "list: the name is no UTF-8; rename the file"},
    ]
    metadata = read_json(run.shard() / "run_metadata.json")
    assert metadata["skipped"] == {"extension .mp4": 1, "extension .txt": 2}
    assert metadata["excluded"] == {f"excluded: {csv}": 1}


@pytest.mark.parametrize("shard_count", [1, 2, 3, 8])
def test_counts_do_not_depend_on_the_shards(run, shard_count):
    everything(run)
    run.settings["shard_count"] = shard_count
    counts = decided(run)
    assert (counts["listed"], counts["kept"], counts["removed"], counts["errors"]) == (9, 1, 1, 3)
    assert len(list(run.decided.iterdir())) == shard_count
    assert all({path.name for path in folder.iterdir()} == set(manifests.SHARD_FILES) for folder in run.decided.iterdir())


def test_what_is_not_sampled_is_counted(run):
    for number in range(20):
        run.put(f"{number}.jpg", 0.9)
    run.settings["max_images"] = 5
    counts = decided(run)
    assert (counts["listed"], counts["not_sampled"], counts["removed"]) == (20, 15, 5)


def tamper(run, change):
    """Change the rows of the score table, and decide."""
    run.list()
    path = run.score()[0]
    rows = change(pq.read_table(path).to_pylist())
    pq.write_table(pa.Table.from_pylist(rows, schema=score.SCHEMA), path)
    return decide(run.settings, run.listing, {0: path}, run.card, None, run.decided)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda rows: rows[:-1], r"^b\.jpg: listed but not scored as it is now; delete 03_score and run again$"),
        (lambda rows: [*rows[:-1], rows[-1] | {"etag": "older"}], r"^b\.jpg: listed but not scored as it is now"),
        (lambda rows: [*rows, rows[-1] | {"key": "c.jpg"}], r"^scored but never listed: c\.jpg; delete 03_score and run again$"),
    ],
    ids=["missing", "of an older content", "never listed"],
)
def test_scores_that_do_not_fit_the_listing_are_refused(run, change, text):
    run.put("a.jpg")
    run.put("b.jpg")
    with pytest.raises(StepError, match=text):
        tamper(run, change)
    assert not (run.shard() / "kept.csv").exists()


def test_a_key_listed_twice_is_named(run):
    run.put("a.jpg")
    run.list()
    scores = run.score()
    table = pq.read_table(run.listing)
    pq.write_table(pa.concat_tables([table, table]), run.listing)
    with pytest.raises(StepError, match=r"^a\.jpg: listed but not scored as it is now"):
        decide(run.settings, run.listing, scores, run.card, None, run.decided)


def test_a_name_listed_twice_that_is_not_scored_is_named(run):
    run.put("a.jpg")
    run.put("notes.txt")
    run.list()
    scores = run.score()
    table = pq.read_table(run.listing)
    pq.write_table(pa.concat_tables([table, table.filter(pc.equal(table["key"], "notes.txt"))]), run.listing)
    with pytest.raises(AccountingError, match=r"^1 images listed twice: notes\.txt$"):
        decide(run.settings, run.listing, scores, run.card, None, run.decided)


# ---- what people decided ----


def test_a_person_overrides_the_model_both_ways(run, reviewed):
    run.put("a.jpg", 0.9)
    run.put("b.jpg", 0.1)
    run.put("c.jpg", 0.9)
    reviewed((run.sha256("a.jpg"), "a.jpg", "keep"), (run.sha256("b.jpg"), "", "remove"))
    decided(run)
    assert {row["s3_key"]: row["reason"] for row in run.rows("kept")} == {"a.jpg": "human"}
    assert {row["s3_key"]: row["reason"] for row in run.rows("removed")} == {"b.jpg": "human", "c.jpg": "people_prob >= 0.5"}
    assert [row["people_prob"] for row in run.rows("kept")] == ["0.900000"]


def test_a_review_of_another_content_is_reported_and_not_applied(run, reviewed, log_text):
    run.put("a.jpg", 0.9)
    reviewed(("f" * 64, "a.jpg", "keep"), (run.sha256("a.jpg"), "gone.jpg", "keep"))
    decided(run)
    assert run.outcomes()["removed"] == ["a.jpg"]
    lines = [line for line in log_text().splitlines() if "not applied" in line]
    assert lines == [
        f"{run.reviews}: not applied, no such image now: {'f' * 64} a.jpg (keep)",
        f"{run.reviews}: not applied, no such image now: {run.sha256('a.jpg')} gone.jpg (keep)",
    ]


def test_an_image_that_cannot_be_read_stays_an_error_whatever_a_person_said(run, reviewed):
    run.put("a.jpg", error="decode: truncated")
    run.put("b.jpg")
    reviewed((run.sha256("a.jpg"), "a.jpg", "keep"))
    decided(run)
    assert run.outcomes() == {"removed": [], "kept": ["b.jpg"], "errors": ["a.jpg"]}


def test_a_decision_that_is_none_is_refused(run, reviewed):
    run.put("a.jpg")
    reviewed((run.sha256("a.jpg"), "a.jpg", "delete"))
    with pytest.raises(StepError, match=r"decide\.csv, line 2: needs a sha256 and a decision \(keep or remove\), has 'delete'"):
        decided(run)


# ---- exclusions ----


def test_an_excluded_image_is_not_decided(run, reviewed):
    for key in ("x/a.jpg", "x/b.jpg", "x/c.jpg"):
        run.put(key, 0.9)
    run.put("x/d.jpg", error="decode: truncated")
    one = excluding(run, "s3_key\nold/x/a.jpg\nold/x/d.jpg\n", "path", "old/")
    two = excluding(run, f"sha256\n{run.sha256('x/b.jpg')}\n", name="two.csv")
    reviewed((run.sha256("x/b.jpg"), "x/b.jpg", "keep"))
    counts = decided(run)
    assert run.outcomes() == {"removed": ["x/c.jpg"], "kept": [], "errors": []}
    assert counts["excluded"] == 3
    assert read_json(run.shard() / "run_metadata.json")["excluded"] == {f"excluded: {one}": 2, f"excluded: {two}": 1}


def test_the_removed_list_of_a_run_excludes_its_images_from_the_next(run):
    run.put("a, b.jpg", 0.9)
    run.put('quo"te\r\n.jpg', 0.8)
    run.put("c.jpg", 0.1)
    run.until_merge()
    run.settings["exclude"] = [{"csv": str(run.aggregate / "removed_all.csv"), "by": "path", "strip_prefix": ""}]
    counts = decided(run)
    assert (counts["excluded"], counts["kept"], counts["removed"]) == (2, 1, 0)


def test_a_list_that_matches_nothing_is_an_error(run):
    run.put("a.jpg")
    path = excluding(run, "s3_key\nold/a.jpg\n", "path")
    with pytest.raises(StepError, match=rf"^exclude: {path}: matches no image by path"):
        decided(run)


def test_a_list_that_matches_in_one_shard_is_enough(run):
    for number in range(9):
        run.put(f"{number}.jpg")
    run.settings["shard_count"] = 4
    excluding(run, "path\n3.jpg\n", "path")
    assert decided(run)["excluded"] == 1


# ---- metadata ----


def test_metadata_holds_what_decides_and_nothing_of_the_moment(run):
    run.put("a.jpg", 0.9)
    run.settings |= {"shard_count": 2, "threshold": 0.25}
    decided(run)
    found = read_json(run.shard(1) / "run_metadata.json")
    later = ("timestamp_utc", "bucket", "region", "dst_prefix", "manifest_prefix", "dry_run", "batch_size")
    assert {name: found[name] for name in later} == dict.fromkeys(later)
    assert found["model"] == {"name": "ViT", "pretrained": "toy.pt", "sha256": "ab" * 32}
    named = ("run_id", "src_prefix", "shard_index", "shard_count", "threshold", "max_images", "workflow_version")
    assert [found[name] for name in named] == ["test", str(run.source), 1, 2, 0.25, 0, "0.1.0"]
    assert found["prompts"] == {"positive": ["a person"], "negative": ["a thing"]}
    assert list(found["counts"]) == ["listed", "not_sampled", "excluded", "skipped", "kept", "removed", "errors", "scanned"]


def test_same_scores_same_bytes(run, tree):
    everything(run)
    run.settings["shard_count"] = 2
    decided(run)
    before = tree(run.decided)
    decided(run)
    assert tree(run.decided) == before
    assert len(before) == 12
