"""Keys of images: safe names, one for each image, that say what they are of."""

import re

from workflow_scripts.autotag.target_keys import make_keys

ODD = [
    "-rf.jpg",
    ".hidden/.x.png",
    "100%#{wildcard}&$HOME.jpg",
    "Ünïcödé 写真 🙂.jpg",
    "a name with spaces.jpeg",
    'it\'s "quoted", twice.jpg',
    "line\nbreak.jpg",
    "../up.jpg",
    "x" * 251 + ".jpg",
    "ä" * 125 + ".jpg",
    "a/b/c d/e.tiff",
]


def test_a_plain_path_is_its_own_key_without_extension() -> None:
    paths = ["IMG_0001.jpg", "a/b/IMG-2.JPEG", "dots.in.the.name.png", "UPPER.WEBP"]
    assert make_keys(paths) == dict(zip(paths, ["IMG_0001", "a__b__IMG-2", "dots.in.the.name", "UPPER"], strict=True))


def test_odd_names_become_safe_ones_that_can_be_recognised() -> None:
    keys = make_keys(ODD)
    assert list(keys) == ODD
    for key in keys.values():
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,70}-[0-9a-f]{8}", key), key
    assert len(set(keys.values())) == len(ODD)
    assert keys["a name with spaces.jpeg"].startswith("a_name_with_spaces-")
    assert keys["a/b/c d/e.tiff"].startswith("a__b__c_d__e-")
    assert max(len(key) for key in keys.values()) == 80


def test_images_that_would_share_a_key_are_told_apart() -> None:
    paths = ["a.jpg", "a.png", "b/c.jpg", "b__c.jpg", "Day.jpg", "day.jpg", "alone.jpg"]
    keys = make_keys(paths)
    assert keys["alone.jpg"] == "alone"
    assert len({key.casefold() for key in keys.values()}) == len(paths), "not even on a disk that knows no case"
    assert [key.rpartition("-")[0] for key in keys.values()][:-1] == ["a", "a", "b__c", "b__c", "Day", "day"]


def test_a_key_depends_on_the_path_alone_as_long_as_no_other_image_shares_it() -> None:
    assert make_keys(["a b.jpg", "c.jpg"])["a b.jpg"] == make_keys(["a b.jpg"])["a b.jpg"]
    assert make_keys(["a.jpg", "a.png"]) == {path: make_keys(["a.png", "a.jpg"])[path] for path in ("a.jpg", "a.png")}


def test_names_that_differ_in_what_is_altered_alone_have_keys_of_their_own() -> None:
    keys = make_keys(["a?.jpg", "a!.jpg", "a?.png"])
    assert len(set(keys.values())) == 3


def test_an_image_may_be_called_as_another_one_came_to_be_called() -> None:
    taken = make_keys(["a b.jpg"])["a b.jpg"]
    for other in (f"{taken}.jpg", f"{taken.upper()}.jpg"):
        keys = make_keys(["a b.jpg", other])
        assert keys["a b.jpg"] == taken
        assert keys[other].startswith(f"{other.removesuffix('.jpg')}-")


def test_crops_of_no_two_images_are_called_alike() -> None:
    keys = make_keys(["a.jpg", "a_0.jpg", "a_full.jpg", "a_0_0.jpg"])
    crops = [f"{key}_{end}" for key in keys.values() for end in (0, 1, "full")]
    assert len(set(crops)) == len(crops)
