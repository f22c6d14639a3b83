"""The preview of the trainer's buckets: sizes, choice and what is cut off."""

import pytest

from workflow_scripts.lora.buckets import Fit, buckets, fit


def test_buckets_of_a_training_at_512():
    # By hand: height = 512² // width, down to a multiple of 64, both between 256 and 1024.
    by_hand = {256: 1024, 320: 768, 384: 640, 448: 576, 512: 512, 576: 448, 640: 384, 704: 320, 768: 320, 832: 256, 896: 256, 960: 256}
    wanted = set(by_hand.items()) | {(1024, 256)}
    assert buckets(512) == sorted(wanted | {(height, width) for width, height in wanted})


@pytest.mark.parametrize("resolution", [64, 256, 512, 768, 1024, 1536])
def test_no_bucket_is_larger_than_the_square_and_every_one_can_be_turned(resolution):
    found = buckets(resolution)
    assert (resolution, resolution) in found
    assert found == sorted(set(found))
    assert all((height, width) in found and width * height <= resolution**2 for width, height in found)
    assert all(side % 64 == 0 and min(256, resolution) <= side <= 2 * resolution for size in found for side in size)


def test_a_training_at_1024_has_the_known_sizes():
    assert {(832, 1216), (896, 1152), (1344, 768), (1152, 896), (512, 2048)} <= set(buckets(1024))


def test_a_picture_of_a_buckets_size_loses_nothing():
    assert fit(832, 1216, buckets(1024)) == Fit((832, 1216), 0.0, False)
    assert fit(512, 2048, buckets(1024)) == Fit((512, 2048), 0.0, False)


def test_the_bucket_of_the_nearest_ratio_is_taken_and_the_rest_cut_off():
    found = fit(1920, 1080, buckets(1024))
    # 16:9 = 1.778; 1344 x 768 = 1.75: 1080 becomes 768, 1920 becomes 1365.3.
    assert (found.bucket, found.enlarged) == ((1344, 768), False)
    assert found.cropped == pytest.approx(1 - 1344 / 1365, abs=1e-9)
    assert fit(1080, 1920, buckets(1024)) == Fit((768, 1344), found.cropped, False)


def test_a_small_picture_is_enlarged():
    assert fit(320, 240, buckets(512)).enlarged
    assert not fit(640, 640, buckets(512)).enlarged


def test_a_ratio_beyond_all_buckets_is_cut_to_the_longest():
    found = fit(4000, 500, buckets(512))
    assert found.bucket == (1024, 256)
    assert found.cropped == pytest.approx(0.5)
