"""predict 00: what the listing of an older cache says, where its images are, and what is refused before anything is read."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.core.storage import FolderStorage, ZipStorage
from workflow_scripts.predict.import_entries import Entry, Refused, by_storage, read_listing

EARLIER, LATER = 1_700_000_000, 1_700_000_100


class OldCache:
    """Images, and a folder with a listing and vectors that are newer than them."""

    def __init__(self, root):
        self.images, self.folder = root / "images", root / "old cache"
        self.images.mkdir()
        self.folder.mkdir()
        self.lines = []

    def image(self, name, time=EARLIER):
        path = self.images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"an image")
        os.utime(path, (time, time))
        return str(path)

    def archive(self, name, *members):
        path = self.images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as writer:
            for member in members:
                writer.writestr(member, b"an image")
        os.utime(path, (EARLIER, EARLIER))
        return str(path)

    def vector(self, name="v.npy", time=LATER):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.ones(4))
        os.utime(path, (time, time))
        return name

    def list(self, image, vector, **more):
        self.lines.append(json.dumps({"image_path": image, "embedding_file": vector, "hash": "0" * 16} | more).encode() + b"\n")

    def write(self, *more):
        (self.folder / "processed_images.jsonl").write_bytes(b"".join([*self.lines, *more]))

    def read(self):
        """How many lines, entries by name, and what is refused with its names."""
        refused = Refused()
        lines, entries = read_listing(self.folder, refused)
        reasons = {reason: one["examples"] for reason, one in refused.record().items()}
        assert lines == len(entries) + refused.counts.total()
        return lines, {entry.name: entry for entry in entries}, reasons


@pytest.fixture
def old(tmp_path):
    return OldCache(tmp_path)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The folder that relative paths begin in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def content_of(entry):
    """What stands where an entry says that its image is."""
    ((storage, ((_, item),)),) = by_storage([entry], Refused())
    return storage.read(item)


# ---- lines ----


def test_lines_that_name_no_image_and_vector_are_refused_by_their_numbers(old):
    old.list(old.image("a.png"), old.vector())
    lines = [
        b"\n",
        b"   \r\n",
        b"{]\n",
        b'"a text"\n',
        b"[1, 2]\n",
        b"null\n",
        b"\xff\xfe{}\n",
        b"[" * 100_000 + b"\n",
        b'{"embedding_file": "v.npy"}\n',
        b'{"image_path": "a.png"}\n',
        b'{"image_path": null, "embedding_file": "v.npy"}\n',
        b'{"image_path": "", "embedding_file": "v.npy"}\n',
        b'{"image_path": 7, "embedding_file": "v.npy"}\n',
        b'{"image_path": ["a.png"], "embedding_file": "v.npy"}\n',
        b'{"image_path": "a.png", "embedding_file": {"a": 1}}\n',
        b'{"image_path": "a.png", "embed',
    ]
    old.write(*lines)
    count, entries, refused = old.read()
    assert (count, len(entries)) == (17, 1)
    assert refused == {
        "line: empty": ["line 2", "line 3"],
        "line: no JSON": ["line 4", "line 8", "line 9"],
        "line: no JSON object": ["line 5", "line 6", "line 7"],
        "line: no image_path": ["line 10", "line 12", "line 13"],
        "line: no embedding_file": ["line 11"],
        "line: image_path is no text": ["line 14", "line 15"],
        "line: embedding_file is no text": ["line 16"],
        "line: cut off": ["line 17"],
    }


def test_a_last_line_without_a_line_end_and_a_mark_at_the_start_are_no_fault(old):
    old.list(old.image("a.png"), old.vector())
    old.list(old.image("b.png"), old.vector())
    old.lines = [b"\xef\xbb\xbf" + old.lines[0].replace(b"\n", b"\r\n"), old.lines[1].rstrip()]
    old.write()
    assert [entry.key.rsplit("/")[-1] for entry in old.read()[1].values()] == ["a.png", "b.png"]


def test_the_hash_is_not_needed_and_other_keys_do_no_harm(old):
    image, vector = old.image("a.png"), old.vector()
    old.lines = [json.dumps({"image_path": image, "embedding_file": vector, "model": ["x"]}).encode()]
    old.write()
    assert list(old.read()[1]) == [image]


def test_an_empty_listing_has_no_lines(old):
    old.write()
    assert old.read() == (0, {}, {})


def test_without_a_listing_the_message_names_the_file(old):
    with pytest.raises(StepError) as caught:
        old.read()
    assert str(caught.value) == (
        f"{old.folder}/processed_images.jsonl: No such file or directory; name the folder of an older cache, which holds this file"
    )


def test_of_several_lines_on_an_image_the_last_one_counts(old, monkeypatch):
    monkeypatch.chdir(old.images)
    image = old.image("a.png")
    other = old.image("b.png")
    archive = old.archive("p.zip", "m.png")
    for name in ("1.npy", "2.npy", "3.npy", "4.npy"):
        old.vector(name)
    old.list(image, "1.npy")
    old.list(other, "1.npy")
    old.list("./a.png", "2.npy")
    old.list(f"{archive}/m.png", "1.npy")
    old.list("a.png", "3.npy")
    old.list("p.zip!m.png", "4.npy")
    old.list("gone.png", "1.npy")
    old.list("gone.png", "2.npy")
    old.write()
    _, entries, refused = old.read()
    assert {name: os.path.basename(entry.vector) for name, entry in entries.items()} == {
        other: "1.npy",
        "a.png": "3.npy",
        "p.zip!m.png": "4.npy",
    }
    assert refused == {
        "line: the image stands there again further down": [image, "./a.png", f"{archive}/m.png", "gone.png"],
        "image: not found": ["gone.png"],
    }


def test_an_image_whose_last_line_cannot_be_used_is_refused_although_an_earlier_one_could(old):
    image = old.image("a.png")
    old.list(image, old.vector())
    old.list(image, "gone.npy")
    old.write()
    _, entries, refused = old.read()
    assert entries == {}
    assert refused == {"line: the image stands there again further down": [image], "vector: not found": [image]}


def test_a_name_that_is_not_found_is_not_taken_for_a_file_of_that_name_elsewhere(old, elsewhere):
    image = old.image("a.png")
    old.list(image.lstrip("/"), old.vector())
    old.list(image, old.vector())
    old.write()
    _, entries, refused = old.read()
    assert list(entries) == [image]
    assert refused == {"image: not found": [image.lstrip("/")]}


# ---- images ----


def test_relative_paths_begin_here_and_else_in_the_folder_of_the_cache(old, elsewhere):
    vector = old.vector()
    (elsewhere / "here.png").write_bytes(b"here")
    for folder, content in ((elsewhere, b"here"), (old.folder, b"beside")):
        (folder / "both.png").write_bytes(content)
    (old.folder / "beside.png").write_bytes(b"beside")
    for path in (*elsewhere.iterdir(), *old.folder.glob("*.png")):
        os.utime(path, (EARLIER, EARLIER))
    for name in ("here.png", "both.png", "beside.png", "../images/a.png", "none.png"):
        old.list(name, vector)
    old.image("a.png")
    old.write()
    for folder in (old.folder, Path(os.path.relpath(old.folder))):
        old.folder = folder
        _, entries, refused = old.read()
        assert {name: content_of(entry) for name, entry in entries.items()} == {
            "here.png": b"here",
            "both.png": b"here",
            "beside.png": b"beside",
            "../images/a.png": b"an image",
        }
        assert refused == {"image: not found": ["none.png"]}


ODD = [
    "line\nend.png",
    "quote\"s and 'more'.png",
    "-rf.png",
    "日本 é.png",
    " blank .png",
    "per%20cent#?.png",
    "raw \udcff.png",
    "x.zip.png",
]


def test_names_are_data(old):
    names = [old.image(name) for name in ODD]
    for name in names:
        old.list(name, old.vector())
    old.write()
    _, entries, refused = old.read()
    assert list(entries) == names
    assert {content_of(entry) for entry in entries.values()} == {b"an image"}
    assert refused == {}


def test_what_is_no_file_or_no_path_at_all_is_not_found(old):
    (old.images / "folder.png").mkdir()
    os.mkfifo(old.images / "pipe.png")
    (old.images / "loop.png").symlink_to("loop.png")
    plain = old.image("a.png")
    names = [*(str(old.images / name) for name in ("folder.png", "pipe.png", "loop.png", "gone.png", "x" * 300)), f"{plain}/b.png"]
    for name in (*names, "a\0b.png", "half \ud800.png"):
        old.list(name, old.vector())
    old.write()
    _, entries, refused = old.read()
    assert entries == {}
    assert refused == {"image: not found": [*names, "a\0b.png", "half \\ud800.png"]}


@pytest.mark.parametrize("between", ["/", "!", "!/", "::"])
@pytest.mark.parametrize("archive", ["project.zip", "PROJECT.ZIP", "a.zip.d/b.zip/c.zip"])
def test_a_member_of_a_zip_is_found_in_every_spelling(old, archive, between):
    path = old.archive(archive, "a/b.png", "c.zip/d.png")
    for member in ("a/b.png", "c.zip/d.png"):
        old.list(f"{path}{between}{member}", old.vector())
    old.write()
    _, entries, _ = old.read()
    assert [(entry.archive, entry.key) for entry in entries.values()] == [(path, "a/b.png"), (path, "c.zip/d.png")]
    assert {content_of(entry) for entry in entries.values()} == {b"an image"}


def test_a_file_in_a_folder_named_like_a_zip_is_a_file(old):
    image = old.image("project.zip/a.png")
    old.list(image, old.vector())
    old.write()
    assert [(entry.archive, entry.key) for entry in old.read()[1].values()] == [("", image.lstrip("/"))]


def test_a_zip_itself_and_members_without_a_name_are_no_members(old):
    path = old.archive("project.zip", "a.png")
    for name in (f"{path}/", f"{path}!", f"{path}::"):
        old.list(name, old.vector())
    old.write()
    _, entries, _ = old.read()
    assert all(not entry.archive for entry in entries.values())


def test_storages_come_one_by_one_and_what_they_lack_is_refused(old):
    image = old.image("a.png")
    archive = old.archive("p.zip", "m.png", "../escape.png")
    broken = old.image("broken.zip")
    entries = [
        Entry("1", archive, "m.png"),
        Entry("2", "", image.lstrip("/")),
        Entry("3", archive, "gone.png"),
        Entry("4", archive, "../escape.png"),
        Entry("5", broken, "a.png"),
        Entry("6", "", "gone.png"),
        Entry("7", broken, "b.png"),
    ]
    refused = Refused()
    found = [(type(storage), [(entry.name, item.key) for entry, item in group]) for storage, group in by_storage(entries, refused)]
    assert found == [(ZipStorage, [("1", "m.png")]), (FolderStorage, [("2", image.lstrip("/"))])]
    assert {reason: one["examples"] for reason, one in refused.record().items()} == {
        "image: not in its archive, or refused there": ["3", "4"],
        "image: its archive cannot be read": ["5", "7"],
        "image: not found": ["6"],
    }


# ---- vectors ----


def test_vectors_are_found_by_absolute_and_relative_paths_and_beside_the_listing(old, elsewhere):
    inside = old.vector("vectors/in.npy")
    old.vector("moved.npy")
    other = elsewhere / "apart.npy"
    np.save(other, np.ones(4))
    wanted = {
        "a.png": (inside, old.folder / "vectors/in.npy"),
        "b.png": (str(old.folder / "vectors/in.npy"), old.folder / "vectors/in.npy"),
        "c.png": (str(other), other),
        "d.png": ("/machine/of/last/year/moved.npy", old.folder / "moved.npy"),
        "e.png": ("old cache/moved.npy", old.folder / "moved.npy"),
    }
    for name, (vector, _) in wanted.items():
        old.list(old.image(name), vector)
    old.write()
    _, entries, refused = old.read()
    assert {os.path.basename(name): Path(entry.vector) for name, entry in entries.items()} == {
        name: path for name, (_, path) in wanted.items()
    }
    assert refused == {}


def test_vectors_that_are_no_npy_files_or_not_there_are_refused(old):
    (old.folder / "folder.npy").mkdir()
    (old.folder / "secret.pkl").write_bytes(b"x")
    cases = {
        "a.png": ("secret.pkl", "vector: the file is no .npy"),
        "b.png": ("/etc/passwd", "vector: the file is no .npy"),
        "c.png": ("gone.npy", "vector: not found"),
        "d.png": ("folder.npy", "vector: not found"),
        "e.png": ("a\0.npy", "vector: not found"),
        "f.png": ("half \ud800.npy", "vector: not found"),
    }
    for name, (vector, _) in cases.items():
        old.list(old.image(name), vector)
    old.write()
    _, entries, refused = old.read()
    assert entries == {}
    assert {os.path.basename(name): reason for reason, names in refused.items() for name in names} == {
        name: reason for name, (_, reason) in cases.items()
    }


def test_an_image_that_is_newer_than_its_vector_is_refused_beyond_two_seconds(old):
    times = {"long before": LATER - 1000, "same": LATER, "two": LATER + 2, "three": LATER + 3, "long after": LATER + 10**6}
    paths = {old.image(f"{name}.png", time): name for name, time in times.items()}
    archive = old.archive("p.zip", "m.png")
    os.utime(archive, (LATER + 3, LATER + 3))
    for path in (*paths, f"{archive}/m.png"):
        old.list(path, old.vector())
    old.write()
    _, entries, refused = old.read()
    assert [paths[name] for name in entries] == ["long before", "same", "two"]
    assert {reason: [paths.get(name, name) for name in names] for reason, names in refused.items()} == {
        "image: newer than its vector, perhaps another": ["three", "long after", f"{archive}/m.png"]
    }


def test_a_reason_names_twenty_examples_and_counts_all():
    refused = Refused()
    for number in range(50):
        refused.add("image: not found", f"{number}.png")
    refused.add("line: empty", "line 3")
    assert refused.record() == {
        "image: not found": {"count": 50, "examples": [f"{number}.png" for number in range(20)]},
        "line: empty": {"count": 1, "examples": ["line 3"]},
    }
