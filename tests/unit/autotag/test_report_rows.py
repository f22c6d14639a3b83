"""autotag 09: the rows of the page: what stands in them, and which images have one of their own."""

import pytest

from tests.unit.autotag.vote_data import Drawn
from tests.unit.lora.pages_data import close, read_page

HEADER = "sha256,path,decision,reason"
SPACE = "\N{NO-BREAK SPACE}"


@pytest.fixture
def drawn(tmp_path):
    """Images with many parts and few, one without, one that nobody can read."""
    found = Drawn(tmp_path)
    found.samples_of()
    found.draw("d/four.png", "ball", "box", "ball", "ball")
    found.draw("one #1.png", "kite", whole=True)
    found.draw("none.png")
    found.break_image("broken.png")
    found.save_source()
    return found


def line(row, tag, decision):
    return f'{row["sha256"]},"{row["image"]} → {tag}",{decision},'


def test_an_item_is_an_image_and_a_tag_with_its_boxes_and_neighbours(drawn):
    counts, folder = drawn.page(tags="label")
    rows, data = read_page(folder)
    assert list(rows) == ["d/four.png → ball", "d/four.png → box", "one #1.png → kite", "broken.png", "none.png"]
    assert (counts["rows"], counts["missing"], counts["broken"]) == (5, 0, 0)
    ball = rows["d/four.png → ball"]
    assert (ball["id"], ball["label"], ball["outcome"], ball["reason"], ball["open"]) == (drawn.images[0]["sha256"], "ball", "kept", "", 1)
    assert ball["numbers"]["votes"] == 3
    assert (ball["numbers"]["needed"], ball["numbers"]["parts"]) == (3, 4)
    assert rows["d/four.png → box"]["reason"] == "votes 1 of 3"
    assert ball["pictures"] == 6
    candidate = next(row for row in drawn.candidates() if row["tag"] == "ball")
    first = candidate["examples"][0]
    number = first["crop"].rpartition("_")[2]
    assert ball["captions"][:2] == [
        "four.png",
        f"like{SPACE}part{SPACE}{number}{SPACE}({first['similarity']:.2f}): {candidate['neighbours'][0]}",
    ]
    assert ball["links"] == [(drawn.target / "d/four.png").as_uri(), "", "", "", "", ""]
    assert data["page"]["thresholds"][0]["value"] == 3


def test_boxes_are_those_of_the_parts_that_voted_and_of_the_segments_that_made_them(drawn):
    rows = read_page(drawn.page(tags="label")[1])[0]
    boxes = rows["d/four.png → ball"]["boxes"]
    crops = {crop["crop_id"]: crop["bbox"] for crop in drawn.crops}
    own = [box for box in boxes if box[0] == 0]
    assert [box[5] for box in own] == ["0", "2", "3"]
    for box in own:
        sides = [side / size for side, size in zip(crops[f"d/four_{box[5]}"], (320, 240, 320, 240), strict=True)]
        assert all(close(one, other) for one, other in zip(box[1:5], sides, strict=True))
    candidate = next(row for row in drawn.candidates() if row["tag"] == "ball")
    segments = {(f"{row['shard']}/{row['key']}", row["crop_id"]): row for row in drawn.segments}
    others = [box for box in boxes if box[0]]
    assert [(box[0], box[5]) for box in others] == [(place, "ball") for place in range(1, 6)]
    for box, name, example in zip(others, candidate["neighbours"], candidate["examples"], strict=False):
        sides = [side / size for side, size in zip(segments[name, example["segment"]]["bbox"], (320, 240, 320, 240), strict=True)]
        assert all(close(one, other) for one, other in zip(box[1:5], sides, strict=True))


def test_the_whole_image_is_called_so(drawn):
    row = read_page(drawn.page(tags="label")[1])[0]["one #1.png → kite"]
    assert [box[5] for box in row["boxes"] if box[0] == 0] == ["0", "whole"]
    assert any(caption.startswith(f"like{SPACE}the{SPACE}whole{SPACE}(") for caption in row["captions"])


def test_images_without_votes_and_unreadable_ones_have_rows_of_their_own(drawn):
    rows = read_page(drawn.page(tags="label")[1])[0]
    none, broken = rows["none.png"], rows["broken.png"]
    assert (none["outcome"], none["reason"], none["pictures"], none["open"]) == ("no tags", "no part of it could be embedded", 1, 0)
    assert (broken["outcome"], broken["reason"], broken["pictures"], broken["open"]) == ("error", "decode: not an image", 0, 0)
    assert [row["links"][0] for row in (none, broken)] == [(drawn.target / name).as_uri() for name in ("none.png", "broken.png")]
    assert none["tags"] == ["image without tags"]


def test_every_image_stands_on_the_page(drawn):
    rows = read_page(drawn.page()[1])[0]
    assert {name.partition(" → ")[0] for name in rows} == {row["image"] for row in drawn.images}


def test_tags_find_what_belongs_together(drawn):
    four = drawn.images[0]
    rows = read_page(drawn.page([HEADER, line(four, "ball", "reject"), line(drawn.images[1], "zebra", "add")], tags="label")[1])[0]
    assert rows["d/four.png → box"]["tags"] == ["d/four.png", "image without tags"]
    assert rows["one #1.png → kite"]["tags"] == ["one #1.png", "few parts: fewer votes needed"]
    assert rows["one #1.png → zebra"]["tags"] == ["one #1.png", "added by a person", "few parts: fewer votes needed"]


def test_what_a_person_decided_is_shown_as_decided(drawn):
    four, one = drawn.images[:2]
    lines = [line(four, "ball", "reject"), line(four, "box", "keep"), line(one, "zebra", "add")]
    rows = read_page(drawn.page([HEADER, *lines], tags="label")[1])[0]
    found = {name: (row["decision"], row["outcome"], row["reason"], row["movable"]) for name, row in rows.items() if row["decision"]}
    assert found == {
        "d/four.png → ball": ("reject", "rejected", "rejected by a person", 0),
        "d/four.png → box": ("keep", "kept", "kept by a person: votes 1 of 3", 0),
        "one #1.png → zebra": ("keep", "kept", "added by a person", 0),
    }
    zebra = rows["one #1.png → zebra"]
    assert (zebra["pictures"], zebra["boxes"], zebra["numbers"]["votes"]) == (1, [], None)


def test_the_slider_moves_what_another_threshold_would(drawn):
    """For every position: what the page would say is what a vote with that threshold says."""
    for minimum in (1, 2, 3, 5):
        rows, data = read_page(drawn.page(min_votes=minimum, name=f"page {minimum}")[1])
        grid = data["page"]["thresholds"][0]["grid"]
        assert (grid[0], grid[-1] >= 5) == (1, True)
        for other in (int(value) for value in grid):
            said = {
                name: ("rejected" if row["numbers"]["votes"] < other else "kept") if row["movable"] else row["outcome"]
                for name, row in rows.items()
                if " → " in name
            }
            drawn.vote(min_votes=other)
            voted = {f"{row['image']} → {row['tag']}": row["outcome"] for row in drawn.candidates()}
            assert said == voted, (minimum, other)


def test_without_relaxation_or_by_neighbour_the_slider_moves_all(drawn):
    for settings in ({"relax_small": False}, {"unit": "neighbour", "min_votes": 8}):
        rows = read_page(drawn.page(name=f"page {settings}", **settings)[1])[0]
        assert all(row["movable"] for name, row in rows.items() if " → " in name)


def test_pairs_that_look_like_each_other_have_names_of_their_own(tmp_path):
    drawn = Drawn(tmp_path)
    drawn.samples_of(1, 3)
    drawn.draw("a")
    drawn.draw("a → b")
    drawn.save_source()
    rows = [HEADER + ",tag", f"{drawn.images[0]['sha256']},a,add,,b → c", f"{drawn.images[1]['sha256']},a → b,add,,c"]
    rows = read_page(drawn.page(rows)[1])[0]
    assert {name: (row["label"], row["open"], row["decision"]) for name, row in rows.items()} == {
        "a → b → c": ("b → c", 1, "keep"),
        "a → b → c (2)": ("c", 0, ""),
    }


def test_lines_are_read_as_the_vote_reads_them(tmp_path):
    drawn = Drawn(tmp_path)
    drawn.samples_of(1, 3)
    drawn.draw("x → y.png", "ball")
    drawn.error("x")
    drawn.images[1]["sha256"] = drawn.images[0]["sha256"]
    drawn.save_source()
    rows = read_page(drawn.page([HEADER, line(drawn.images[0], "ball", "reject")])[1])[0]
    assert rows["x → y.png → ball"]["decision"] == "reject", "what cannot be read has no tags, and its name none of the meanings of a line"


def test_candidates_without_neighbours_on_the_page_are_shown_all_the_same(drawn):
    for path in drawn.results.rglob("*.parquet"):
        path.unlink()
    rows, data = read_page(drawn.page(tags="label")[1])
    ball = rows["d/four.png → ball"]
    assert ball["pictures"] == 6
    assert [box[0] for box in ball["boxes"]] == [0, 0, 0]
    assert len(data["pictures"]["widths"]) == 3
