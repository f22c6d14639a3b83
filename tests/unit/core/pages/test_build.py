"""A page's folder: same input same bytes, errors that name what is missing, and nothing from the world as markup."""

import hashlib
import json
import random
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow_scripts.core.pages import Number, Page, Panel, build_page
from workflow_scripts.core.step import StepError

HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>&amp;\"'`\u2028\u2029\n\u202e\\.jpg"


class Tags(HTMLParser):
    """The tags of a document with their attributes, and its text."""

    def __init__(self, document):
        super().__init__()
        self.found = []
        self.text = ""
        self.feed(document)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def digests(folder):
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_a_page_has_its_parts_and_counts_what_it_shows(tmp_path, kit, rows, page):
    counts = build_page(page, kit.table(rows), tmp_path / "page", kit.picture)
    assert counts == {"rows": 60, "shown": 60, "thumbnails": 54, "missing": 0, "broken": 0}
    assert {path.name for path in (tmp_path / "page").iterdir()} == {"index.html", "page.css", "page.js", "data.js", "sheets"}
    data = kit.data(tmp_path / "page")
    assert data["outcomes"] == [["kept", "kept"], ["removed", "rejected"], ["errors", "error"]]
    expected = [sum(row["outcome"] == name for row in rows) for name in ("kept", "removed", "errors")]
    assert data["totals"]["outcomes"] == expected
    assert data["items"]["name"] == [row["name"] for row in rows]
    assert data["items"]["numbers"]["prob"] == [row["prob"] for row in rows]


def test_same_input_same_bytes_for_any_number_of_threads_and_for_file_or_table(tmp_path, kit, page):
    table = kit.table(kit.rows(430))
    pq.write_table(table, tmp_path / "table.parquet", row_group_size=100)

    def late(key):
        time.sleep(random.random() / 500)  # threads finish in another order every time
        return kit.picture(key)

    found = []
    for number, (source, threads) in enumerate([(table, 1), (table, 3), (tmp_path / "table.parquet", 2)]):
        build_page(page, source, tmp_path / str(number), late, threads=threads, max_items=300, max_thumbnails=250)
        found.append(digests(tmp_path / str(number)))
    assert len(found[0]) == 4 + 3
    assert found[0] == found[1] == found[2]


def test_thumbnails_are_asked_for_once_each_from_threads_and_only_for_what_is_shown(tmp_path, kit, page):
    asked, threads = [], set()

    def watched(key):
        asked.append(key)
        threads.add(threading.get_ident())
        time.sleep(0.002)
        return kit.picture(key, (16, 16))

    rows = kit.rows(900)
    rows[0]["images"] = rows[1]["images"] = ["shared", "shared"]
    counts = build_page(page, kit.table(rows), tmp_path / "page", watched, max_items=500, max_thumbnails=300, threads=3)
    assert counts["shown"] == 500
    assert len(asked) == len(set(asked)) == counts["thumbnails"] == 300
    assert len(threads) > 1
    data = kit.data(tmp_path / "page")
    shown = {key for row in rows if row["name"] in set(data["items"]["name"]) for key in row["images"]}
    assert set(asked) <= shown


@pytest.mark.parametrize("column", ["id", "name", "outcome", "reason", "link", "images", "prob", "sharpness"])
def test_a_missing_column_is_named(tmp_path, kit, rows, page, column):
    page = replace(page, numbers=(Number("sharpness", "sharp"),))
    table = kit.table([row | {"sharpness": 1.0} for row in rows]).drop_columns([column])
    with pytest.raises(StepError, match=rf"has no column {column}; its columns are "):
        build_page(page, table, tmp_path / "page", kit.picture)
    assert not (tmp_path / "page").exists()


def test_the_file_of_a_table_is_named_with_its_missing_column(tmp_path, kit, rows, page):
    pq.write_table(kit.table(rows).drop_columns(["link"]), tmp_path / "t.parquet")
    with pytest.raises(StepError, match=r"t\.parquet: has no column link"):
        build_page(page, tmp_path / "t.parquet", tmp_path / "page", kit.picture)


def test_a_name_that_stands_there_twice_is_named(tmp_path, kit, rows, page):
    rows[3]["name"] = rows[40]["name"] = "twice.jpg"
    with pytest.raises(StepError, match=r"names stand there twice: twice\.jpg$"):
        build_page(page, kit.table(rows), tmp_path / "page", kit.picture)


def test_hostile_text_is_data_only(tmp_path, kit, page):
    row = {"id": HOSTILE, "name": HOSTILE, "outcome": HOSTILE, "reason": HOSTILE, "link": HOSTILE, "images": [HOSTILE], "prob": 0.1}
    row |= {"tags": [HOSTILE], "decision": HOSTILE, "boxes": [{"image": 0, "x0": 0.0, "y0": 0.0, "x1": 1.0, "y1": 1.0, "label": HOSTILE}]}
    row |= {"label": f"label {HOSTILE}", "captions": [HOSTILE], "members": [{"name": HOSTILE, "id": HOSTILE}] * 2}
    panel = Panel(HOSTILE, (HOSTILE,), "<svg/>", "<svg/>", HOSTILE, (HOSTILE,), ((HOSTILE,),))
    page = replace(page, page_id=HOSTILE, title=HOSTILE, look_for=HOSTILE, panels=(panel,), captions=(HOSTILE,))
    page = replace(page, warnings=(HOSTILE,), notes=(HOSTILE,))
    build_page(page, kit.table([row]), tmp_path / "page", lambda key: kit.picture(key, (9, 9)))
    text = (tmp_path / "page/data.js").read_text(encoding="utf-8")
    assert not set("<>&\u2028\u2029") & set(text)
    assert text.count("\n") == 1, "one statement, one line"
    data = kit.data(tmp_path / "page")
    assert data["items"]["name"] == [HOSTILE]
    assert data["items"]["label"] == {"values": [f"label {HOSTILE}"], "codes": [0]}
    assert data["items"]["tags"]["values"] == [HOSTILE]
    assert data["items"]["links"]["prefix"] + data["items"]["links"]["rest"][0] == HOSTILE
    assert data["page"]["id"] == HOSTILE
    document = (tmp_path / "page/index.html").read_text(encoding="utf-8")
    tags = Tags(document)
    assert [attributes["src"] for name, attributes in tags.found if name == "script"] == ["page.js", "data.js"]
    assert [attributes["src"] for name, attributes in tags.found if name == "img"] == [
        "files/figure-1-light.svg",
        "files/figure-1-dark.svg",
    ]
    assert not [name for _, attributes in tags.found for name in attributes if name.startswith("on") or name == "style"]
    assert tags.text.count(HOSTILE) == 9, "title twice, what to look for, warning, note, and the panel's title, text, header and row"


def test_the_policy_allows_no_network_and_nothing_inline(tmp_path, kit, rows, page):
    build_page(page, kit.table(rows), tmp_path / "page", kit.picture)
    document = (tmp_path / "page/index.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', document)[1]
    allowed = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert allowed["default-src"] == "'none'"
    assert set(" ".join(allowed.values()).split()) == {"'none'", "'self'", "file:"}
    script = (tmp_path / "page/page.js").read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", script)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", script + (tmp_path / "page/page.css").read_text(encoding="utf-8"))


def test_every_script_and_style_of_the_folder_is_part_of_the_page(tmp_path, kit, rows, page):
    build_page(page, kit.table(rows), tmp_path / "page", kit.picture)
    assets = Path(sys.modules["workflow_scripts.core.pages.document"].__file__).parent / "assets"
    for kind, built in (("js", "page.js"), ("css", "page.css")):
        whole = (tmp_path / "page" / built).read_text(encoding="utf-8")
        parts = list((assets / kind).iterdir())
        assert len(parts) > 3
        assert all(part.read_text(encoding="utf-8").strip() in whole for part in parts)


def test_a_blind_page_does_not_hold_what_it_hides(tmp_path, kit, rows, page):
    secret = [row | {"outcome": "kept", "reason": "secret-reason"} for row in rows]
    blind = replace(page, blind=True, numbers=(Number("prob", "secret-number"),))
    build_page(blind, kit.table(secret), tmp_path / "page", kit.picture)
    data = kit.data(tmp_path / "page")
    assert not {"outcome", "reason", "numbers", "person", "movable"} & set(data["items"])
    assert data["outcomes"] == data["totals"]["outcomes"] == data["page"]["thresholds"] == []
    everything = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "page").glob("*.*"))
    assert "secret" not in everything
    assert data["items"]["name"] == [row["name"] for row in rows], "the order of the table"
    assert [place for row in data["pictures"]["items"] for place in row] == list(range(54)), "packed in that order too"


def test_thumbnails_are_packed_along_the_first_threshold(tmp_path, kit, rows, page):
    build_page(page, kit.table(rows), tmp_path / "page", kit.picture)
    data = kit.data(tmp_path / "page")
    by_place = {place[0]: row["prob"] for place, row in zip(data["pictures"]["items"], rows, strict=True) if place}
    numbers = [by_place[place] for place in range(54)]
    assert numbers == sorted(numbers)


def test_thumbnails_are_packed_along_the_number_that_is_looked_at_first(tmp_path, kit, rows, page):
    for place, row in enumerate(rows):
        row["margin"] = float(place * 37 % 60)
    build_page(replace(page, numbers=(Number("margin", "m"),), lowest_first="margin"), kit.table(rows), tmp_path / "page", kit.picture)
    data = kit.data(tmp_path / "page")
    by_place = {place[0]: row["margin"] for place, row in zip(data["pictures"]["items"], rows, strict=True) if place}
    assert [by_place[place] for place in range(54)] == sorted(by_place.values())
    assert data["page"]["lowestFirst"] == "margin"


def test_a_row_may_stand_for_several_images(tmp_path, kit, page):
    rows = kit.rows(3)
    members = [[("a/00000.jpg", rows[0]["id"]), ("a/x.jpg", "f" * 64), ("a/broken.jpg", None)], [], None]
    for row, found in zip(rows, members, strict=True):
        row["members"] = found and [{"name": name, "id": sha256} for name, sha256 in found]
        row["captions"] = ["best", "second", "best"] if found else []
    rows[0]["images"] = ["0", "x", None]
    counts = build_page(page, kit.table(rows), tmp_path / "page", kit.picture)
    assert (counts["thumbnails"], counts["missing"]) == (4, 0)
    items = kit.data(tmp_path / "page")["items"]
    assert items["members"] == [[["a/x.jpg", "f" * 64], ["a/broken.jpg", ""]], [], []], "the first is the row itself"
    assert items["captions"] == {"values": ["best", "second"], "codes": [[0, 1, 0], [], []]}
    pictures = kit.data(tmp_path / "page")["pictures"]["items"]
    assert [[place < 0 for place in row] for row in pictures] == [[False, False, True], [False], [False]]
    assert pictures[0][2] == -2, "an image without a picture keeps its place"


def test_pages_whose_rows_are_single_images_hold_nothing_of_members(tmp_path, kit, rows, page):
    build_page(page, kit.table(rows), tmp_path / "page", kit.picture)
    data = kit.data(tmp_path / "page")
    assert (data["items"]["members"], data["items"]["captions"], data["page"]["lowestFirst"]) == (None, None, "")


def test_missing_and_broken_thumbnails_are_counted_and_said(tmp_path, kit, rows, page, log_text):
    def some(key):
        return None if key == "3" else b"no picture" if key in {"4", "5"} else kit.picture(key)

    counts = build_page(page, kit.table(rows), tmp_path / "page", some)
    assert (counts["missing"], counts["broken"]) == (1, 2)
    data = kit.data(tmp_path / "page")
    sizes = [(data["pictures"]["widths"][row[0]], data["pictures"]["heights"][row[0]]) for row in data["pictures"]["items"][3:7]]
    assert sizes == [(0, 0), (-1, -1), (-1, -1), (160, 120)]
    assert "2 thumbnails cannot be read" in log_text()


def test_an_empty_table_is_a_page_that_shows_nothing(tmp_path, kit, rows, page):
    assert build_page(page, kit.table(rows).slice(0, 0), tmp_path / "page", kit.picture)["shown"] == 0
    pq.write_table(kit.table(rows).slice(0, 0), tmp_path / "empty.parquet")
    assert build_page(page, tmp_path / "empty.parquet", tmp_path / "other", kit.picture)["rows"] == 0
    assert digests(tmp_path / "page") == digests(tmp_path / "other")


def test_columns_may_come_in_other_arrow_types(tmp_path, kit, rows, page):
    plain = kit.table(rows)
    odd = plain.set_column(plain.schema.get_field_index("outcome"), "outcome", plain["outcome"].dictionary_encode())
    odd = odd.set_column(odd.schema.get_field_index("name"), "name", odd["name"].cast(pa.large_string()))
    odd = odd.set_column(odd.schema.get_field_index("images"), "images", odd["images"].cast(pa.large_list(pa.large_string())))
    for name, table in (("plain", plain), ("odd", odd)):
        build_page(page, table, tmp_path / name, kit.picture)
    assert digests(tmp_path / "plain") == digests(tmp_path / "odd")


def test_numbers_that_are_none_arrive_as_null(tmp_path, kit, rows, page):
    for place, value in enumerate((float("nan"), float("inf"), -float("inf"), None)):
        rows[place]["prob"] = value
    build_page(page, kit.table(rows), tmp_path / "page", kit.picture)
    assert kit.data(tmp_path / "page")["items"]["numbers"]["prob"][:5] == [None, None, None, None, rows[4]["prob"]]


def test_what_is_left_out_is_said_on_the_page(tmp_path, kit, page):
    build_page(page, kit.table(kit.rows(500)), tmp_path / "page", kit.picture, max_items=200, max_thumbnails=50)
    document = (tmp_path / "page/index.html").read_text(encoding="utf-8")
    assert "200 of 500 items are shown" in document
    assert "50 thumbnails are included" in document
    page = replace(page, numbers=(Number("prob", "people"),), lowest_first="prob")
    build_page(page, kit.table(kit.rows(500)), tmp_path / "other", kit.picture, max_items=200)
    assert "200 of 500 items are shown: those with the lowest people, some" in (tmp_path / "other/index.html").read_text(encoding="utf-8")


def test_links_arrive_whole_with_those_of_further_images(tmp_path, kit, rows, page):
    for place, row in enumerate(rows):
        row["link"] = f"file:///data/photos/{place}.jpg" if place else ""
        row["links"] = [row["link"], f"file:///masks/{place}.png"]
    build_page(page, kit.table(rows), tmp_path / "page", kit.picture)
    links = kit.data(tmp_path / "page")["items"]["links"]
    assert links["prefix"] == "file:///data/photos/"
    assert links["rest"][:2] == [None, "1.jpg"]
    assert links["more"][1] == ["file:///masks/1.png"]


def test_only_kept_and_rejected_items_with_a_hash_can_be_decided(tmp_path, kit, rows, page):
    rows[0]["id"] = None
    rows[1]["outcome"] = "excluded"
    build_page(page, kit.table(rows), tmp_path / "page", kit.picture)
    assert kit.data(tmp_path / "page")["items"]["open"] == [int(number not in {0, 1} and number % 10 != 9) for number in range(60)]


def test_downloads_and_figures_stand_beside_the_page(tmp_path, kit, rows, page):
    panel = Panel("Curve", ("Text.",), "<svg>light</svg>", "", downloads={"curve.csv": b"a,b\n"})
    build_page(replace(page, panels=(panel,)), kit.table(rows), tmp_path / "page", kit.picture)
    assert (tmp_path / "page/files/figure-1-light.svg").read_text() == "<svg>light</svg>"
    assert (tmp_path / "page/files/1/curve.csv").read_bytes() == b"a,b\n"
    assert 'href="files/1/curve.csv" download="curve.csv"' in (tmp_path / "page/index.html").read_text()
    with pytest.raises(ValueError, match="letters, digits"):
        build_page(replace(page, panels=(Panel("x", downloads={"../x": b""}),)), kit.table(rows), tmp_path / "page", kit.picture)


def test_importing_pages_loads_nothing_heavy():
    heavy = ["torch", "pandas", "faiss", "matplotlib", "playwright"]
    program = f"import sys, json, workflow_scripts.core.pages; print(json.dumps([name for name in {heavy!r} if name in sys.modules]))"
    root = Path(__file__).parents[4]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_a_page_without_thresholds_numbers_or_choices_is_a_page(tmp_path, kit, rows):
    bare = Page("bare", "Bare", choices=(), outcomes={"kept": "kept", "removed": "rejected"})
    build_page(bare, kit.table(rows), tmp_path / "page", kit.picture)
    data = kit.data(tmp_path / "page")
    assert data["outcomes"][2] == ["errors", "other"], "an outcome that the page does not name"
    assert data["items"]["numbers"] == {}
    assert '<footer id="bar"' not in (tmp_path / "page/index.html").read_text()


@pytest.mark.parametrize("limit", [0, 2, 10, 100, 550, 4000])
def test_where_thumbnails_are_limited_the_items_that_matter_most_have_all_of_theirs(tmp_path, kit, page, limit):
    """Rows that share pictures in threes: a sample of them shares hardly any, so that its pictures are more than its part of all."""
    rows = [row for row in kit.rows(1200) if row["outcome"] != "errors"]
    for place, row in enumerate(rows):
        row["images"] = [f"query {place // 3}", f"positive {place // 3}", f"negative {place * 7 % 400}"]
    page = replace(page, thresholds=(replace(page.thresholds[0], value=1.0),), captions=("query", "positive", "negative"))
    counts = build_page(page, kit.table(rows), tmp_path / "page", lambda key: kit.picture(key, (8, 8)), max_thumbnails=limit)
    assert counts["thumbnails"] == min(limit, len({key for row in rows for key in row["images"]}))
    data = kit.data(tmp_path / "page")
    complete = [places.count(-1) == 0 for places in data["pictures"]["items"]]
    nearest = sorted(range(len(rows)), key=lambda item: -data["items"]["numbers"]["prob"][item])
    assert all(complete[item] for item in nearest[: limit // 10])
    assert sum(complete) >= limit // 4
