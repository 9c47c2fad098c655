"""Several values behind one option."""

from command_line.many_values import repeat_option_names


def test_several_values_behind_an_option_are_one_each() -> None:
    given = ["--seeds", "0", "1", "--json", "x", "--feed", "a.yaml", "b.yaml", "--new-country"]
    assert repeat_option_names(given, {"--seeds", "--feed"}) == [
        "--seeds", "0", "--seeds", "1", "--json", "x", "--feed", "a.yaml", "--feed", "b.yaml", "--new-country",
    ]  # fmt: skip
