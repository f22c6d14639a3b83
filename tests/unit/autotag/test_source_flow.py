"""Images to vectors: batches across images, order, errors of one image and of all, memory, lazy models. The models are simple ones."""

import io
import threading
import time

import numpy as np
import pytest
from PIL import Image

from tests.unit.autotag.shard_data import BLACK, CURSED, GREEDY, SEGMENT, WIDTH, Means, Words, flow, models, picture
from workflow_scripts.autotag import finding, pictures
from workflow_scripts.autotag.flow import Flow
from workflow_scripts.autotag.segmenters.base import Found
from workflow_scripts.autotag.shards import Sample
from workflow_scripts.core import images
from workflow_scripts.core.images import content_hash, decode
from workflow_scripts.core.step import StepError

CAT = ["cat"]


def sample(number, data=None, colour=None, **options):
    """A sample with an image of a colour of its own."""
    data = picture(colour or (40 + number * 7 % 200, 90, 30), **options) if data is None else data
    return Sample(f"{number:03d}", number, f"{number:03d}.png", number * 1000, len(data), data)


def failed(number, error="tar: damaged"):
    return Sample(f"{number:03d}", number, None, error=error)


def run(samples, words=CAT, chosen=None):
    chosen = chosen or flow()
    return list(chosen.run(samples, words if callable(words) else lambda _: words))


def expected(data, boxes):
    """Vectors of crops, computed one by one."""
    image = decode(data).image
    preprocess = models().preprocess
    return np.concatenate([Means().encode(preprocess(image.crop(box))) for box in boxes]).astype(np.float16)


# ---- what comes out ----


def test_every_segment_has_the_vector_of_its_crop():
    samples = [sample(number, size=(64 + 8 * number, 48), kind="JPEG") for number in range(5)]
    found = run(samples, ["cat", "dog"])
    assert [each.sample.key for each in found] == [each.key for each in samples]
    for each, original in zip(found, samples, strict=True):
        width = 64 + 8 * original.position
        boxes = [(0, 0, width, 48), (1, 1, width - 4, 48), (0, 0, width, 48)]
        assert [segment.bbox for segment in each.segments] == boxes
        assert [segment.label for segment in each.segments] == ["cat", "dog", None]
        assert each.crop_ids == [f"{each.sample.key}_0", f"{each.sample.key}_1", f"{each.sample.key}_full"]
        assert np.array_equal(np.stack(each.vectors), expected(original.data, boxes))
        assert {vector.dtype for vector in each.vectors} == {np.dtype(np.float16)}
        assert (each.sha256, each.width, each.height) == (content_hash(original.data), width, 48)
        assert each.counts == {"found": 2, "too_small": 0, "too_thin": 0, "beyond_max": 0, "crops": 3}
        assert each.error is None
        assert each.note is None


def test_nothing_of_an_image_stays_when_it_is_done():
    done = run([sample(0), sample(1, colour=CURSED), sample(2, data=b"no image"), sample(3)])
    for each in done:
        assert each.sample.data is None
        assert each.image is None
        assert each.crops == []
        assert each.found == []
    assert [each.sample.size for each in done] == [len(sample(0).data), len(sample(1, colour=CURSED).data), 8, len(sample(3).data)]


@pytest.mark.parametrize("words", [["cat"], [f"word {number}" for number in range(7)], []])
@pytest.mark.parametrize("batch", [1, 2, 4, 5, 100])
def test_crops_of_many_images_fill_the_encoders_batches(words, batch):
    encoder = Means(batch)
    found = run([sample(number) for number in range(7)], words, flow(encoder=encoder))
    rows = sum(len(each.segments) for each in found)
    assert rows == 7 * (1 + (len(words) or 1))
    assert encoder.batches == [batch] * (rows // batch) + [rows % batch] * bool(rows % batch)
    assert [each.sample.position for each in found] == list(range(7))
    same = run([sample(number) for number in range(7)], words)
    assert all(np.array_equal(a.vectors, b.vectors) for a, b in zip(found, same, strict=True))


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_the_segmenter_gets_images_by_batches_in_order(batch):
    segmenter = Words(batch)
    samples = [sample(number) for number in range(7)]
    run(samples, lambda key: [key], flow(segmenter))
    assert segmenter.asked == [[each.key] for each in samples]
    assert segmenter.calls == [batch] * (7 // batch) + [7 % batch] * bool(7 % batch)


def test_images_that_are_large_together_go_to_the_segmenter_before_their_batch_is_full(monkeypatch):
    monkeypatch.setattr(finding, "_MOST_BYTES", 3 * 64 * 48 * 3)
    segmenter = Words(batch=100)
    run([sample(number) for number in range(7)], chosen=flow(segmenter))
    assert segmenter.calls == [3, 3, 1]


def test_an_encoder_that_had_to_shrink_gets_less_from_then_on():
    class Shrinking(Means):
        def encode(self, pixels):
            self.batch = 2
            return super().encode(pixels)

    encoder = Shrinking(6)
    found = run([sample(number) for number in range(30)], chosen=flow(encoder=encoder))
    assert [len(each.vectors) for each in found] == [2] * 30
    assert encoder.batches[0] == 6
    assert encoder.batches[-1] == 2
    assert encoder.batches.count(6) < 6, "those that were under way"


def test_without_words_the_segmenter_looks_for_everything():
    segmenter = Words()
    (found,) = run([sample(1)], [], flow(segmenter))
    assert segmenter.asked == [[]]
    assert [segment.bbox for segment in found.segments] == [(0, 0, 32, 24), (0, 0, 64, 48)]


# ---- images with nothing to look for, and with nothing found ----


def test_an_untagged_image_is_not_given_to_the_segmenter_and_counts_as_a_whole():
    segmenter = Words()
    found = run([sample(number) for number in range(4)], lambda key: CAT if key == "002" else None, flow(segmenter))
    assert segmenter.calls == [1]
    assert [each.crop_ids for each in found] == [["000_full"], ["001_full"], ["002_0", "002_full"], ["003_full"]]
    assert np.array_equal(found[0].vectors, expected(sample(0).data, [(0, 0, 64, 48)]))
    assert found[0].counts["found"] == 0


def test_without_the_whole_image_nothing_may_be_left():
    found = run([sample(0), sample(1)], lambda key: None if key == "000" else CAT, flow(whole_image=False, min_area=10_000))
    assert [(each.segments, each.vectors, each.error) for each in found] == [([], [], None)] * 2
    assert found[1].counts == {"found": 1, "too_small": 1, "too_thin": 0, "beyond_max": 0, "crops": 0}


def test_images_without_a_crop_keep_their_place():
    for without in ({0}, {3}, {6}, {0, 1, 2}, {4, 5, 6}, set(range(7))):
        chosen = flow(encoder=Means(3), whole_image=False)
        found = run([sample(number) for number in range(7)], lambda key: None if int(key) in without else CAT, chosen)  # noqa: B023
        assert [each.sample.position for each in found] == list(range(7))
        assert [len(each.vectors) for each in found] == [int(number not in without) for number in range(7)]


# ---- errors ----


def test_errors_of_reading_and_decoding_pass_through_in_their_place():
    broken = picture((9, 9, 9))[:-30]
    large = picture((9, 9, 9), size=(200, 100))
    found = run([failed(0), sample(1), sample(2, data=b"text"), sample(3, data=large), sample(4, data=broken), sample(5)])
    assert [each.error for each in found] == ["tar: damaged", None, "decode: not an image", "decode: too large", "decode: truncated", None]
    assert [each.sha256 is None for each in found] == [True, False, False, False, False, False]
    assert [each.width for each in found] == [None, 64, None, None, None, 64]
    assert [each.counts == {} for each in found] == [True, False, True, True, True, False]
    assert [len(each.vectors) for each in found] == [0, 2, 0, 0, 0, 2]


def test_an_image_that_the_segmenter_fails_at_costs_itself_alone(log_text):
    segmenter = Words(batch=4)
    found = run([sample(number, colour=CURSED if number == 2 else None) for number in range(6)], chosen=flow(segmenter))
    assert [each.error for each in found] == [None, None, "segment: cannot reshape array of size 0", None, None, None]
    assert [len(each.vectors) for each in found] == [2, 2, 0, 2, 2, 2]
    assert (found[2].width, found[2].height) == (64, 48)
    assert segmenter.calls == [4, 1, 1, 1, 1, 1, 2], "together, one by one and a probe behind the one that fails, and the next ones"
    assert ["thing"] in segmenter.asked
    assert "002.png: the segmenter fails at this image: cannot reshape array of size 0" in log_text()
    same = run([sample(number) for number in (0, 1, 3, 4, 5)])
    assert all(np.array_equal(a.vectors, b.vectors) for a, b in zip([*found[:2], *found[3:]], same, strict=True))


def test_a_segmenter_that_fails_at_several_images_together_gets_them_one_by_one():
    found = run([sample(number) for number in range(3)], chosen=flow(Words(alone=True)))
    assert [each.error for each in found] == [None] * 3


def test_a_segmenter_that_fails_at_anything_ends_the_step():
    with pytest.raises(ValueError, match="cannot reshape"):
        run([sample(0), sample(1)], chosen=flow(Words(broken=True)))


@pytest.mark.parametrize(("error", "text"), [(IndexError(), "IndexError"), (KeyError("x" * 300), f"'{'x' * 199}")])
def test_an_error_is_told_in_short_and_by_its_name_where_it_has_no_text(monkeypatch, error, text):
    def segment(_, pictures, __):
        if pictures[0].size == (64, 48):
            raise error
        return [[]]

    monkeypatch.setattr(Words, "segment", segment)
    (found,) = run([sample(0)])
    assert found.error == f"segment: {text}"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
    ],
)
def test_no_memory_in_the_segmenter_is_no_fault_of_an_image(monkeypatch, error):
    def segment(*_):
        raise error

    monkeypatch.setattr(Words, "segment", segment)
    with pytest.raises(StepError, match=r"the segmenter ran out of memory: lower autotag\.segmenter\.batch_images"):
        run([sample(0)])


def test_no_memory_for_one_of_several_images_is_none_either():
    with pytest.raises(StepError, match="ran out of memory"):
        run([sample(0, colour=CURSED), sample(1, colour=GREEDY)], chosen=flow(Words(batch=2)))


def test_what_the_segmenter_says_to_the_user_is_passed_on(monkeypatch):
    def segment(*_):
        raise StepError("out of memory with a single image")

    monkeypatch.setattr(Words, "segment", segment)
    with pytest.raises(StepError, match=r"^out of memory with a single image$"):
        run([sample(0)])


def test_no_memory_for_decoding_ends_the_step(monkeypatch):
    def decode(*_, **__):
        raise images.DecodeError(images.OUT_OF_MEMORY)

    monkeypatch.setattr(images, "decode", decode)
    with pytest.raises(StepError, match=r"000\.png: decode: out of memory: give the job more memory"):
        run([sample(0)])


def test_crops_without_a_finite_vector_are_left_out_and_told(monkeypatch):
    monkeypatch.setattr(
        Words, "_found", lambda self, image, words: [Found((0, 0, 8, 8), 0.9, 0, "a", None), Found((56, 0, 64, 48), 0.8, 1, "b", None)]
    )
    half = Image.new("RGB", (64, 48), (200, 10, 10))
    half.paste(BLACK, (56, 0, 64, 48))
    buffer = io.BytesIO()
    half.save(buffer, "PNG")
    found = run([sample(0, data=buffer.getvalue()), sample(1, colour=BLACK), sample(2)])
    assert found[0].crop_ids == ["000_0", "000_full"]
    assert [segment.label for segment in found[0].segments] == ["a", None]
    assert np.isfinite(found[0].vectors).all()
    assert found[0].counts["crops"] == 2
    assert found[0].note == "embed: the model gave no finite vector for 1 of 3 crops"
    assert found[0].error is None
    assert (found[1].segments, found[1].crop_ids, found[1].vectors) == ([], [], [])
    assert found[1].error == "embed: the model gave no finite vector for 3 of 3 crops"
    assert found[1].counts["crops"] == 0
    assert found[2].note is None
    assert len(found[2].vectors) == 3


def test_an_error_of_the_encoder_ends_the_step():
    class Broken(Means):
        def encode(self, pixels):
            raise StepError("out of memory with a single image")

    with pytest.raises(StepError, match="single image"):
        run([sample(number) for number in range(5)], chosen=flow(encoder=Broken()))


# ---- lazy, ahead, within bounds ----


def test_models_load_when_an_image_needs_them_and_once():
    loaded = []
    simple = models()
    simple._load_segmenter = lambda: loaded.append("segmenter") or Words()
    simple._load_encoder = lambda: loaded.append("encoder") or Means()
    chosen = Flow(simple, SEGMENT, threads=2, max_pixels=10_000)
    run([failed(0), sample(1, data=b"text")], chosen=chosen)
    assert loaded == []
    run([sample(0)], words=None, chosen=chosen)
    assert loaded == ["encoder"]
    run([sample(0)], chosen=chosen)
    run([sample(0)], chosen=chosen)
    assert loaded == ["encoder", "segmenter"]


def test_a_consumer_that_stops_early_leaves_no_thread_at_work():
    before = threading.active_count()
    running = flow().run((sample(number) for number in range(500)), lambda _: CAT)
    next(running)
    running.close()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_few_images_wait_at_a_time():
    taken = 0

    def samples():
        nonlocal taken
        for taken in range(1, 2001):
            yield sample(taken % 50)

    running = flow(Words(batch=4), Means(8)).run(samples(), lambda _: CAT)
    for done, _ in enumerate(running, 1):
        assert taken - done < 2 * pictures._AHEAD
        if done == 500:
            break
    running.close()


def test_large_images_wait_in_smaller_numbers_by_what_their_headers_say(monkeypatch):
    """A picture of one colour is a small file whatever its size."""
    monkeypatch.setattr("workflow_scripts.core.prefetch.MAX_WEIGHT", 3 * 3 * 2000 * 2000)
    large = sample(0, data=picture((0, 99, 0), size=(2000, 2000)))
    assert len(large.data) < 100_000
    taken = 0

    def samples():
        nonlocal taken
        while taken < 60:
            taken += 1
            yield large

    decoded = pictures.decoded(samples(), lambda _: None, threads=2, max_pixels=10**8)
    next(decoded)
    assert taken <= 5
    decoded.close()


def test_the_width_of_vectors_is_the_models():
    assert flow().width == WIDTH
