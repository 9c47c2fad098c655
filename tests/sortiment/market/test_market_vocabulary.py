import re

import pytest

from sortiment.market import LANGUAGES, load_vocabulary
from sortiment.market.feeds import FORMATS
from sortiment.taxonomy import slugify

VOCABULARY = load_vocabulary()
BY_ID = {category.id: category for category in VOCABULARY.categories}


def test_there_are_at_least_12_departments_and_150_categories_with_offers():
    assert len(VOCABULARY.departments) >= 12
    assert sum(not category.reserved for category in VOCABULARY.categories) >= 150


def test_category_ids_are_unique():
    assert len(BY_ID) == len(VOCABULARY.categories)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_category_has_a_name_a_path_and_words_in_the_language(language: str):
    for category in VOCABULARY.categories:
        assert all(name.strip() for name in category.path[language]), category.id
        assert len(category.words[language]) >= 3, category.id
        assert all(word.strip() for word in category.words[language]), category.id


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_categories_share_a_path(language: str):
    paths = [category.path[language] for category in VOCABULARY.categories]
    assert len(set(paths)) == len(paths)


def test_a_path_has_the_same_depth_in_every_language():
    for category in VOCABULARY.categories:
        assert len({len(category.path[language]) for language in LANGUAGES}) == 1


def test_the_tree_has_leaves_of_different_depth():
    assert {len(category.path["en"]) for category in VOCABULARY.categories} == {2, 3}


def test_a_department_id_is_the_slug_of_its_english_name():
    for department in VOCABULARY.departments:
        assert slugify(department.names["en"]) == department.id


def test_every_department_reserves_one_category():
    for department in VOCABULARY.departments:
        own = [category for category in VOCABULARY.categories if category.department == department.id]
        assert sum(category.reserved for category in own) == 1


def test_features_are_parallel_across_languages():
    for department in VOCABULARY.departments:
        assert len({len(department.features[language]) for language in LANGUAGES}) == 1


def test_colours_materials_and_measures_are_parallel_across_languages():
    for lists in (VOCABULARY.colours, VOCABULARY.materials, *VOCABULARY.measures.values()):
        assert len({len(lists[language]) for language in LANGUAGES}) == 1


def test_measures_use_the_decimal_sign_of_the_language():
    assert "0.75 l" in VOCABULARY.measures["volume_bottle"]["en"]
    assert "0,75 l" in VOCABULARY.measures["volume_bottle"]["de"]


def test_every_measure_of_a_category_is_described():
    for category in VOCABULARY.categories:
        assert set(category.measures) <= set(VOCABULARY.measures), category.id


def test_accessories_name_a_category_that_exists():
    accessories = [category for category in VOCABULARY.categories if category.fits]
    assert len(accessories) >= 20
    assert all(category.fits in BY_ID and category.fits != category.id for category in accessories)


@pytest.mark.parametrize(
    ("neighbors"),
    [
        ("smartphones", "phone-cases", "phone-holders"),
        ("printers", "ink-cartridges", "toner"),
        ("coffee-machines", "coffee", "coffee-capsules", "descalers"),
        ("drills", "drill-bits"),
        ("sneakers", "running-shoes"),
    ],
)
def test_confusable_neighbors_are_all_there(neighbors: tuple[str, ...]):
    assert set(neighbors) <= set(BY_ID)
    assert all(not BY_ID[neighbor].reserved for neighbor in neighbors)


def test_some_brands_sell_in_several_departments():
    brands = [brand for department in VOCABULARY.departments for brand in department.brands]
    assert len(set(brands)) < len(brands)
    assert all(len(department.brands) >= 8 for department in VOCABULARY.departments)


def test_no_name_holds_the_separator_of_a_feed():
    separators = {feed.separator.strip() for feed in FORMATS.values()}
    for category in VOCABULARY.categories:
        for language in LANGUAGES:
            assert not any(separator in name for separator in separators for name in category.path[language])


def test_german_names_survive_windows_1252():
    for category in VOCABULARY.categories:
        assert re.sub(r"[\x00-\x1f]", "", " > ".join(category.path["de"])).encode("cp1252")
