"""The rank order is specified, so its values are golden: they must never change."""

import numpy as np

from sortiment.sampling import mask_of_seed, rank_keys


def test_the_mask_of_a_seed_is_the_start_of_an_md5() -> None:
    assert mask_of_seed(0) == 0x4F18806AD6BE0B8D
    assert mask_of_seed(1) == 0xEA514F363CE9BE02
    assert mask_of_seed(2**63 - 1) == 0x1ABCB440C8837CBE


def test_the_rank_is_key_xor_mask_and_gives_the_key_back() -> None:
    keys = np.array([0, 1, 2**64 - 1, 0x4F18806AD6BE0B8D], dtype=np.uint64)
    ranks = rank_keys(keys, 0)
    assert ranks.tolist() == [0x4F18806AD6BE0B8D, 0x4F18806AD6BE0B8C, 0xB0E77F952941F472, 0]
    assert rank_keys(ranks, 0).tolist() == keys.tolist()
