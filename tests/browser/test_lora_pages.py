"""The pages of lora as they are used: decisions by keys, lines for a shell, limits tried out, texts of models shown as texts."""

import csv
import re
import shutil
import subprocess

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.unit.lora.pages_data import HOSTILE, SCORE, Workspace
from workflow_scripts.lora import page_captions, page_composites, page_filter, page_masks, page_sharpness, tables
from workflow_scripts.lora.culls import Culls
from workflow_scripts.lora.page_pictures import GREYS

SCRIPT = '</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1> "it\'s"\n\u202etattoo'
ROOMY = {"viewport": {"width": 1300, "height": 1400}}


class Pages:
    """A workspace with videos of odd names, and its pages."""

    def __init__(self, folder):
        self.workspace = Workspace(folder, dict.fromkeys(HOSTILE, 2))
        self.root = self.workspace.root

    def build(self, step, module, *given, **more):
        output = self.root / f"page {step}"
        run = {"workspace": "data_TEST", "reviews": f"reviews/lora/data_TEST/{step}.csv", "score": SCORE} | more
        module.build(run, *given, self.root, machine=self.workspace.machine, output=output)
        return output

    def composites(self, rows, reviews=()):
        table = self.workspace.write("05_training_data/manifest", tables.COMPOSITES, rows)
        return self.build("05_composite", page_composites, table, reviews)

    def captions(self, rows):
        return self.build("06_caption", page_captions, self.workspace.write("06_caption/manifest", tables.CAPTIONS, rows), [])

    def selection(self, rows, module=page_filter):
        table = self.workspace.write("04_top100_staging/manifest", tables.SELECTION, rows)
        candidates = self.workspace.write("02_sorted_candidates", tables.SORTED, self.workspace.sorted())
        return self.build("04_select", module, table, candidates, *([[]] if module is page_filter else []))


@pytest.fixture
def pages(tmp_path):
    return Pages(tmp_path)


def saved(rows, path):
    """What the browser's file says, as a file."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def file_names(rows):
    return [f"{row['category']}/{row['frame_id']}.jpg" for row in rows]


def test_decisions_by_keys_are_what_the_next_step_reads(pages, gallery, tmp_path):
    rows = pages.workspace.composites()
    names = file_names(rows)
    seen = gallery(pages.composites(rows), **ROOMY)
    assert seen.counts() == {"composited": 12}
    assert seen.names()[:4] == names[:4]
    seen.press("k", "x", "ArrowRight", "x", "x", "u")
    assert seen.decided() == {names[0]: "keep", names[1]: "reject", names[3]: "reject"}
    assert seen.counts() == {"composited": 10, "rejected": 2}
    exported = seen.export()
    assert [row["sha256"] for row in exported] == [rows[place]["sha256"] for place in (0, 1, 3)]
    reviews = saved(exported, tmp_path / "05_composite.csv")
    culls = Culls.read([reviews])
    assert [place for place, row in enumerate(rows) if culls.reason(row["sha256"])] == [1, 3]
    assert not culls.unused()
    # Another background and another category: the decisions are about the frames.
    for row in rows:
        row |= {"category": "full_body", "path": None}
    again = gallery(pages.composites(rows, [reviews]), **ROOMY)
    assert again.counts() == {"composited": 10, "rejected": 2}
    assert set(again.decided().values()) == {"keep", "reject"}


def test_the_lines_for_a_shell_move_files_of_any_name(pages, gallery):
    rows = pages.workspace.composites()
    seen = gallery(pages.composites(rows), **ROOMY)
    seen.press(*"x" * len(rows))
    seen.tab.get_by_role("button", name="Move files…").click()
    lines = seen.tab.locator("#sheet pre").text_content()
    assert seen.tab.locator("#sheet .failure").count() == 0
    for shell in ("sh", "bash"):
        shutil.rmtree(pages.root / "05_disqualified_backgrounds", ignore_errors=True)
        for row in rows:
            pages.workspace.put(row["path"], row["frame_id"].encode())
        subprocess.run([shell, "-e", "-c", lines], cwd="/", check=True)
        moved = pages.root / "05_disqualified_backgrounds"
        assert sorted(str(path.relative_to(moved)) for path in moved.rglob("*.jpg")) == sorted(file_names(rows))
        assert all((moved / name).read_text() == row["frame_id"] for name, row in zip(file_names(rows), rows, strict=True))
        assert not list((pages.root / "05_training_data").rglob("*.jpg"))


def test_the_limits_count_what_the_table_says(pages, gallery):
    rows = pages.workspace.selection()
    rows[-1] |= {"outcome": "failed", "reason": "subject too small", "sharpness": None}
    seen = gallery(pages.selection(rows), **ROOMY)
    assert seen.counts() == {"passes": 9, "fails": 3}
    slider = seen.tab.get_by_role("slider", name="Threshold for sharpness")
    slider.focus()
    seen.press(*["PageUp"] * 5)
    value = float(slider.get_attribute("aria-valuenow"))
    assert value > 50
    below = sum(row["sharpness"] is not None and row["sharpness"] < value for row in rows)
    assert seen.counts() == {"passes": 11 - below, "fails": 1 + below}
    assert 0 < below < 11
    slider.focus()
    seen.press("Home")
    assert seen.counts() == {"passes": 11, "fails": 1}, "what is too small to be measured stays where it is"
    config = seen.tab.locator("#config pre")
    expect(config).to_contain_text("lora:\n  workspaces:\n    data_TEST:\n      score:\n        min_sharpness: 0\n")
    expect(config).to_contain_text("        max_contours: 3\n")


def test_what_fails_cannot_be_kept_by_hand(pages, gallery):
    rows = pages.workspace.selection()
    seen = gallery(pages.selection(rows), **ROOMY)
    assert seen.current() == rows[0]["frame_id"], "the blurriest first"
    seen.press("k", "ArrowRight", "k", "ArrowRight", "x")
    assert seen.decided() == {rows[2]["frame_id"]: "reject"}


def test_the_ends_of_the_spectrum_come_first(pages, gallery):
    rows = pages.workspace.selection()
    seen = gallery(pages.selection(rows, page_sharpness), **ROOMY)
    first = [row["frame_id"] for row in rows if row["category"] == "face_and_hair"]
    assert seen.names()[: len(first)] == first
    expect(seen.tab.locator(".cell.current .caption").first).to_have_text("worst of face and hair")
    chips = seen.tab.locator("#reasons .chip")
    assert chips.all_text_contents() == ["best 4", "middle 4", "worst 2", "worst 2"]
    chips.first.click()
    assert seen.visible() == 4
    assert seen.names() == [first[-2], first[-1], *[row["frame_id"] for row in rows[-2:]]]
    expect(seen.tab.locator("#bar")).to_have_count(0)


def test_what_a_model_said_is_shown_as_text_whole_and_can_be_searched(pages, gallery):
    rows = pages.workspace.captions()
    rows[0] |= {"text": SCRIPT, "caption": SCRIPT}
    rows[1] |= {"outcome": "lint", "reason": f"banned words: {SCRIPT}"}
    seen = gallery(pages.captions(rows), **ROOMY)
    tab = seen.tab
    assert tab.locator(".cell.current .caption").text_content() == SCRIPT
    seen.press("Enter")
    shown = tab.locator("#lightbox figcaption").text_content()
    assert shown.startswith(SCRIPT)
    seen.press("Escape")
    tab.locator("#filters summary").click()
    tab.get_by_label("Text in name, reason, caption or tag").fill("picture 7")
    assert seen.visible() == 1
    assert seen.names() == [file_names(rows)[7]]
    assert tab.evaluate("window.hacked") is None
    assert tab.locator("script:not([src])").count() == 0


def test_the_start_of_a_long_text_can_be_read_in_the_gallery_and_all_of_it_large(pages, gallery):
    rows = pages.workspace.captions()
    rows[0] |= {"text": "ohwx woman, " + "a long dark coat, " * 40 + "the end"}
    seen = gallery(pages.captions(rows), viewport={"width": 1000, "height": 500})
    caption = seen.tab.locator(".cell.current .caption")
    assert caption.bounding_box()["height"] == 4 * 18
    seen.press("Enter")
    seen.tab.wait_for_selector("#lightbox .original img")
    picture, words = (seen.tab.locator(f"#lightbox {part}").bounding_box() for part in (".thumb", "figcaption"))
    assert picture["y"] + picture["height"] <= words["y"], "they do not cover each other"
    assert words["y"] + words["height"] <= 500
    assert picture["y"] >= 0


def test_one_line_is_enough_for_short_texts(pages, gallery):
    rows = [row | {"text": "ohwx"} for row in pages.workspace.captions()]
    seen = gallery(pages.captions(rows), **ROOMY)
    assert seen.tab.locator(".cell.current .caption").bounding_box()["height"] == 18


def test_a_cut_out_subject_stands_on_squares_in_the_gallery_and_large(pages, gallery, tmp_path):
    workspace = pages.workspace
    masks = workspace.write("03_masked_subjects", tables.MASKS, workspace.masks())
    candidates = workspace.write("02_sorted_candidates", tables.SORTED, workspace.sorted())
    seen = gallery(pages.build("03_mask", page_masks, masks, candidates, []), **ROOMY)
    assert seen.tab.locator(".cell.current .caption").all_text_contents() == ["original", "subject"]
    seen.press("Enter")
    expect(seen.tab.locator("#lightbox figcaption")).to_have_text([re.compile(rf"^{name} +full image") for name in ("original", "subject")])
    picture = tmp_path / "large.png"
    seen.tab.locator("#lightbox .thumb").nth(1).screenshot(path=picture)
    with Image.open(picture) as image:
        found = {image.convert("RGB").getpixel((x, 5)) for x in range(5, 60)}
    assert {(grey,) * 3 for grey in GREYS} <= found


def test_links_hold_when_the_results_are_moved(pages, gallery, tmp_path):
    output = pages.composites(pages.workspace.composites())
    moved = tmp_path / "another place"
    pages.root.rename(moved)
    seen = gallery(moved / output.name, **ROOMY)
    seen.press("Enter")
    expect(seen.tab.locator("#lightbox figcaption")).to_have_text([re.compile(r"full image, 64 × 48$")] * 2)
