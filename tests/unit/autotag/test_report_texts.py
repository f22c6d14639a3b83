"""autotag 09: what the page says beside its rows."""

import csv
import io

from tests.unit.autotag.vote_data import RECALL, SETTINGS
from workflow_scripts.autotag.report_pictures import Neighbours
from workflow_scripts.autotag.report_texts import index_panel, notes, tags_panel, threshold, vote_panel, warnings

INDEX = {"rows": 12_345, "images": 2_000, "untagged": 7, "factory": "IVF256,Flat", "warnings": []}
ABOUT = {"images": {"listed": 1, "tagged": 1, "untagged": 0, "error": 0}}


def test_the_slider_is_min_votes_and_reaches_beyond_what_there_is():
    found = threshold(SETTINGS, [1, 4, 17])
    assert (found.column, found.value, found.rejects, found.config_path) == ("votes", 3, "below", ("autotag", "vote", "min_votes"))
    assert (found.low, found.high, found.step) == (1, 18, 1)
    assert [threshold(SETTINGS | {"min_votes": votes}, []).high for votes in (1, 3, 50)] == [6, 6, 100]


def test_what_is_wrong_with_index_and_shards_is_said_once():
    nothing = Neighbours({}, [], [])
    assert warnings(nothing, RECALL, INDEX) == []
    index, recall = INDEX | {"warnings": ["too few lists"]}, RECALL | {"warnings": ["recall is low", "too few lists"]}
    assert warnings(Neighbours({}, ["00001", "00002"], ["00003"]), recall, index) == [
        "too few lists",
        "recall is low",
        "Pictures of source images may be missing on this page: their shards are gone (00001.tar, 00002.tar).",
        "Source images are missing on this page: the tables of their shards are gone (00003).",
    ]
    many = Neighbours({}, [f"{number:05d}" for number in range(9)], [])
    assert warnings(many, RECALL, INDEX)[0].endswith("(00000.tar, 00001.tar, 00002.tar, 00003.tar, 00004.tar and 4 more).")


def test_notes_say_how_many_images_and_where_decisions_are_read():
    first, second = notes({"reviews": "reviews/autotag/x/vote.csv"}, ABOUT, RECALL)
    assert first == ("1 image: 1 with tags, 0 without, 0 that cannot be read. Of the 10 nearest neighbours the index finds 98.4%.")
    assert "write a line into reviews/autotag/x/vote.csv: the image's sha256, image → tag as path, and add as decision" in second


def test_tags_are_listed_by_how_many_images_have_them():
    rows = [
        ("dog", "kept"),
        ("cat", "rejected"),
        ("dog", "kept"),
        ("a,b", "kept"),
        ("dog", "rejected"),
        ("ant", "rejected"),
        ("cat", "rejected"),
    ]
    panel = tags_panel({"tag": tag, "outcome": outcome} for tag, outcome in rows)
    assert panel.rows == (("dog", "2", "1"), ("a,b", "1", "0"), ("cat", "0", "2"), ("ant", "0", "1"))
    assert panel.text[0].startswith("2 tags on the images of this folder")
    assert list(csv.reader(io.StringIO(panel.downloads["tags.csv"].decode())))[1:3] == [["dog", "2", "1"], ["a,b", "1", "0"]]


def test_how_tags_come_about_follows_the_settings():
    neighbours = {"own": 1, "excluded": 2, "dissimilar": 3, "untagged": 4, "same_image": 5, "beyond_k": 6, "counted": 7000}
    panel = vote_panel(SETTINGS, neighbours)
    assert [row[1] for row in panel.rows] == ["1", "2", "3", "4", "5", "6", "7,000"]
    assert "The nearest 10 of them count." in panel.text[0]
    assert panel.text[1] == (
        "A part votes for each tag that at least 30% of these neighbours carry; a neighbour carries all tags of its image. An image gets a "
        "tag that has at least 3 votes, or those of all its parts where the image has fewer."
    )
    other = vote_panel(SETTINGS | {"unit": "neighbour", "tags": "label", "min_votes": 1}, neighbours)
    assert other.text[1] == (
        "Each of these neighbours votes for each of its tags; a neighbour carries the name of the part. An image gets a tag that has at "
        "least 1 vote."
    )
    assert vote_panel(SETTINGS | {"relax_small": False}, neighbours).text[1].endswith("An image gets a tag that has at least 3 votes.")


def test_the_index_is_described():
    assert dict(index_panel(RECALL, INDEX).rows) == {
        "parts in the index": "12,345",
        "source images": "2,000",
        "source images without tags": "7",
        "kind of index (faiss.factory)": "IVF256,Flat",
        "lists that a search looks through (nprobe)": "16",
        "candidates that are compared with the stored vectors (rerank)": "200",
        "recall@10": "0.984",
        "reaches 0.9": "yes",
    }


def test_an_index_without_lists_or_measure_is_described_too():
    unknown = RECALL | {"recall": None, "nprobe": None, "reached": False}
    rows = dict(index_panel(unknown, INDEX).rows)
    assert (rows["recall@10"], rows["reaches 0.9"], rows["lists that a search looks through (nprobe)"]) == ("not measured", "no", "all")
    assert notes({"reviews": "x.csv"}, ABOUT, unknown)[0] == "1 image: 1 with tags, 0 without, 0 that cannot be read."
