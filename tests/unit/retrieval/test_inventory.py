"""retrieval 00: a row for every file of a category, whatever it is called and whatever it is."""

import os

import pyarrow.parquet as pq
import pytest

from workflow_scripts.retrieval import inventory

NO_UTF8 = os.fsdecode(b"caf\xe9.png")


def places(rows):
    return {path: (row["concept"], row["part"], row["reason"]) for path, row in rows.items()}


# ---- images ----


def test_a_row_says_what_an_image_is(folders):
    folders.put("mug/red/1.png", folders.picture("a", (9, 7)))
    folders.put("mug/red/2.png", b"no image")
    folders.put("mug/red/notes.txt", b"text")
    path, counts = folders.inventory("mug")
    assert pq.read_schema(path).names == [
        *("path", "concept", "part", "size", "etag", "sha256", "width", "height", "phash", "readable", "reason")
    ]
    good, broken, text = pq.read_table(path).to_pylist()
    etag = f"{(folders.data / 'mug/red/1.png').stat().st_mtime_ns:x}-{len(folders.picture('a', (9, 7))):x}"
    assert {name: value for name, value in good.items() if name != "phash"} == {
        "path": "mug/red/1.png",
        "concept": "red",
        "part": "",
        "size": len(folders.picture("a", (9, 7))),
        "etag": etag,
        "sha256": folders.sha256("mug/red/1.png"),
        "width": 9,
        "height": 7,
        "readable": True,
        "reason": "",
    }
    assert 0 < good["phash"] < 2**64
    assert (broken["readable"], broken["reason"], broken["sha256"]) == (False, "decode: not an image", folders.sha256("mug/red/2.png"))
    assert (text["readable"], text["reason"], text["sha256"]) == (False, "skipped: .txt", None)
    for row in (broken, text):
        assert (row["width"], row["height"], row["phash"]) == (None, None, None)
    assert {name: counts[name] for name in ("listed", "readable", "unreadable", "skipped")} == {
        "listed": 3,
        "readable": 1,
        "unreadable": 1,
        "skipped": 1,
    }


@pytest.mark.parametrize("extension", [".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tiff", ".tif"])
@pytest.mark.parametrize("change", [str.lower, str.upper, str.title])
def test_images_have_these_extensions_in_any_case(folders, extension, change):
    kind = {".jpg": "JPEG", ".tif": "TIFF"}.get(extension, extension[1:].upper())
    path = folders.put(f"mug/red/1{change(extension)}", folders.picture("a", (30, 20), kind))
    row = folders.listed("mug")[path]
    assert (row["readable"], row["reason"], row["width"]) == (True, "", 30)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("1.gif", "skipped: .gif"),
        ("1.jpg.txt", "skipped: .txt"),
        ("1", "skipped: (no extension)"),
        ("jpg", "skipped: (no extension)"),
        (".jpg", "skipped: hidden"),
        ("1.jpg ", "skipped: .jpg "),
        ("1.JSON", "skipped: .json"),
        ("1.png.", "skipped: (no extension)"),
    ],
)
def test_other_files_are_skipped_with_their_extension(folders, name, reason):
    path = folders.put(f"mug/red/{name}")
    row = folders.listed("mug")[path]
    assert (row["readable"], row["reason"], row["sha256"]) == (False, reason, None)


def test_unreadable_images_say_why(folders):
    whole = folders.picture("a", (60, 50))
    folders.put("mug/red/cut.png", whole[:-200])
    folders.put("mug/red/empty.jpg", b"")
    folders.put("mug/red/large.png", folders.picture("b", (1001, 1000)))
    (folders.data / "mug/red/gone.png").symlink_to(folders.data / "nowhere.png")
    rows = folders.listed("mug")
    assert {path.split("/")[-1]: (row["reason"], row["readable"]) for path, row in rows.items()} == {
        "cut.png": ("decode: truncated", False),
        "empty.jpg": ("decode: empty file", False),
        "gone.png": ("download: no such file or directory", False),
        "large.png": ("decode: too large", False),
    }
    assert rows["mug/red/gone.png"]["sha256"] is None
    assert rows["mug/red/cut.png"]["sha256"] == folders.sha256("mug/red/cut.png")


# ---- where files lie ----


def test_folders_that_say_nothing(folders):
    for path in ("mug/red/1.png", "mug/1.png", "mug/red/laion/1.png", "mug/red/more/1.png", "mug/blue/1.png", "dog/rex/1.png"):
        folders.put(path)
    assert places(folders.listed("mug")) == {
        "mug/1.png": ("", "", "skipped: in no concept folder"),
        "mug/blue/1.png": ("blue", "", ""),
        "mug/red/1.png": ("red", "", ""),
        "mug/red/laion/1.png": ("red", "", "skipped: in a subfolder of the concept"),
        "mug/red/more/1.png": ("red", "", "skipped: in a subfolder of the concept"),
    }


def test_folders_that_say_what_is_for_training(folders):
    for side in ("train", "test"):
        for name in ("red/1.png", "red/laion/2.png", "red/notes.txt", "1.png"):
            folders.put(f"{side}/mug/{name}")
    folders.put("train/mug/red/laion/list.txt")
    assert places(folders.listed("mug")) == {
        "test/mug/1.png": ("", "test", "skipped: in no concept folder"),
        "test/mug/red/1.png": ("red", "test", ""),
        "test/mug/red/laion/2.png": ("red", "test", "skipped: in a subfolder of the concept"),
        "test/mug/red/notes.txt": ("red", "test", "skipped: .txt"),
        "train/mug/1.png": ("", "train", "skipped: in no concept folder"),
        "train/mug/red/1.png": ("red", "train", ""),
        "train/mug/red/laion/2.png": ("red", "negative", ""),
        "train/mug/red/laion/list.txt": ("red", "negative", "skipped: .txt"),
        "train/mug/red/notes.txt": ("red", "train", "skipped: .txt"),
    }


def test_concept_folders_in_no_category_folder(folders):
    folders.layout["concept_categories"] = {"bo": "animal", "mam": "animal", "lamp": "thing"}
    for path in ("train/bo/1.png", "train/bo/laion/1.png", "train/mam/1.png", "test/mam/2.png", "test/lamp/1.png", "train/mam/x/1.png"):
        folders.put(path)
    assert places(folders.listed("animal")) == {
        "test/mam/2.png": ("mam", "test", ""),
        "train/bo/1.png": ("bo", "train", ""),
        "train/bo/laion/1.png": ("bo", "negative", ""),
        "train/mam/1.png": ("mam", "train", ""),
        "train/mam/x/1.png": ("mam", "train", "skipped: in a subfolder of the concept"),
    }
    assert places(folders.listed("thing")) == {"test/lamp/1.png": ("lamp", "test", "")}


def test_an_empty_category_has_an_empty_table(folders):
    (folders.data / "mug").mkdir()
    path, counts = folders.inventory("mug")
    table = pq.read_table(path)
    assert (len(table), table.schema.names) == (0, inventory.SCHEMA.names)
    assert (counts["listed"], counts["readable"]) == (0, 0)


def test_a_hidden_folder_is_no_concept(folders):
    """As it is no category: `.ipynb_checkpoints` and `.thumbnails` hold copies of images that nobody put there."""
    folders.put("mug/red/1.png")
    folders.put("mug/.ipynb_checkpoints/1-checkpoint.png")
    assert [path for path, row in folders.listed("mug").items() if row["readable"]] == ["mug/red/1.png"]


def test_linked_folders_and_files_are_followed(folders):
    folders.put("dog/rex/1.png")
    folders.put("mug/red/1.png")
    (folders.data / "mug" / "blue").symlink_to(folders.data / "mug" / "red")
    (folders.data / "mug" / "red" / "2.png").symlink_to(folders.data / "dog" / "rex" / "1.png")
    (folders.data / "mug" / "red" / "up").symlink_to(folders.data)
    rows = folders.listed("mug")
    assert [path for path, row in rows.items() if row["readable"]] == [
        *("mug/blue/1.png", "mug/blue/2.png", "mug/red/1.png", "mug/red/2.png")
    ]
    assert rows["mug/red/2.png"]["sha256"] == folders.sha256("dog/rex/1.png")
    assert rows["mug/blue/1.png"]["sha256"] == rows["mug/red/1.png"]["sha256"]
    assert rows["mug/red/up/dog/rex/1.png"]["reason"] == "skipped: in a subfolder of the concept"


# ---- names ----


@pytest.mark.parametrize(
    "name", ["a, b", "it's", 'quo"te', "line\nbreak", "tab\t", "{x}", "%41", "#1", "ünïcödé", " ", "日本", "-rf", "a → b"]
)
def test_names_of_every_kind(folders, name):
    path = folders.put(f"{name}/{name}/{name}.png")
    row = folders.listed(name)[path]
    assert (row["path"], row["concept"], row["readable"], row["sha256"]) == (path, name, True, folders.sha256(path))


def test_a_name_that_is_no_utf8_is_an_error_row(folders):
    folders.put("mug/red/1.png")
    folders.put(f"mug/red/{NO_UTF8}")
    folders.put(f"mug/{NO_UTF8}/1.png")
    rows = folders.listed("mug")
    assert places(rows) == {
        "mug/caf\\udce9.png/1.png": ("caf\\udce9.png", "", "list: the name is no UTF-8; rename the file"),
        "mug/red/1.png": ("red", "", ""),
        "mug/red/caf\\udce9.png": ("red", "", "list: the name is no UTF-8; rename the file"),
    }
    assert [row["readable"] for row in rows.values()] == [False, True, False]


def test_rows_are_sorted_by_path(folders):
    names = [
        "b/1.png",
        "B/1.png",
        "a b/1.png",
        "a/1.png",
        "a-/1.png",
        "a/1.jpg",
        "é/1.png",
        "z/1.png",
        "a/10.png",
        "a/2.png",
        "\U0001f600/1.png",
    ]
    for side in ("train", "test"):
        for name in names:
            folders.put(f"{side}/mug/{name}", folders.picture(name))
    wanted = sorted(f"{side}/mug/{name}" for side in ("train", "test") for name in names)
    assert list(folders.listed("mug")) == wanted


# ---- bytes and counts ----


def test_the_table_depends_on_no_thread_and_no_cache(folders):
    for number in range(40):
        folders.put(f"mug/{number % 5}/{number}.png", b"broken" if number % 9 == 4 else folders.picture(number // 2))
    path, counts = folders.inventory("mug")
    wanted = path.read_bytes()
    assert (counts["known"], counts["read"]) == (0, 40)
    path, counts = folders.inventory("mug")
    assert path.read_bytes() == wanted
    assert (counts["known"], counts["read"], counts["decoded"]) == (40, 0, 0)
    for threads in (1, 4):
        path, counts = folders.inventory("mug", threads=threads, cache=f"cache {threads}")
        assert path.read_bytes() == wanted
        assert counts["known"] == 0


def test_the_table_depends_on_no_order_on_disk(folders, request):
    for number in range(9):
        folders.put(f"mug/{number % 3}/{number}.png")
    wanted = folders.inventory("mug")[0].read_bytes()
    request.getfixturevalue("backwards")
    assert folders.inventory("mug", cache="another")[0].read_bytes() == wanted


def test_what_was_learnt_is_kept_when_the_last_image_is_done(folders):
    folders.put("mug/red/1.png")
    folders.inventory("mug")
    assert folders.inventory("mug")[1]["known"] == 1


def test_only_the_category_is_listed(folders):
    folders.put("mug/red/1.png")
    folders.put("mug2/red/1.png")
    folders.put("dog/mug/1.png")
    assert list(folders.listed("mug")) == ["mug/red/1.png"]


def test_the_step_takes_its_params(folders, start):
    folders.put("train/a mug/red/1.png")
    folders.put("train/a mug/red/2.png", folders.picture("large", (30, 30)))
    folders.put("test/a mug/red/3.png", b"broken")
    output = folders.root / "00_inventory" / "a_mug.parquet"
    said = start(
        inventory,
        [],
        [str(output)],
        layout=folders.layout | {"data_root": str(folders.data)},
        category="a mug",
        max_pixels=899,
        machine={"threads": 2, "cache_root": str(folders.root / "cache")},
    )
    rows = pq.read_table(output).to_pylist()
    assert {row["path"]: row["reason"] for row in rows} == {
        "test/a mug/red/3.png": "decode: not an image",
        "train/a mug/red/1.png": "",
        "train/a mug/red/2.png": "decode: too large",
    }
    assert "done: listed=3 readable=1 unreadable=2 skipped=0 known=0 read=3" in said
