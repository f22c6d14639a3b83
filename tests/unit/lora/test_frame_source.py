"""lora 01: which frame stands for which moment, and how it looks."""

from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.unit.lora.video_data import number_of, write_video
from workflow_scripts.lora.frame_source import VideoError, VideoReader
from workflow_scripts.lora.upright import upright

av = pytest.importorskip("av")


def read(path, fps, limit=None):
    reader = VideoReader(Path(path))
    found = [(moment.numbers, moment.time, number_of(upright(moment.frame))) for moment in reader.moments(fps, limit)]
    reader.close()
    return found, reader


def taken(path, fps, limit=None):
    """The number of the frame for each n."""
    found, reader = read(path, fps, limit)
    assert reader.error is None
    assert [n for numbers, _, _ in found for n in numbers] == list(range(1, sum(len(numbers) for numbers, _, _ in found) + 1))
    return [number for numbers, _, number in found for _ in numbers]


# ---- moments ----


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "mpeg4"), ("a.mov", "mpeg4"), ("a.m4v", "mpeg4"), ("a.avi", "mpeg4"), ("a.mkv", "mpeg4")]
)
def test_frame_n_is_the_first_that_is_not_before_its_moment(tmp_path, name, codec):
    path = write_video(tmp_path / name, range(35), base=Fraction(1, 10), codec=codec)
    assert taken(path, 1) == [0, 10, 20, 30]
    assert taken(path, 2) == [0, 5, 10, 15, 20, 25, 30]
    assert taken(path, 3) == [0, 4, 7, 10, 14, 17, 20, 24, 27, 30, 34]
    assert taken(path, 0.5) == [0, 20]


def test_compressed_video_with_reordered_frames_comes_in_the_order_of_presentation(tmp_path):
    path = write_video(tmp_path / "a.mp4", range(40), base=Fraction(1, 10), codec="libx264", options={"crf": "10", "bf": "3"})
    assert taken(path, 1) == [0, 10, 20, 30]
    path = write_video(
        tmp_path / "a.webm", range(40), base=Fraction(1, 10), codec="libvpx-vp9", options={"crf": "10", "deadline": "realtime"}
    )
    assert taken(path, 1) == [0, 10, 20, 30]


def test_moments_that_no_binary_fraction_can_hold_are_met_exactly(tmp_path):
    path = write_video(tmp_path / "a.mkv", [1000 * n // 10 for n in range(50)], rate=10)
    assert taken(path, 10) == list(range(50))
    assert taken(path, 4.8)[12] == 25, "2.5 seconds, and not a frame later for the last bit of 4.8"
    path = write_video(tmp_path / "b.mp4", range(60), base=Fraction(1, 30), rate=30)
    assert taken(path, 30) == list(range(60))
    assert taken(path, 0.1) == [0]


def test_the_times_of_frames_count_where_their_rate_varies(tmp_path):
    path = write_video(tmp_path / "a.mkv", [0, 100, 900, 1050, 1100, 2000, 2001, 2950])
    found, reader = read(path, 1)
    assert [(list(numbers), time, number) for numbers, time, number in found] == [([1], 0.0, 0), ([2], 1.05, 3), ([3], 2.0, 5)]
    assert reader.error is None


def test_a_frame_stands_for_all_moments_in_which_no_other_was_shown(tmp_path):
    path = write_video(tmp_path / "a.mkv", [0, 100, 3500, 3600, 4000])
    found, _ = read(path, 1)
    assert [(list(numbers), time, number) for numbers, time, number in found] == [([1], 0.0, 0), ([2, 3, 4], 3.5, 2), ([5], 4.0, 4)]


def test_time_counts_from_the_first_frame(tmp_path):
    path = write_video(tmp_path / "a.mkv", [5000 + 100 * n for n in range(25)])
    found, reader = read(path, 1)
    assert [(time, number) for _, time, number in found] == [(0.0, 0), (1.0, 10), (2.0, 20)]
    assert reader.error is None


def test_the_limit_is_the_last_n(tmp_path):
    path = write_video(tmp_path / "a.mkv", [0, 100, 3500, 3600, 4000])
    assert taken(path, 1, 1) == [0]
    assert taken(path, 1, 3) == [0, 2, 2]
    assert taken(path, 1, 99) == [0, 2, 2, 2, 4]


def test_what_the_file_says_of_itself(tmp_path):
    reader = VideoReader(write_video(tmp_path / "a.mp4", range(35), base=Fraction(1, 10)))
    assert (reader.codec, reader.duration, reader.rotation) == ("mpeg4", Fraction(7, 2), 0)
    assert VideoReader(write_video(tmp_path / "a.mkv", range(35), base=Fraction(1, 10))).duration == Fraction(7, 2)


# ---- what goes wrong ----


def test_a_video_that_is_cut_off_gives_what_is_before_and_says_where_it_ends(tmp_path):
    path = write_video(tmp_path / "a.mkv", range(60), base=Fraction(1, 10))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 5])
    found, reader = read(path, 1)
    assert [number for _, _, number in found] == [0, 10, 20]
    assert reader.error.startswith("decode: the video ends after 2.")
    assert reader.error.endswith(" of 6.0 seconds")


def test_a_slice_of_a_video_that_is_cut_off_is_whole(tmp_path):
    path = write_video(tmp_path / "a.mkv", range(60), base=Fraction(1, 10))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 5])
    assert taken(path, 1, 2) == [0, 10]


def test_a_video_that_breaks_in_the_middle_gives_what_is_before(tmp_path):
    path = write_video(tmp_path / "a.mov", range(60), base=Fraction(1, 10), codec="mjpeg", options={"qscale": "2", "strict": "-1"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"\xa5" * 600 + data[len(data) // 2 + 600 :])
    found, reader = read(path, 1)
    assert [number for _, _, number in found] == [0, 10, 20]
    assert reader.error == "decode: invalid data found when processing input"


@pytest.mark.parametrize("what", ["hole", "cut"])
def test_no_frame_before_a_break_is_lost_in_the_decoder(tmp_path, what):
    options = {"crf": "1", "g": "12", "bf": "3"}
    path = tmp_path / "a.mp4"
    write_video(path, range(60), base=Fraction(1, 10), codec="libx264", options=options, size=(160, 128), index=True)
    data = path.read_bytes()
    middle = (data.index(b"mdat") + len(data)) // 2
    path.write_bytes(data[:middle] + (b"\xa5" * 300 + data[middle + 300 :] if what == "hole" else b""))
    found, reader = read(path, 10)
    assert reader.error is not None
    with av.open(str(path)) as container:  # one thread holds nothing back
        container.streams.video[0].codec_context.thread_count = 1
        whole = 0
        try:
            for _ in container.decode(video=0):
                whole += 1
        except av.error.FFmpegError:
            assert whole > 15
    assert [number for _, _, number in found] == list(range(whole))


def test_no_frame_before_a_break_of_the_file_is_lost_in_the_decoder(tmp_path, monkeypatch):
    options = {"crf": "10", "bf": "3"}
    reader = VideoReader(write_video(tmp_path / "a.mp4", range(30), base=Fraction(1, 10), codec="libx264", options=options))
    container = reader._container

    class Broken:
        @staticmethod
        def demux(stream):
            yield from islice(container.demux(stream), 20)
            raise av.error.InvalidDataError(1, "Input/output error")

    monkeypatch.setattr(reader, "_container", Broken)
    found = [number_of(upright(moment.frame)) for moment in reader.moments(10)]
    assert len(found) >= 18
    assert found[:17] == list(range(17))
    assert reader.error == "decode: input/output error"


def test_frames_without_times_of_their_own_follow_one_another(tmp_path, monkeypatch):
    def frames(path, *, dts):
        reader = VideoReader(path)
        decoded = list(reader._until_break())
        for number, frame in enumerate(decoded):
            frame.pts = None
            frame.dts = dts[number] if dts else None
        monkeypatch.setattr(reader, "_until_break", lambda: iter(decoded))
        return [(moment.time, number_of(upright(moment.frame))) for moment in reader.moments(1)]

    path = write_video(tmp_path / "a.avi", range(25), base=Fraction(1, 10))
    assert frames(path, dts=None) == [(0.0, 0), (1.0, 10), (2.0, 20)]
    assert frames(path, dts=range(-3, 47, 2)) == [(0.0, 0), (1.0, 5), (2.0, 10), (3.0, 15), (4.0, 20)]


def test_frames_that_were_decoded_with_errors_are_passed_over_and_counted(tmp_path):
    path = write_video(
        tmp_path / "a.mp4", range(60), base=Fraction(1, 10), codec="libx264", options={"crf": "1", "g": "1"}, size=(160, 128)
    )
    data = path.read_bytes()
    start = data.index(b"mdat")
    middle = (start + data.rindex(b"moov")) // 2
    path.write_bytes(data[:middle] + b"\xa5" * 8 + data[middle + 8 :])
    found, reader = read(path, 10)
    assert reader.damaged == 1
    assert reader.error is None
    (twice,) = [place for place, (numbers, _, _) in enumerate(found) if len(numbers) == 2]
    assert [number for _, _, number in found] == [number for number in range(60) if number != twice]


def test_a_time_that_nobody_can_mean_ends_the_video(tmp_path):
    path = write_video(tmp_path / "a.mkv", [0, 100, 1000, 90_000_000, 90_000_100])
    found, reader = read(path, 1)
    assert [number for _, _, number in found] == [0, 2]
    assert reader.error == "decode: the times jump from 1.1 to 90000.0 seconds"


def test_what_is_no_video_is_refused_without_its_path(tmp_path):
    empty, text, gone = tmp_path / "empty.mp4", tmp_path / "text.mp4", tmp_path / "gone.mp4"
    empty.write_bytes(b"")
    text.write_bytes(b"no video " * 500)
    for path in (empty, text):
        with pytest.raises(VideoError, match=r"^decode: invalid data found when processing input$"):
            VideoReader(path)
    with pytest.raises(VideoError, match=r"^decode: no such file or directory$"):
        VideoReader(gone)


@pytest.mark.parametrize("cover", [False, True])
def test_sound_alone_is_no_video_nor_with_the_picture_of_its_cover(tmp_path, cover):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=8000)
        if cover:
            picture = container.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 48, 32, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            frame = av.VideoFrame(48, 32, "yuvj420p")
            frame.pts = 0
            container.mux(picture.encode(frame) + picture.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        container.mux(sound.encode(frame) + sound.encode(None))
    with pytest.raises(VideoError, match="decode: no video stream"):
        VideoReader(path)


def test_a_name_is_never_taken_for_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a.mkv", range(3), base=Fraction(1, 10))
    for name in ("http:a.mkv", "concat:a.mkv|a.mkv", "-i.mkv", "%03d.mkv"):
        (tmp_path / name).write_bytes((tmp_path / "a.mkv").read_bytes())
        assert taken(name, 1) == [0]
