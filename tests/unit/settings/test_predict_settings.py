"""Settings of the predict pipeline: defaults as the contract has them, and what is refused."""

import pytest

from workflow_scripts.settings import SettingsError, load
from workflow_scripts.settings.predict import Predict


def test_defaults():
    found = Predict()
    assert (found.model.name, found.model.pretrained, found.projects) == ("ViT-B-32-quickgelu", "openai", None)
    assert [path.rpartition("/")[2] for path in found.ranker.paths] == ["ranker_v4.pt", "ranker_v3_w10.pt"]
    assert (found.crop.dimension_scale, found.crop.min_side, found.ranker.normalise, found.crop.normalise) == (10_000, 0.05, True, True)
    assert (found.grouping.max_gap_minutes, found.grouping.ungrouped, found.cache) == (None, "list", True)
    assert found.archives.limits == {"max_member": 200_000_000, "max_ratio": 100.0}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"crop": {"dimension_scale": 0}}, "predict.crop: dimension_scale must be at least 1, or image"),
        ({"crop": {"dimension_scale": "longest"}}, "predict.crop.dimension_scale: 'longest' is wrong"),
        ({"crop": {"min_side": 0.0}}, "predict.crop.min_side: 0.0 is wrong"),
        ({"batch_size": 0}, "predict: batch_size must be at least 1, or auto"),
        ({"ranker": {"paths": []}}, "predict.ranker.paths: [] is wrong"),
        ({"ranker": {"path": "x.pt"}}, "predict.ranker.path: unknown key; did you mean paths?"),
        ({"grouping": {"ungrouped": "drop"}}, "predict.grouping.ungrouped: 'drop' is wrong"),
        ({"archives": {"max_ratio": 0.5}}, "predict.archives.max_ratio: 0.5 is wrong"),
    ],
)
def test_what_is_refused(wrong, said):
    with pytest.raises(SettingsError) as error:
        load({"predict": wrong})
    assert said in str(error.value)
