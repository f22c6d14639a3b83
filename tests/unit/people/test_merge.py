"""people 05: the same tables from any number of shards, and nothing merged with a part missing or different."""

import pytest

from workflow_scripts.core.accounting import AccountingError
from workflow_scripts.core.json_files import read_json, write_json
from workflow_scripts.core.step import StepError
from workflow_scripts.people import manifests
from workflow_scripts.people.list_objects import shard_of
from workflow_scripts.people.merge import _collisions

TABLES = [name for name in manifests.AGGREGATE_FILES if name != "merge_metadata.json"]


def fill(run, shard_count):
    """Thirty images, many of the same probability, some errors, some that are no images, names that need quotes."""
    run.settings["shard_count"] = shard_count
    for number in range(30):
        key = f"album {number % 3}/{number:02}{',' * (number % 2)}.jpg"
        run.put(key, (number * 7 % 10) / 10, error="decode: truncated" if number % 10 == 9 else None)
    run.put('odd/quo"te\r\nlines.jpg', 0.6)
    run.put("notes.txt")


def merged(run, shard_count=1):
    if not run.scores:
        fill(run, shard_count)
    run.settings["shard_count"] = shard_count
    run.until_merge()
    return {name: (run.aggregate / name).read_bytes() for name in TABLES}


@pytest.fixture
def four(run):
    """A run of four shards, decided and not yet merged."""
    fill(run, 4)
    run.list()
    run.decide()
    return run


def edit_rows(run, shard, name, change):
    path = run.shard(shard) / f"{name}.csv"
    columns = manifests.ERROR_COLUMNS if name == "errors" else manifests.COLUMNS
    manifests.write_csv(path, columns, change(list(manifests.read_csv(path))))


def edit_metadata(run, shard, change):
    path = run.shard(shard) / "run_metadata.json"
    metadata = read_json(path)
    change(metadata)
    write_json(path, metadata)


def refused(run, kind=AccountingError):
    """The text of the error that the merge ends with."""
    with pytest.raises(kind) as caught:
        run.merge()
    assert not run.aggregate.exists()
    return str(caught.value)


# ---- what it writes ----


@pytest.mark.parametrize("shard_count", [2, 4, 13])
def test_the_tables_do_not_depend_on_the_number_of_shards(run, shard_count):
    one = merged(run)
    assert merged(run, shard_count) == one
    assert all(one.values())


def test_one_shard_is_its_own_aggregate(run):
    found = merged(run)
    pairs = [("removed.csv", "removed_all.csv"), ("kept.csv", "kept_all.csv"), ("errors.csv", "errors_all.csv")]
    pairs += [("removed_image_ids.txt", "removed_all_image_ids.txt"), ("removed_s3_urls.txt", "removed_all_s3_urls.txt")]
    assert all((run.shard() / name).read_bytes() == found[merged_name] for name, merged_name in pairs)


def test_everything_of_every_shard_is_there_once_and_in_order(four):
    totals = four.merge()
    removed, kept, errors = (list(manifests.read_csv(four.aggregate / f"{name}_all.csv")) for name in ("removed", "kept", "errors"))
    assert removed == sorted(removed, key=lambda row: (-float(row["people_prob"]), row["s3_key"].encode()))
    assert kept == sorted(kept, key=lambda row: (-float(row["people_prob"]), row["s3_key"].encode()))
    assert errors == sorted(errors, key=lambda row: row["s3_key"].encode())
    keys = [row["s3_key"] for row in (*removed, *kept, *errors)]
    assert sorted(keys) == sorted(key for key in four.scores if key != "notes.txt")
    assert totals == {
        "listed": 32,
        "not_sampled": 0,
        "excluded": 0,
        "skipped": 1,
        "kept": len(kept),
        "removed": len(removed),
        "errors": 3,
        "scanned": 31,
    }
    assert (four.aggregate / "removed_all_s3_urls.txt").read_text().splitlines() == [row["s3_uri"] for row in removed]
    metadata = read_json(four.aggregate / "merge_metadata.json")
    assert metadata["counts"] == {
        "shard_count": 4,
        "merged_removed_rows": len(removed),
        "merged_removed_ids": len(removed),
        "merged_removed_urls": len(removed),
        "kept_rows": len(kept),
        "error_rows": 3,
    }
    assert [(shard["shard"], shard["found"]) for shard in metadata["shard_status"]] == [(number, True) for number in range(4)]
    assert sum(shard["errors"] for shard in metadata["shard_status"]) == 3
    assert (metadata["run_id"], metadata["timestamp_utc"], metadata["manifest_root"]) == ("test", None, None)


def test_empty_tables_have_their_headers(run):
    run.put("a.jpg", error="decode: truncated")
    run.until_merge()
    header = ",".join(manifests.COLUMNS) + "\n"
    assert [(run.aggregate / f"{name}_all.csv").read_text() for name in ("removed", "kept")] == [header, header]
    assert (run.aggregate / "removed_all_image_ids.txt").read_bytes() == b""
    assert read_json(run.aggregate / "merge_metadata.json")["image_id_collisions"] == {"ids": 0, "examples": []}


def test_an_empty_shard_is_a_shard(run):
    run.put("a.jpg")
    run.settings["shard_count"] = 5
    run.until_merge()
    assert [row["s3_key"] for row in manifests.read_csv(run.aggregate / "kept_all.csv")] == ["a.jpg"]


# ---- what it refuses ----


@pytest.mark.parametrize("name", manifests.SHARD_FILES)
def test_a_missing_file_is_named(four, name):
    (four.shard(2) / name).unlink()
    assert refused(four, StepError) == f"the merge needs every shard; missing: {four.shard(2) / name}"


def test_a_missing_shard_is_named(four):
    four.shard(1).rename(four.root / "lost")
    text = refused(four, StepError)
    assert text == "the merge needs every shard; missing: " + ", ".join(str(four.shard(1) / name) for name in manifests.SHARD_FILES)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("run_id", "another"),
        ("src_prefix", "/elsewhere"),
        ("shard_count", 5),
        ("threshold", 0.51),
        ("max_images", 10),
        ("model", {"name": "ViT", "pretrained": "toy.pt", "sha256": "cd" * 32}),
        ("prompts", {"positive": ["a cat"], "negative": ["a thing"]}),
        ("workflow_version", "0.0.9"),
        ("config_digest", "0" * 16),
    ],
)
@pytest.mark.parametrize("shard", [1, 3])
def test_a_shard_of_other_settings_is_named_with_what_differs(four, shard, name, value):
    edit_metadata(four, shard, lambda metadata: metadata.update({name: value}))
    text = refused(four, StepError)
    assert text == f"{four.shard(shard)} differs from {four.shard(0)} in {name}; make both with the same settings"


def test_a_key_of_another_shard_is_named(four):
    (row, *_) = four.rows("kept", shard=1)
    edit_rows(four, 0, "kept", lambda rows: [*rows, row])
    assert refused(four) == f"{four.shard(0)}: holds keys of other shards: {row['s3_key']}"


@pytest.mark.parametrize("name", ["removed", "kept", "errors"])
def test_a_key_twice_in_a_table_is_named(four, name):
    shard, row = next((shard, rows[0]) for shard in range(4) if (rows := four.rows(name, shard)))
    edit_rows(four, shard, name, lambda rows: [*rows, row])
    assert refused(four) == f"1 images counted twice: {row['s3_key']} ({name}, {name})"


def test_a_key_in_two_tables_is_named(four):
    (row, *_) = four.rows("kept", shard=2)
    edit_rows(four, 2, "removed", lambda rows: [*rows, row])
    edit_metadata(four, 2, lambda metadata: metadata["counts"].update(removed=metadata["counts"]["removed"] + 1))
    assert refused(four) == f"1 images counted twice: {row['s3_key']} (removed, kept)"


def test_a_key_that_was_never_listed_is_named(four):
    key = next(key for number in range(100) if shard_of(key := f"new-{number}.jpg", 4) == 3)
    edit_rows(four, 3, "errors", lambda rows: [*rows, {"s3_key": key, "error": "decode: x"}])
    edit_metadata(four, 3, lambda metadata: metadata["counts"].update(errors=metadata["counts"]["errors"] + 1))
    assert refused(four) == f"1 images errors but never listed: {key}"


@pytest.mark.parametrize("name", ["removed", "kept", "errors"])
def test_a_table_with_a_row_missing_is_named(four, name):
    shard, rows = next((shard, rows) for shard in range(4) if (rows := four.rows(name, shard)))
    edit_rows(four, shard, name, lambda rows: rows[1:])
    assert refused(four) == f"{four.shard(shard)}: {name}.csv has {len(rows) - 1} rows, its metadata says {len(rows)}"


def test_an_image_in_no_table_is_named(four):
    (row, *_) = four.rows("kept", shard=2)
    edit_rows(four, 2, "kept", lambda rows: rows[1:])
    edit_metadata(four, 2, lambda metadata: metadata["counts"].update(kept=metadata["counts"]["kept"] - 1))
    assert refused(four) == f"{four.shard(2)}: images in no table, and not all of them excluded: {row['s3_key']}"


@pytest.mark.parametrize("name", ["listed", "skipped", "not_sampled"])
def test_counts_that_do_not_add_up_are_shown(four, name):
    edit_metadata(four, 1, lambda metadata: metadata["counts"].update({name: metadata["counts"][name] + 1}))
    with pytest.raises(AccountingError, match=rf"^the counts of the shards do not add up: .*'{name}': "):
        four.merge()


def test_a_file_that_came_after_the_decision_is_named(four):
    four.put("late.jpg")
    four.list()
    assert "images in no table, and not all of them excluded: late.jpg" in refused(four)


def test_excluded_and_skipped_images_stand_in_no_table(run):
    fill(run, 4)
    path = run.root / "exclude.csv"
    path.write_text("path\nalbum 0/00.jpg\nalbum 2/02.jpg\n")
    run.settings["exclude"] = [{"csv": str(path), "by": "path", "strip_prefix": ""}]
    totals = run.until_merge()
    assert (totals["excluded"], totals["skipped"], totals["scanned"]) == (2, 1, 29)


# ---- collisions ----


def test_ids_that_several_keys_share_are_reported(run, log_text):
    keys = {
        "a/1.jpg": 0.9,
        "b/1.png": 0.1,
        "c/1.x.jpg": 0.1,
        "a/2.jpg": 0.9,
        "b/2.jpg": 0.9,
        "a/3.jpg": 0.1,
        "a/.x.jpg": 0.1,
        "b/.y.jpg": 0.1,
    }
    keys |= {"a/NULL.jpg": 0.1, "b/NULL.jpg": 0.1, "a/two\nlines.jpg": 0.9, "b/two\nlines.png": 0.1, "a/nan.jpg": 0.1, "a/01.jpg": 0.1}
    for key, prob in keys.items():
        run.put(key, prob)
    run.settings["shard_count"] = 3
    run.until_merge()
    found = read_json(run.aggregate / "merge_metadata.json")["image_id_collisions"]
    assert found == {"ids": 5, "examples": ["", "1", "2", "NULL", "two\nlines"]}
    assert "5 image ids belong to several keys each; go by s3_key or sha256 instead" in log_text()


def test_ids_of_several_lines_are_told_apart_in_large_tables(run):
    text = 'line, "quoted"\n' * 200
    names = [f"{number}\n{text}" for number in range(600)]
    rows = [dict.fromkeys(manifests.COLUMNS, "") | {"image_id": name} for name in [*names, names[17]]]
    run.aggregate.mkdir(parents=True)
    assert manifests.write_csv(run.aggregate / "removed_all.csv", manifests.COLUMNS, rows) == 601
    manifests.write_csv(run.aggregate / "kept_all.csv", manifests.COLUMNS, rows[5:6])
    assert (run.aggregate / "removed_all.csv").stat().st_size > 1_500_000  # more than one block of the reader
    assert _collisions(run.aggregate) == {"ids": 2, "examples": [names[17], names[5]]}


def test_no_more_than_twenty_examples_are_shown(run):
    for number in range(25):
        run.put(f"a/{number:02}.jpg")
        run.put(f"b/{number:02}.jpg")
    run.until_merge()
    found = read_json(run.aggregate / "merge_metadata.json")["image_id_collisions"]
    assert found == {"ids": 25, "examples": [f"{number:02}" for number in range(20)]}


def test_without_collisions_nothing_is_said(run, log_text):
    run.put("a.jpg")
    run.until_merge()
    assert "image ids" not in log_text()
