"""The target retrieval_analysis: the table's numbers, and a plot that shows them."""

import csv
import re
import runpy
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from workflow_scripts.core.vega import PALETTE
from workflow_scripts.retrieval import analysis
from workflow_scripts.retrieval.catalog_file import ConceptImages, write_catalog

HEADER = ["category", "classes", "train", "test", "negative", "total"]
SVG = "{http://www.w3.org/2000/svg}"


def concept(train, test=0, negative=0):
    names = [f"{number}.jpg" for number in range(train + test + negative)]
    return ConceptImages(train=names[:train], test=names[train : train + test], negative=names[train + test :])


CATALOG = {"mug": {"red": concept(3, 1), "blue": concept(2, 0, 4)}, "dog, old": {"rex": concept(0, 7)}, "empty": {}}


@pytest.fixture
def analyse(tmp_path):
    """Rows of the table, and the plot as text, of a catalog."""

    def run(catalog):
        write_catalog(tmp_path / "catalog.json", catalog)
        counts = analysis.analyse(tmp_path / "catalog.json", tmp_path / "analysis.csv", tmp_path / "analysis.svg")
        rows = list(csv.reader((tmp_path / "analysis.csv").open(encoding="utf-8", newline="")))
        return counts, rows, (tmp_path / "analysis.svg").read_text(encoding="utf-8")

    return run


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def bars(svg):
    """Width and colour of each bar, by the height at which it lies."""
    found = {}
    for path in ElementTree.fromstring(svg).iter(f"{SVG}path"):
        shape = re.fullmatch(r"M([\d.]+),([\d.]+)h([\d.]+)v[\d.]+h-[\d.]+Z", path.get("d", ""))
        if shape and path.get("fill") in (PALETTE["light"]["first"], PALETTE["light"]["second"]):
            found.setdefault(float(shape[2]), []).append((float(shape[1]), float(shape[3]), path.get("fill")))
    return [sorted(found[height]) for height in sorted(found)]


def test_the_table_has_a_row_for_each_category_and_one_for_all(analyse):
    counts, rows, _ = analyse(CATALOG)
    assert rows == [
        HEADER,
        ["mug", "2", "5", "1", "4", "10"],
        ["dog, old", "1", "0", "7", "0", "7"],
        ["empty", "0", "0", "0", "0", "0"],
        ["all", "3", "5", "8", "4", "17"],
    ]
    assert counts == {"classes": 3, "train": 5, "test": 8, "negative": 4, "total": 17}


def test_the_table_is_the_same_bytes_each_time(analyse, tmp_path):
    first = analyse(CATALOG)
    assert analyse(CATALOG) == first
    assert (tmp_path / "analysis.csv").read_bytes().startswith(b'category,classes,train,test,negative,total\nmug,2,5,1,4,10\n"dog, old",1,')


def test_the_plot_shows_the_numbers_of_each_category_in_the_table_s_order(analyse):
    _, _, svg = analyse({"zebra": {"a": concept(30, 10, 99)}, "ant": {"b": concept(5, 15)}})
    assert [text for text in texts(svg) if text in ("zebra", "ant")] == ["zebra", "ant"]
    assert {"train", "test", "images", "40", "20"} <= set(texts(svg))
    first, second = PALETTE["light"]["first"], PALETTE["light"]["second"]
    found = bars(svg)
    assert [[bar[2] for bar in row] for row in found] == [[first, second], [first, second]]
    widths = [bar[1] for row in found for bar in row]
    assert widths[0] > 0
    assert [round(width / widths[0] * 30, 2) for width in widths] == [30, 10, 5, 15]
    assert all(left[0] + left[1] == pytest.approx(right[0], abs=0.01) for left, right in found)


def test_the_plot_stands_on_white_and_says_what_it_is(analyse):
    svg = analyse(CATALOG)[2]
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == "Training and test images by category"
    assert root.find(f"{SVG}rect").get("fill") == "white"
    assert svg.endswith("</svg>\n")


def test_long_names_are_cut_and_odd_ones_neither_break_the_plot_nor_fall_together(analyse):
    long = "a category with a name that goes on and on and on, far beyond what is needed"
    odd = ['<b> & "quotes" [0]', "ünï", "ctl\x01x", "ctl\x02x", "line\nend", long + " 1", long + " 2"]
    _, rows, svg = analyse({name: {"one": concept(index + 1)} for index, name in enumerate(odd)})
    assert [row[0] for row in rows[1:-1]] == odd
    found = texts(svg)
    assert found.count("ctl\N{REPLACEMENT CHARACTER}x") == 2
    assert {'<b> & "quotes" [0]', "ünï", "line\N{REPLACEMENT CHARACTER}end"} <= set(found)
    cut = [text for text in found if text and text.endswith("…")]
    assert len(cut) == 2
    assert all(long.startswith(text.removesuffix("…")) and len(text) > 20 for text in cut)
    assert len(bars(svg)) == len(odd)


def test_sixty_categories_all_have_their_name_and_number(analyse):
    _, _, svg = analyse({f"category {number:02}": {"one": concept(1000 + number)} for number in range(60)})
    found = texts(svg)
    assert [text for text in found if text.startswith("category")] == [f"category {number:02}" for number in range(60)]
    assert {f"1,{number:03}" for number in range(60)} <= set(found)
    assert float(ElementTree.fromstring(svg).get("height")) > 60 * 20


@pytest.mark.parametrize("catalog", [{}, {"mug": {"red": concept(0, 0, 2)}}])
def test_no_images_give_a_plot_without_bars(analyse, catalog):
    counts, rows, svg = analyse(catalog)
    assert rows[-1] == ["all", *map(str, counts.values())]
    assert counts["train"] == counts["test"] == 0
    assert all(bar[1] == 0 for row in bars(svg) for bar in row)
    assert [text for text in texts(svg) if text and text[0].isdigit()] == ["0", "1", *("0" for _ in catalog)]


@pytest.mark.usefixtures("in_a_step")
def test_the_step_takes_its_files_from_the_rule(tmp_path):
    write_catalog(tmp_path / "catalog.json", CATALOG)
    output = SimpleNamespace(table=str(tmp_path / "a.csv"), plot=str(tmp_path / "a.svg"))
    job = SimpleNamespace(input=[str(tmp_path / "catalog.json")], output=output, log=[str(tmp_path / "log.txt")])
    runpy.run_path(analysis.__file__, {"snakemake": job})
    assert (tmp_path / "a.csv").read_text().splitlines()[-1] == "all,3,5,8,4,17"
    assert "mug" in texts((tmp_path / "a.svg").read_text())
    assert "done: classes=3 train=5 test=8 negative=4 total=17" in (tmp_path / "log.txt").read_text()
