"""A label's levels, however shops write what stands between them."""

import pytest

from sortiment.taxonomy import split_path


@pytest.mark.parametrize(
    ("label", "separator", "levels"),
    [
        ("A > B > C", " > ", ("A", "B", "C")),
        ("A\u00a0>\u00a0B  >\tC", " > ", ("A", "B", "C")),
        ("A &gt; B", " > ", ("A", "B")),
        ("A > > B", " > ", ("A", "B")),
        ("> A > B >", " > ", ("A", "B")),
        (" > ", " > ", ()),
        (">", " > ", ()),
        ("A>B > C", " > ", ("A>B", "C")),
        ("Cakes <6 > Cream", " > ", ("Cakes <6", "Cream")),
        ("A>B>>C", ">", ("A", "B", "C")),
        ("A / B/C", " / ", ("A", "B/C")),
        ("A|B", "|", ("A", "B")),
        ("A::B", "::", ("A", "B")),
        ("A » B", " » ", ("A", "B")),
        ("A, B,C", ", ", ("A", "B,C")),
        ("A  B C", "  ", ("A", "B C")),
        ("", " > ", ()),
        ("A\x1f\x1fB > C", " > ", ("A", "B > C")),
    ],
)
def test_a_label_is_split_where_its_separator_stands(label: str, separator: str, levels: tuple[str, ...]) -> None:
    assert split_path(label, separator) == levels
