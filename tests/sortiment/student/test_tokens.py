"""How far a text is read, and what is left of it."""

import numpy as np
import pytest

from sortiment.student.tokens import LEAST_READ, Tokens, usual_length


@pytest.mark.parametrize(
    ("share", "most", "usual"),
    [(0.9, 64, 20), (0.99, 64, 60), (0.99, 48, 48), (1.0, 64, 64), (0.5, 64, 20), (0.0, 64, LEAST_READ)],
)
def test_the_usual_length_is_what_most_offers_do_not_exceed(share: float, most: int, usual: int) -> None:
    lengths = np.array([4] * 10 + [20] * 900 + [60] * 90)
    assert usual_length(lengths, share, most) == usual


def test_without_offers_everything_is_read() -> None:
    assert usual_length(np.zeros(0, np.int64), 0.99, 64) == 64


def test_what_is_cut_keeps_its_last_token_and_what_fits_stays() -> None:
    offers = [[0, 5, 2], [0, 5, 6, 7, 2], [0, 5, 6, 7, 8, 9, 2], [0, 2]]
    tokens = Tokens(np.concatenate(offers).astype(np.int32), np.array([0, 3, 8, 15, 17]), pad_id=1)
    cut = tokens.cut(5)
    ids, mask = cut.pad(np.arange(4))
    assert [row[kept].tolist() for row, kept in zip(ids, mask, strict=True)] == [
        [0, 5, 2], [0, 5, 6, 7, 2], [0, 5, 6, 7, 2], [0, 2],
    ]  # fmt: skip
