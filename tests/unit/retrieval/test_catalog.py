"""retrieval 01: how images are divided, what is left out and why, and that every file has one outcome."""

import itertools
import json
import math
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.retrieval import catalog as catalog_module
from workflow_scripts.retrieval.catalog import divide

REPO = Path(__file__).parents[3]
PARTS = ("train", "test", "negative")
NAMES = [f"mug/red/{number:02}.jpg" for number in range(40)]


def halves(paths, *, category="mug", concept="red", **changes):
    return divide(paths, {"train_fraction": 0.2, "num_train": None, "catalog_seed": 42} | changes, category, concept)


def outcomes(rows):
    return {path: (row["outcome"], row["reason"]) for path, row in rows.items()}


def members(catalog):
    """Every path of a catalog with its category, concept and part."""
    return {
        path: (category, concept, part)
        for category, concepts in catalog.items()
        for concept, images in concepts.items()
        for part in PARTS
        for path in images[part]
    }


# ---- how many are for training ----


@pytest.mark.parametrize("text", ["0", "0.1", "0.2", "0.285", "0.29", "0.3", "0.5", "0.57", "0.58", "0.65", "0.7", "0.9", "0.999", "1"])
def test_the_number_of_training_images_is_the_exact_share_halves_upwards(text):
    for count in range(1, 210):
        train, test = halves([f"{number}" for number in range(count)], train_fraction=float(text))
        wanted = max(1, math.floor(Fraction(text) * count + Fraction(1, 2)))
        assert len(train) == (min(wanted, count - 1) if count > 1 else 1), count
        assert len(train) + len(test) == count


@pytest.mark.parametrize(
    ("fraction", "count", "wanted"),
    [
        (0.285, 100, 29),  # 28.5; as binary floats it is 28.499999999999996
        (0.5, 3, 2),
        (0.5, 5, 3),
        (0.5, 1, 1),
        (0.145, 100, 15),
        (0.0, 10, 1),
        (1.0, 10, 9),
        (1.0, 2, 1),
        (1.0, 1, 1),
        (1, 3, 2),
        (1e-7, 10, 1),
    ],
)
def test_shares_that_are_easily_got_wrong(fraction, count, wanted):
    assert len(halves(NAMES[:count] + [f"x{number}" for number in range(count - 40)], train_fraction=fraction)[0]) == wanted


@pytest.mark.parametrize(
    ("number", "count", "wanted"), [(1, 10, 1), (3, 10, 3), (9, 10, 9), (10, 10, 9), (99, 10, 9), (2, 2, 1), (5, 1, 1), (1, 1, 1)]
)
def test_a_number_of_training_images_overrides_the_share(number, count, wanted):
    for fraction in (0.0, 0.2, 1.0):
        train, test = halves(NAMES[:count], num_train=number, train_fraction=fraction)
        assert (len(train), len(test)) == (wanted, count - wanted)


# ---- which are for training ----


def test_every_image_is_on_one_side():
    train, test = halves(NAMES, train_fraction=0.3)
    assert sorted(train + test) == NAMES
    assert len(set(train) & set(test)) == 0


def test_the_sides_are_in_a_random_order_that_the_order_of_files_does_not_change():
    wanted = halves(NAMES)
    assert halves(NAMES[::-1]) == halves(NAMES[20:] + NAMES[:20]) == wanted
    assert sorted(wanted[0]) != wanted[0]
    assert sorted(wanted[1]) != wanted[1]


def test_seed_category_and_concept_decide():
    found = [
        halves(NAMES),
        halves(NAMES, catalog_seed=43),
        halves(NAMES, category="dog"),
        halves(NAMES, concept="blue"),
        halves(NAMES, category="red", concept="mug"),
    ]
    assert len({tuple(train) for train, _ in found}) == len(found)


def test_a_larger_share_holds_a_smaller():
    sides = [set(halves(NAMES, num_train=number)[0]) for number in range(1, 40)]
    assert all(small < large for small, large in itertools.pairwise(sides))


def test_an_image_more_moves_at_most_one_other():
    before = set(halves(NAMES, train_fraction=0.5)[0])
    for number in range(30):
        after = set(halves([*NAMES, f"mug/red/new {number}.jpg"], train_fraction=0.5)[0])
        assert len((before ^ after) & set(NAMES)) <= 1


# ---- catalog.json ----


def test_the_file_is_readable_json(folders):
    folders.put("müg/réd \"1\"/a, 'b'\n.png")
    folders.put('müg/réd "1"/2.png')
    catalog, _, _ = folders.build()
    assert (folders.root / "catalog.json").read_bytes() == (json.dumps(catalog, indent=2, ensure_ascii=False) + "\n").encode()
    (images,) = catalog["müg"].values()
    assert list(images) == ["train", "test", "negative"]
    assert sorted(images["train"] + images["test"]) == sorted(['müg/réd "1"/2.png', "müg/réd \"1\"/a, 'b'\n.png"])


def test_concepts_are_sorted_and_categories_in_their_order(folders):
    for name in ("mug/b", "mug/B", "mug/a b", "mug/a", "dog/z", "Cat/x"):
        folders.fill(name, 2)
    catalog, rows, _ = folders.build()
    assert {category: list(concepts) for category, concepts in catalog.items()} == {
        "Cat": ["x"],
        "dog": ["z"],
        "mug": ["B", "a", "a b", "b"],
    }
    assert list(catalog) == ["Cat", "dog", "mug"]
    assert list(rows) == sorted(rows)
    configured, rows, _ = folders.build(["mug", "Cat"])
    assert list(configured) == ["mug", "Cat"]
    assert configured == {name: catalog[name] for name in ("mug", "Cat")}
    assert {row["category"] for row in rows.values()} == {"mug", "Cat"}


def test_images_are_divided_as_divide_says(folders):
    paths = folders.fill("mug/red", 9)
    catalog, _, counts = folders.build(train_fraction=0.3)
    train, test = divide(paths, folders.settings | {"train_fraction": 0.3}, "mug", "red")
    assert catalog == {"mug": {"red": {"train": train, "test": test, "negative": []}}}
    assert len(train) == 3
    assert counts == {
        "listed": 9,
        "train": 3,
        "test": 6,
        "negative": 0,
        "skipped": 0,
        "excluded": 0,
        "removed": 0,
        "error": 0,
        "concepts": 1,
        "kept_for_test": 0,
    }


@pytest.mark.parametrize("given", ["plain", "with slash", "relative", "the long way", "a link"])
def test_absolute_paths_begin_with_data_root_as_given(folders, given, monkeypatch):
    folders.fill("mug/red", 4)
    relative, *_ = folders.build()
    monkeypatch.chdir(folders.root)
    (folders.root / "link").symlink_to(folders.data)
    root = {
        "plain": str(folders.data),
        "with slash": f"{folders.data}/",
        "relative": "data",
        "the long way": "./data/../data",
        "a link": "link",
    }
    folders.settings["data_root"] = root[given]
    catalog, rows, _ = folders.build(relative=False)
    prefix = root[given].rstrip("/")
    wanted = {part: [f"{prefix}/{path}" for path in relative["mug"]["red"][part]] for part in PARTS}
    assert catalog == {"mug": {"red": wanted}}
    assert {path: row["catalog_path"] for path, row in rows.items()} == {path: f"{prefix}/{path}" for path in rows}


def test_a_concept_more_moves_no_image(folders):
    for name in ("mug/red", "mug/blue", "dog/rex"):
        folders.fill(name, 10)
    before, *_ = folders.build()
    folders.fill("mug/green", 10)
    folders.fill("mug/a", 10)
    folders.fill("cat/red", 3)
    after, *_ = folders.build()
    assert {path: place for path, place in members(after).items() if path in members(before)} == members(before)
    for category, concepts in before.items():
        assert {concept: after[category][concept] for concept in concepts} == concepts


def test_another_catalog_seed_divides_otherwise(folders):
    folders.fill("mug/red", 20)
    assert folders.build()[0] != folders.build(catalog_seed=43)[0]
    assert folders.build()[0] == folders.build()[0]


STEP = """
import os, sys
from pathlib import Path
from tests.unit.retrieval.conftest import Backwards, ConceptFolders

os.scandir = Backwards if sys.argv[1] == "backwards" else os.scandir
ConceptFolders(Path(sys.argv[2])).build(relative=False, data_root="/data")
"""


def test_bytes_depend_on_no_hash_seed_and_no_order_on_disk(folders):
    """Each in a process of its own, over the same files."""
    found = set()
    for seed, order in (("0", "forwards"), ("1", "backwards")):
        root = folders.root / seed
        for number in range(30) if order == "forwards" else reversed(range(30)):
            path = root / "data" / f"mug {number % 2}" / f"c{number % 3}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"broken" if number == 7 else folders.picture(number))
        subprocess.run([sys.executable, "-c", STEP, order, root], cwd=REPO, env=os.environ | {"PYTHONHASHSEED": seed}, check=True)
        found.add(((root / "catalog.json").read_bytes(), (root / "images.parquet").read_bytes()))
    assert len(found) == 1


# ---- folders that say what is for training ----


def test_folders_decide_where_they_say_it(folders):
    for path in ("train/mug/red/1.png", "train/mug/red/2.png", "train/mug/red/laion/3.png", "test/mug/red/4.png", "test/mug/blue/5.png"):
        folders.put(path)
    for seed in (42, 43):
        catalog, rows, counts = folders.build(catalog_seed=seed, num_train=1)
        assert {concept: {part: sorted(images[part]) for part in PARTS} for concept, images in catalog["mug"].items()} == {
            "blue": {"train": [], "test": ["test/mug/blue/5.png"], "negative": []},
            "red": {
                "train": ["train/mug/red/1.png", "train/mug/red/2.png"],
                "test": ["test/mug/red/4.png"],
                "negative": ["train/mug/red/laion/3.png"],
            },
        }
        assert outcomes(rows)["train/mug/red/laion/3.png"] == ("negative", "")
        assert (counts["train"], counts["test"], counts["negative"], counts["kept_for_test"]) == (2, 2, 1, 0)


def test_without_training_folders_laion_is_no_negative(folders):
    folders.fill("mug/red", 2)
    folders.put("mug/red/laion/1.png")
    catalog, rows, _ = folders.build()
    assert catalog["mug"]["red"]["negative"] == []
    assert outcomes(rows)["mug/red/laion/1.png"][0] == "skipped"


def test_concept_folders_find_their_category(folders):
    folders.layout["concept_categories"] = {"bo": "animal", "lamp": "thing"}
    for path in ("train/bo/1.png", "train/bo/laion/2.png", "test/bo/3.png", "train/lamp/1.png"):
        folders.put(path)
    catalog, _, _ = folders.build()
    assert catalog == {
        "animal": {"bo": {"train": ["train/bo/1.png"], "test": ["test/bo/3.png"], "negative": ["train/bo/laion/2.png"]}},
        "thing": {"lamp": {"train": ["train/lamp/1.png"], "test": [], "negative": []}},
    }


# ---- what is left out ----


def test_what_cannot_be_read_is_left_out_before_images_are_divided(folders):
    paths = folders.fill("mug/red", 6)
    before, *_ = folders.build()
    folders.put("mug/red/broken.png", b"no image")
    folders.put("mug/red/notes.txt")
    folders.put("mug/1.png")
    catalog, rows, counts = folders.build()
    assert catalog == before
    assert {path: outcomes(rows)[path] for path in rows if path not in paths} == {
        "mug/red/broken.png": ("error", "decode: not an image"),
        "mug/red/notes.txt": ("skipped", "skipped: .txt"),
        "mug/1.png": ("skipped", "skipped: in no concept folder"),
    }
    assert (counts["listed"], counts["error"], counts["skipped"]) == (9, 1, 2)


def excluding(folders, text, name="list.csv", **entry):
    (folders.root / name).write_text(text)
    return [*folders.settings["exclude"], {"csv": str(folders.root / name), "by": "sha256", "strip_prefix": ""} | entry]


def test_an_exclusion_by_content_leaves_out_all_copies(folders):
    first, *_, last = folders.fill("mug/red", 5)
    folders.put("dog/rex/copy.png", folders.picture(first))
    folders.put("dog/rex/1.png")
    folders.settings["exclude"] = excluding(folders, f"sha256,reason\n{folders.sha256(first).upper()},person\n")
    catalog, rows, counts = folders.build()
    assert outcomes(rows)[first] == outcomes(rows)["dog/rex/copy.png"] == ("excluded", str(folders.root / "list.csv"))
    assert counts["excluded"] == 2
    assert not {first, "dog/rex/copy.png"} & set(members(catalog))
    assert last in members(catalog)


@pytest.mark.parametrize("relative", [True, False])
def test_an_exclusion_by_path_takes_a_prefix_off(folders, relative):
    first, second, *_ = folders.fill("mug/red", 5)
    folders.put("mug/red/copy.png", folders.picture(first))
    folders.settings["exclude"] = excluding(folders, f"s3_key\nimages/{first}\n{second}\n", by="path", strip_prefix="images/")
    _, rows, counts = folders.build(relative=relative)
    assert {path for path, row in rows.items() if row["outcome"] == "excluded"} == {first, second}
    assert counts["excluded"] == 2


def test_negatives_are_excluded_too(folders):
    for path in ("train/mug/red/1.png", "train/mug/red/laion/1.png", "train/mug/red/laion/2.png"):
        folders.put(path)
    folders.settings["exclude"] = excluding(folders, "path\ntrain/mug/red/laion/1.png\n", by="path")
    catalog, *_ = folders.build()
    assert catalog["mug"]["red"]["negative"] == ["train/mug/red/laion/2.png"]


def test_a_list_that_excludes_nothing_is_an_error(folders):
    first, *_ = folders.fill("mug/red", 3)
    folders.settings["exclude"] = excluding(folders, f"path\nimages/{first}\n", by="path")
    with pytest.raises(StepError, match=r"list\.csv: matches no image by path; check `by` and `strip_prefix`"):
        folders.build()
    assert not (folders.root / "catalog.json").exists()


def test_an_excluded_image_does_not_move_others_between_the_sides_more_than_it_must(folders):
    paths = folders.fill("mug/red", 12)
    before = members(folders.build()[0])
    for path in paths:
        folders.settings["exclude"] = []
        folders.settings["exclude"] = excluding(folders, f"path\n{path}\n", by="path")
        after = members(folders.build()[0])
        assert len(after) == 11
        assert sum(after[other] != before[other] for other in after) <= 1


# ---- what a person decided ----


def test_a_person_drops_one_file_or_all_copies(folders):
    first, second, *_ = folders.fill("mug/red", 6)
    copies = [folders.put(f"dog/{name}/copy.png", folders.picture(first)) for name in ("rex", "bo")]
    folders.fill("dog/rex", 2)
    folders.review((folders.sha256(first), first, "drop"), (folders.sha256(second), "", "drop"))
    _, rows, counts = folders.build()
    assert {path for path, row in rows.items() if row["outcome"] == "removed"} == {first, second}
    assert outcomes(rows)[first] == ("removed", "human")
    folders.review((folders.sha256(first), "", "drop"))
    catalog, rows, counts = folders.build()
    assert {path for path, row in rows.items() if row["outcome"] == "removed"} == {first, *copies}
    assert counts["removed"] == 3
    assert "bo" not in catalog["dog"]


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("named", ["below data_root", "as in the catalog"])
def test_a_person_names_a_file_by_either_path(folders, relative, named):
    first, *_ = folders.fill("mug/red", 4)
    path = first if relative or named == "below data_root" else f"{folders.data}/{first}"
    folders.review((folders.sha256(first), path, "drop"))
    catalog, rows, _ = folders.build(relative=relative)
    assert outcomes(rows)[first] == ("removed", "human")
    assert len(members(catalog)) == 3


@pytest.mark.parametrize("named", ["below data_root", "as in the catalog"])
def test_keep_on_a_file_comes_before_drop_on_its_content(folders, named):
    first, *_ = folders.fill("mug/red", 4)
    copy = folders.put("mug/blue/copy.png", folders.picture(first))
    kept = first if named == "below data_root" else f"{folders.data}/{first}"
    folders.review((folders.sha256(first), "", "drop"), (folders.sha256(first), kept, "keep"))
    _, rows, _ = folders.build(relative=False)
    assert rows[copy]["outcome"] == "removed"
    assert rows[first]["outcome"] in ("train", "test")


def test_a_decision_that_fits_no_image_is_reported_and_changes_nothing(folders, log_text):
    first, *_ = folders.fill("mug/red", 4)
    before, *_ = folders.build()
    gone, changed = "ab" * 32, "cd" * 32
    folders.review((gone, "mug/red/gone.png", "drop"), (changed, first, "drop"), (folders.sha256(first), first, "keep"))
    assert folders.build()[0] == before
    assert f"mug/red/gone.png ({gone}) fits no image any more" in log_text()
    assert f"{first} ({changed}) fits no image any more" in log_text()
    assert log_text().count("fits no image") == 2


def test_a_list_comes_before_a_person(folders):
    first, *_ = folders.fill("mug/red", 4)
    folders.settings["exclude"] = excluding(folders, f"sha256\n{folders.sha256(first)}\n")
    folders.review((folders.sha256(first), first, "drop"))
    assert outcomes(folders.build()[1])[first][0] == "excluded"


# ---- concepts and categories without images ----


def test_what_has_no_usable_image_is_named(folders, log_text):
    folders.fill("mug/red", 2)
    (folders.data / "vase").mkdir()
    (folders.data / "dog" / "empty").mkdir(parents=True)
    folders.put("dog/broken/1.png", b"no image")
    folders.put("mug/text/notes.txt")
    catalog, rows, counts = folders.build()
    assert {category: list(concepts) for category, concepts in catalog.items()} == {"dog": [], "mug": ["red"], "vase": []}
    assert "2 categories have no usable image: dog, vase" in log_text()
    assert "2 concepts have no usable image: dog/broken, mug/text" in log_text()
    assert (counts["concepts"], counts["listed"]) == (1, 4)
    assert len(rows) == 4


@pytest.mark.parametrize("files", [(), ("notes.txt",), ("red/notes.txt", "red/broken.png")])
def test_no_usable_image_at_all_is_an_error(folders, files):
    (folders.data / "mug").mkdir()
    for name in files:
        folders.put(f"mug/{name}", b"no image")
    with pytest.raises(StepError, match=rf"{folders.data}: none of its {len(files)} files is a usable image"):
        folders.build()
    assert not (folders.root / "catalog.json").exists()


def test_that_error_says_why_itself(folders):
    """Snakemake removes the outputs of a failed step, the table of all files among them."""
    folders.put("mug/red/broken.png", b"no image")
    folders.put("mug/red/notes.txt")
    with pytest.raises(StepError) as caught:
        folders.build()
    assert "decode: not an image" in str(caught.value)


def test_a_single_image_is_for_training(folders):
    folders.put("mug/red/1.png")
    catalog, _, _ = folders.build(train_fraction=0.0)
    assert catalog == {"mug": {"red": {"train": ["mug/red/1.png"], "test": [], "negative": []}}}


def test_the_same_image_in_two_concepts_stays_in_both(folders):
    folders.fill("mug/red", 2)
    folders.put("mug/blue/1.png", folders.picture("mug/red/00.png"))
    catalog, rows, _ = folders.build()
    assert {"mug/red/00.png", "mug/blue/1.png"} <= set(members(catalog))
    assert rows["mug/red/00.png"]["sha256"] == rows["mug/blue/1.png"]["sha256"]


# ---- the table of all files ----


@pytest.fixture
def everything(folders):
    """Every outcome; gives the folders."""
    first, second, *_ = folders.fill("train/mug/red", 6)
    folders.fill("test/mug/red", 3)
    folders.fill("train/mug/red/laion", 2)
    folders.fill("train/dog/rex", 2)
    for path in ("stray.txt", "train/also.png", "train/mug/1.png", "test/mug/red/notes.txt", "train/mug/red/a/b.png"):
        folders.put(path)
    folders.put("test/mug/red/broken.png", b"no image")
    folders.put(f"train/mug/red/{os.fsdecode(b'caf' + bytes([0xE9]))}.png")
    folders.settings["exclude"] = excluding(folders, f"sha256\n{folders.sha256(first)}\n")
    folders.review((folders.sha256(second), second, "drop"))
    return folders


@pytest.mark.parametrize("relative", [True, False])
def test_every_file_has_one_row_and_the_catalog_says_the_same(everything, relative):
    catalog, rows, counts = everything.build(relative=relative)
    assert len(rows) == counts["listed"] == sum(path.is_file() for path in everything.data.rglob("*"))
    assert {name: counts[name] for name in (*PARTS, "skipped", "excluded", "removed", "error")} == {
        "train": 6,
        "test": 3,
        "negative": 2,
        "skipped": 5,
        "excluded": 1,
        "removed": 1,
        "error": 2,
    }
    table = {row["catalog_path"]: (row["category"], row["concept"], row["outcome"]) for row in rows.values() if row["outcome"] in PARTS}
    assert members(catalog) == table
    assert all(row["reason"] for row in rows.values() if row["outcome"] not in PARTS)
    assert not any(row["reason"] for row in rows.values() if row["outcome"] in PARTS)


def test_strays_stand_in_the_table(everything):
    _, rows, _ = everything.build()
    for path in ("stray.txt", "train/also.png"):
        assert (rows[path]["category"], rows[path]["concept"]) == ("", "")
        assert outcomes(rows)[path] == ("skipped", "skipped: in no category folder")


def test_negatives_of_a_concept_without_images_are_accounted_for_truly(folders):
    """What the table calls a negative is one in the catalog."""
    folders.fill("train/mug/red", 2)
    folders.fill("train/mug/blue/laion", 2)
    folders.put("train/mug/blue/1.png", b"no image")
    catalog, rows, counts = folders.build()
    table = {path for path, row in rows.items() if row["outcome"] in PARTS}
    assert set(members(catalog)) == table
    assert counts["negative"] == sum(len(images["negative"]) for concepts in catalog.values() for images in concepts.values())


def test_the_table_has_its_columns(everything):
    everything.build()
    assert pq.read_schema(everything.root / "images.parquet").names == [
        *("category", "concept", "path", "catalog_path", "sha256", "outcome", "reason")
    ]


def test_the_step_takes_its_params(everything, start):
    wanted, table, _ = everything.build(["mug", "dog"], relative=False)
    inventories = [str(everything.inventory(category)[0]) for category in ("mug", "dog")]
    outputs = {name: str(everything.root / "01" / name) for name in ("catalog", "images")}
    for reviews in ([], [str(everything.reviews)]):
        said = start(
            catalog_module,
            {"inventories": inventories, "reviews": reviews},
            outputs,
            catalog=everything.settings | {"relative": False},
            categories=["mug", "dog"],
            layout={"data_root": everything.settings["data_root"], "train_dirname": "train", "test_dirname": "test"},
        )
        assert f"done: listed=20 train={6 if reviews else 7} test=3" in said
    assert json.loads(Path(outputs["catalog"]).read_text("utf-8")) == wanted
    assert {row["path"]: row for row in pq.read_table(outputs["images"]).to_pylist()} == table
