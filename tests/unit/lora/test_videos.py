"""lora: which videos there are, and what each is called from the first step to the last."""

import hashlib
import os

import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.lora.videos import Video, find, fingerprint, frame_files


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


def ids(root, **how):
    return {video.path: video.video_id for video in find(str(root), **how).values()}


def digits(path):
    return hashlib.sha256(path.encode()).hexdigest()[:6]


def test_videos_of_every_kind_are_found_at_any_depth_and_others_are_not(tmp_path):
    put(tmp_path, "a.mp4", "b.MOV", "c.m4v", "d/e/f.Avi", "g.mkv", "h.webm", "notes.txt", "i.mp3", "j.jpg", "frame_1.gif", "mp4")
    assert ids(tmp_path) == {"a.mp4": "a", "b.MOV": "b", "c.m4v": "c", "d/e/f.Avi": "d__e__f", "g.mkv": "g", "h.webm": "h"}


def test_hidden_files_and_folders_are_left_out(tmp_path):
    put(tmp_path, "a.mp4", "._a.mp4", ".mp4", ".hidden/b.mp4", "c/.d/frame_1.jpg")
    assert ids(tmp_path) == {"a.mp4": "a"}


def test_a_folder_of_frames_is_one_video(tmp_path):
    put(tmp_path, "x/y/frame_0001.jpg", "x/y/frame_0002.JPEG", "x/z.mp4/frame_1.png", "x/other_1.jpg")
    found = find(str(tmp_path))
    assert [(video.video_id, video.path, video.kind) for video in found.values()] == [
        ("x__y", "x/y", "frames"),
        ("x__z.mp4", "x/z.mp4", "frames"),
    ]


def test_frames_in_the_source_folder_itself_are_a_video_too(tmp_path):
    put(tmp_path, "frame_1.jpg")
    assert find(str(tmp_path)) == {"frames": Video("frames", str(tmp_path), "", "frames")}
    assert find(str(tmp_path))["frames"].file == tmp_path


def test_of_those_that_would_share_an_id_the_first_by_path_keeps_it_and_the_others_get_digits_of_their_path(tmp_path):
    put(tmp_path, "a/b.mp4", "a__b.mp4", "a__b.mov", "a__b/frame_1.jpg")
    assert ids(tmp_path) == {
        "a/b.mp4": "a__b",
        "a__b": f"a__b-{digits('a__b')}",
        "a__b.mov": f"a__b-{digits('a__b.mov')}",
        "a__b.mp4": f"a__b-{digits('a__b.mp4')}",
    }


def test_a_file_that_comes_later_by_path_renames_no_other(tmp_path):
    put(tmp_path, "a.mov")
    assert ids(tmp_path) == {"a.mov": "a"}
    put(tmp_path, "a.mp4")
    assert ids(tmp_path) == {"a.mov": "a", "a.mp4": f"a-{digits('a.mp4')}"}


def test_digits_that_another_name_has_already_become_more(tmp_path):
    taken = f"a-{digits('a.mp4')}.avi"
    put(tmp_path, "a.mov", "a.mp4", taken)
    found = ids(tmp_path)
    assert len(set(found.values())) == 3
    assert found[taken] == taken.removesuffix(".avi")
    assert found["a.mp4"] == f"a-{hashlib.sha256(b'a.mp4').hexdigest()[:16]}"


@pytest.mark.parametrize("name", ["-rf.mp4", 'it\'s "a" film.mp4', "line\nbreak.mp4", "größe 東京.mp4", "a%20b{c}#d.mp4", "x.y.mp4"])
def test_names_are_data(tmp_path, name):
    put(tmp_path, name)
    ((slug, video),) = find(str(tmp_path)).items()
    assert (video.video_id, video.path, video.file.read_bytes()) == (name.removesuffix(".mp4"), name, name.encode())
    assert slug.isascii()
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def test_long_ids_are_cut_and_stay_apart(tmp_path):
    deep = "/".join(["ü" * 60] * 3)
    put(tmp_path, f"{deep}/one.mp4", f"{deep}/two.mp4", "ö" * 75 + ".mp4", "ä" * 76 + ".mp4")
    found = ids(tmp_path)
    assert len(set(found.values())) == 4
    assert all(len(name.encode()) <= 150 for name in found.values())
    assert found["ö" * 75 + ".mp4"] == "ö" * 75
    assert found["ä" * 76 + ".mp4"].endswith(f"-{digits('ä' * 76 + '.mp4')}")


def test_the_first_so_many_by_id_are_taken(tmp_path):
    put(tmp_path, "c.mp4", "a/z.mp4", "b/frame_1.jpg")
    assert list(ids(tmp_path, videos=2).values()) == ["a__z", "b"]
    assert list(ids(tmp_path, videos=9).values()) == ["a__z", "b", "c"]


def test_two_videos_whose_results_would_have_one_name_are_refused(tmp_path):
    put(tmp_path, "a b.mp4")
    (slug,) = find(str(tmp_path))
    put(tmp_path, f"{slug}.mp4")
    with pytest.raises(StepError, match="rename one of them"):
        find(str(tmp_path))


def test_an_empty_or_missing_folder_says_what_to_do(tmp_path):
    with pytest.raises(StepError, match=r"no videos .*set source_videos"):
        find(str(tmp_path))
    with pytest.raises(StepError, match=r"absent: no such folder; .*set source_videos"):
        find(str(tmp_path / "absent"))


def test_a_name_that_is_no_utf8_is_refused_by_name(tmp_path):
    put(tmp_path, "a.mp4")
    (tmp_path / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"")
    with pytest.raises(StepError, match=r"caf\\udce9.mp4: the name is no UTF-8; rename it"):
        find(str(tmp_path))


def test_frames_are_ordered_by_the_value_of_their_numbers(tmp_path):
    put(tmp_path, "frame_10.jpg", "frame_9.png", "frame_009.JPG", "frame_b.jpeg", "other.jpg", "frame_11.txt")
    (tmp_path / "frame_1.jpg").mkdir()
    assert [path.name for path in frame_files(tmp_path)] == ["frame_009.JPG", "frame_9.png", "frame_10.jpg", "frame_b.jpeg"]


def test_the_fingerprint_changes_with_size_and_time_and_for_frames_with_every_one_of_them(tmp_path):
    put(tmp_path, "a.mp4", "f/frame_1.jpg", "f/frame_2.jpg", "f/notes.txt")
    video, frames = find(str(tmp_path)).values()
    before = fingerprint(video), fingerprint(frames)
    assert before == (fingerprint(video), fingerprint(frames))
    os.utime(tmp_path / "a.mp4", ns=(1, 1))
    put(tmp_path, "f/more notes.txt")
    assert fingerprint(video) != before[0]
    assert fingerprint(frames) == before[1]
    seen = {before[1]}
    for change in (lambda: os.utime(tmp_path / "f/frame_2.jpg", ns=(1, 1)), lambda: put(tmp_path, "f/frame_3.jpg")):
        change()
        assert fingerprint(frames) not in seen
        seen.add(fingerprint(frames))


def test_a_link_that_leads_nowhere_ends_no_plan(tmp_path):
    (tmp_path / "a.mp4").symlink_to(tmp_path / "gone")
    (video,) = find(str(tmp_path)).values()
    assert fingerprint(video) == fingerprint(video)
