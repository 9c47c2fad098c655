"""What no model learned looks more unknown than what it learned, and the score says how many known offers look so."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from sortiment.errors import SettingsError
from sortiment.evaluation import area_under_roc, score_unknown


def test_certainty_is_known_and_indifference_is_unknown() -> None:
    probability = np.array([[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.1, 0.1]], np.float32)
    sure, lost, between = score_unknown(probability)
    assert sure == pytest.approx(0.0, abs=1e-6)
    assert lost == pytest.approx(1.0)
    assert 0 < between < 1
    assert score_unknown(np.ones((2, 1), np.float32)).tolist() == [0.0, 0.0]


def test_the_area_is_the_textbooks_also_with_ties() -> None:
    draw = np.random.default_rng(0)
    unknown = draw.random(400) < 0.3
    scores = np.round(draw.random(400) + 0.4 * unknown, 1)
    assert area_under_roc(unknown, scores) == pytest.approx(roc_auc_score(unknown, scores))
    with pytest.raises(SettingsError, match="known and unknown"):
        area_under_roc(np.zeros(3, bool), np.zeros(3))
