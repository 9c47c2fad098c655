"""Cleaning text."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortiment.cleaning import clean_column, clean_text, map_distinct


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("  a \t b\n c ", "a b c"),
        ("Salt &amp; Pepper", "Salt & Pepper"),
        ("Salt & Pepper", "Salt & Pepper"),
        ("R&D AT&T", "R&D AT&T"),
        ("cut&copy machine", "cut&copy machine"),
        ("&amp;amp;lt;b&amp;gt;x", "x"),
        ("M&#246;bel &#xFC;ber &uuml; &#39;x&#39", "Möbel über ü 'x'"),
        ("&#150;", "–"),
        ("<b>Bold</b>, <i>it</i>", "Bold, it"),
        ("one<br/>two<p class='x'>three</p>", "one two three"),
        ("&lt;strong&gt;x&lt;/strong&gt;", "x"),
        ("size <M or >L", "size <M or >L"),
        ("5 < 6", "5 < 6"),
        ("a<script>alert('x')</script>b", "a b"),
        ("a<!-- no -->b", "a b"),
        ("<![CDATA[x]]>", "x"),
        ("ﬁne ＡＢＣ １２", "fine ABC 12"),
        ("e\u0301tagère", "étagère"),
        ("a\u00a0b\u200bc\ufeff", "a bc"),
        ("x\x00y\x85z", "x y z"),
        ("cut off <br", "cut off"),
        ("", ""),
    ],
)
def test_text_is_cleaned(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean


@given(
    st.text(
        alphabet=st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("&;#<>/ab 1pbr\t")), max_size=60
    )
)
def test_a_column_is_cleaned_like_its_values_and_cleaning_twice_changes_nothing(text: str) -> None:
    clean = clean_text(text)
    assert clean_text(clean) == clean
    assert clean_column(pa.array([text, "plain", None])).to_pylist() == [clean or None, "plain", None]


def test_markup_without_end_takes_linear_time() -> None:
    for hostile in ("<script>" * 20_000, "<!--" * 20_000, "<b " * 20_000, "&#" * 20_000, "<![CDATA[" * 9_000):
        clean_text(hostile)


def test_a_function_is_asked_once_per_distinct_value() -> None:
    asked: list[str] = []

    def length(text: str) -> int:
        asked.append(text)
        return len(text)

    assert map_distinct(pa.array(["aa", None, "b", "aa"]), length, pa.int64()).to_pylist() == [2, None, 1, 2]
    assert asked == ["aa", "b"]
