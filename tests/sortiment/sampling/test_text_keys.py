"""Keys of products and titles: golden values, what they ignore, what they tell apart."""

import numpy as np
import pyarrow as pa

from sortiment.sampling.text_keys import EMPTY, SIGNATURE_VALUES, TextKeys, hash_strings, key_offers


def keys_of(
    titles: list[str | None], product: list[str | None] | None = None, gtin: list[str | None] | None = None
) -> TextKeys:
    nothing: list[str | None] = [None] * len(titles)
    return key_offers(
        pa.array(titles, pa.string()), pa.array(product or nothing, pa.string()), pa.array(gtin or nothing, pa.string())
    )


def grams_of(text: str) -> set[str]:
    return {text[start : start + 4] for start in range(len(text) - 3)}


def similarity(keys: TextKeys, first: int, second: int) -> float:
    return float((keys.signature[first] == keys.signature[second]).mean())


def test_keys_have_golden_values() -> None:
    keys = keys_of(
        ["Bosch GSR 12V-15 Akku-Bohrschrauber", "Müsli Schoko 500g"], [None, "P-1"], ["04006381333931", None]
    )
    assert [hex(key) for key in keys.product.tolist()] == ["0x0", "0x633bfea71435e459"]
    assert hex(keys.gtin[0]) == "0x868cb74b23239bc2"
    assert [hex(key) for key in keys.title.tolist()] == ["0x2c986e4574bbc57e", "0xa2ab60eb9e360458"]
    assert keys.signature[0][:8].tolist() == [58714, 57566, 55616, 53666, 51716, 11514, 1652, 13992]
    assert hex(hash_strings(pa.array(["ä"]))[0]) == "0x4a34aa2bc3eea120"


def test_keys_do_not_depend_on_the_other_offers() -> None:
    titles = [f"Kaffeemaschine {number} edelstahl" for number in range(5_000)]
    together, alone = keys_of(titles), keys_of(titles[4_321:4_322])
    assert together.title[4_321] == alone.title[0]
    assert together.signature[4_321].tolist() == alone.signature[0].tolist()
    assert together.group[4_321] == alone.group[0]


def test_case_accents_and_punctuation_do_not_tell_titles_apart() -> None:
    keys = keys_of(["Müsli, Schoko (500 g)!", "MUSLI SCHOKO 500 G", "mu\u0308sli – schoko 500 g", "müsli schoko 501 g"])
    assert len(set(keys.title[:3].tolist())) == 1
    assert len(set(keys.group[:3].tolist())) == 1
    assert keys.title[3] != keys.title[0]


def test_words_of_other_scripts_are_told_apart() -> None:
    keys = keys_of(["кофе в зернах", "чай зеленый", "コーヒー豆 深煎り"])
    assert len(set(keys.title.tolist())) == 3
    assert similarity(keys, 0, 1) < 0.2


def test_near_titles_have_similar_signatures_and_others_do_not() -> None:
    keys = keys_of(
        [
            "apple iphone 8 plus 64gb silver unlocked smartphone",
            "apple iphone 8 plus 64gb silver unlocked smartphone new",
            "bosch serie 4 freestanding fridge freezer inox",
        ]
    )
    assert similarity(keys, 0, 1) > 0.7
    assert similarity(keys, 0, 2) < 0.2


def test_the_signature_estimates_the_jaccard_similarity_of_titles() -> None:
    generator = np.random.default_rng(0)
    words = [f"{number:04x}" for number in generator.permutation(20_000)]
    pairs = [(words[index * 20 : index * 20 + 15], words[index * 20 + 5 : index * 20 + 20]) for index in range(900)]
    keys = keys_of([" ".join(words) for pair in pairs for words in pair])
    estimates = [similarity(keys, 2 * index, 2 * index + 1) for index in range(len(pairs))]
    grams = [
        [{f" {a} "[i : i + 4] for a in [" ".join(words)] for i in range(len(a) - 1)} for words in pair]
        for pair in pairs
    ]
    truth = [len(a & b) / len(a | b) for a, b in grams]
    assert abs(np.mean(estimates) - np.mean(truth)) < 0.03
    assert np.std(np.array(estimates) - truth) < 0.12


def test_an_offer_without_letters_or_digits_in_its_title_is_not_like_any_other() -> None:
    keys = keys_of(["***", "!!!", "", None])
    assert (keys.title == 0).all()
    assert (keys.signature == EMPTY).all()
    assert keys.group[0] != keys.group[1]


def test_a_title_of_one_letter_has_a_whole_signature() -> None:
    keys = keys_of(["x", "ab", "abc"])
    assert keys.signature.shape == (3, SIGNATURE_VALUES)
    assert (keys.signature[1:] != EMPTY).all()
    assert len(set(keys.group.tolist())) == 3


def test_a_product_id_decides_the_group_before_gtin_and_title() -> None:
    keys = keys_of(
        ["a mug", "another mug", "a third mug", "a mug"],
        ["P-1", "P-1", None, None],
        ["4006381333931", None, "4006381333931", None],
    )
    assert keys.group[0] == keys.group[1] == keys.product[0]
    assert keys.group[2] == keys.gtin[0]
    assert keys.group[3] not in keys.group[:3]


def test_gtins_are_equal_however_they_are_padded_and_broken_ones_are_ignored() -> None:
    keys = keys_of(
        ["a", "b", "c", "d", "e"], gtin=["4006381333931", "04006381333931", "4006381-333931", "123", "000000"]
    )
    assert len(set(keys.gtin[:3].tolist())) == 1
    assert keys.gtin[3:].tolist() == [0, 0]
