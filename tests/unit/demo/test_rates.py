import pytest

from workflow_scripts.demo.rates import embedding_rate


def test_the_rate_is_that_of_all_images_together(tmp_path):
    (tmp_path / "a.log").write_text("10 of 100 images, 9.0/s\n100 images in 21.0 s, 10.0/s\ndone: known=0\n")
    (tmp_path / "b.log").write_text("300 images in 8.0 s, 60.0/s\n")
    logs = [tmp_path / name for name in ("a.log", "b.log", "none.log")]
    assert embedding_rate(logs) == pytest.approx(400 / 15)
    assert embedding_rate(logs[2:]) is None
