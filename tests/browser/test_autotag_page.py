"""The page of autotag as it is used: few votes first, boxes drawn, a threshold tried out, and decisions that the next vote follows."""

import csv
import json

import pytest
from playwright.sync_api import expect

from tests.unit.autotag.vote_data import Drawn

HOSTILE = ("<script>window.hacked=1<script>.png", 'it\'s "so", twice.png', "line\nbreak.png", " #1 100% {x} \u2028 é 🙂.png", "-rf → x.png")
WIDE = {"viewport": {"width": 1300, "height": 2600}}


@pytest.fixture
def drawn(tmp_path):
    """Images under names that are hard to handle, one with few parts, one with none, and one that nobody can read."""
    found = Drawn(tmp_path)
    found.samples_of()
    for name, things in zip(
        HOSTILE, (("ball",) * 3, ("ball", "box", "ball", "box"), ("tent",) * 5, ("kite", "ring"), ("box",)), strict=True
    ):
        found.draw(f"d/{name}", *things)
    found.draw("none.png")
    found.break_image("broken <b>.png")
    found.save_source()
    return found


def saved(rows, drawn):
    """What the browser's file says, as lines of a file."""
    path = drawn.root / "exported.csv"
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def pair(row):
    return f"{row['image']} → {row['tag']}"


def test_few_votes_come_first_with_their_boxes(drawn, gallery):
    _, folder = drawn.page()
    seen = gallery(folder, **WIDE)
    rows = drawn.candidates()
    outcomes = [row["outcome"] for row in rows]
    assert seen.counts() == {"kept": outcomes.count("kept"), "rejected": outcomes.count("rejected"), "no tags": 1, "error": 1}
    votes = {pair(row): row["votes"] for row in rows}
    order = [votes[name] for name in seen.names()]
    assert order == sorted(order)
    assert order[0] == min(votes.values())
    current = next(row for row in rows if pair(row) == seen.current())
    boxes = seen.tab.locator(".cell.current .frame").first.locator(".box")
    assert sorted(boxes.all_text_contents()) == sorted(crop.rpartition("_")[2] for crop in current["crops"])
    assert seen.tab.locator(".cell.current .frame").count() == 1 + len(current["examples"])
    assert seen.tab.evaluate("window.hacked") is None


def test_the_slider_says_what_another_vote_would(drawn, gallery):
    _, folder = drawn.page()
    seen = gallery(folder, **WIDE)
    slider = seen.tab.get_by_role("slider", name="Threshold for votes")
    for key, minimum in (("ArrowRight", 4), ("ArrowRight", 5), ("Home", 1)):
        slider.focus()
        seen.press(key)
        assert slider.get_attribute("aria-valuenow") == str(minimum)
        drawn.vote(min_votes=minimum)
        outcomes = drawn.found("outcome")
        assert {name: seen.counts().get(name, 0) for name in ("kept", "rejected")} == {
            "kept": outcomes.count("kept"),
            "rejected": outcomes.count("rejected"),
        }
    expect(seen.tab.locator("#config pre")).to_contain_text("autotag:\n  vote:\n    min_votes: 1\n")


def test_decisions_by_keys_are_what_the_next_vote_follows(drawn, gallery):
    _, folder = drawn.page()
    seen = gallery(folder, **WIDE)
    before = {pair(row): row for row in drawn.candidates()}
    names = [name for name in seen.names() if name in before][:4]
    seen.press("k", "x", "x", "k")
    exported = seen.export()
    assert {row["path"]: row["decision"] for row in exported} == dict(zip(names, ("keep", "reject", "reject", "keep"), strict=True))
    lines = saved(exported, drawn)
    _, folder = drawn.page(lines, "again")
    outcomes = {pair(row): row["outcome"] for row in drawn.candidates()}
    assert [outcomes[name] for name in names] == ["kept", "rejected", "rejected", "kept"]
    assert {name: outcome for name, outcome in outcomes.items() if name not in names} == {
        name: row["outcome"] for name, row in before.items() if name not in names
    }
    again = gallery(folder, **WIDE)
    assert again.decided() == {row["path"]: row["decision"] for row in exported}, "shown as decided, and kept by the next file"


def test_a_tag_that_a_person_added_stays_when_the_page_s_file_replaces_theirs(drawn, gallery):
    image = drawn.images[0]
    added = ["sha256,path,decision,tag", f'{image["sha256"]},"{image["image"]}",add,Pink Elephant']
    _, folder = drawn.page(added)
    seen = gallery(folder, **WIDE)
    lines = saved(seen.export(), drawn)
    assert drawn.vote(lines)["unused"] == 0
    assert "pink elephant" in drawn.tags()[image["image"]]


def test_the_tags_of_an_image_are_found_together_and_unreadable_ones_with_their_text(drawn, gallery):
    _, folder = drawn.page()
    seen = gallery(folder, **WIDE)
    name = f"d/{HOSTILE[1]}"
    seen.tab.get_by_placeholder("Search names").fill(name)
    assert set(seen.names()) == {pair(row) for row in drawn.candidates(name)}
    seen.tab.get_by_placeholder("Search names").fill("")
    seen.tab.get_by_role("button", name="Errors").click()
    assert seen.names() == ["broken <b>.png"]
    expect(seen.tab.locator(".cell")).to_contain_text("decode: not an image")


def test_the_original_is_shown_large_with_its_boxes_and_neighbours_as_they_are(drawn, gallery):
    _, folder = drawn.page()
    seen = gallery(folder, **WIDE)
    seen.press("Enter")
    seen.tab.wait_for_selector("#lightbox .original img")
    captions = seen.tab.locator("#lightbox figcaption").all_text_contents()
    assert captions[0].endswith("full image, 320 × 240")
    assert all("thumbnail enlarged" in caption for caption in captions[1:])
    assert len(captions) > 1


def test_the_tables_of_the_page_can_be_saved(drawn, gallery):
    _, folder = drawn.page()
    seen = gallery(folder, **WIDE)
    panel = seen.tab.locator("details.panel").filter(has_text="Tags by frequency")
    panel.locator("summary").click()
    with seen.tab.expect_download() as download:
        panel.get_by_role("link", name="tags.csv").click()
    rows = list(csv.reader(download.value.path().read_text(encoding="utf-8").splitlines()))
    tags = json.loads(drawn.outputs.tags.read_text(encoding="utf-8"))
    assert {tag: int(images) for tag, images, _ in rows[1:] if int(images)} == {
        tag: sum(tag in found for found in tags.values()) for found in tags.values() for tag in found
    }
