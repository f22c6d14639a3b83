"""predict 00: how much two vectors agree."""

import numpy as np
import pytest

from workflow_scripts.predict.import_check import agreement


def test_agreement_is_the_cosine_and_counts_what_lengths_differ():
    rng = np.random.default_rng(5)
    left = rng.standard_normal((1, 512))
    right = left + 0.1 * rng.standard_normal((1, 512))
    cosine = (left @ right.T).item() / np.linalg.norm(left) / np.linalg.norm(right)
    assert 0.99 < cosine < 0.999
    units = [(vector / np.linalg.norm(vector)).astype(np.float16) for vector in (left, right)]
    assert agreement(*units) == pytest.approx(cosine, abs=1e-4)
    assert agreement(-units[0], units[1]) == pytest.approx(-cosine, abs=1e-4)
    raw = (left * 3).astype(np.float16)
    assert agreement(raw, raw) == 1
    assert agreement(raw, (raw * 1.02).astype(np.float16)) > 0.999
    assert agreement(raw, (raw * 1.06).astype(np.float16)) < 0.999
    assert agreement(units[0], raw) < 0
