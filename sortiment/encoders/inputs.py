"""How an offer becomes a text: one rule for teachers, students and engines.

The columns are joined by a space; a part that the text already says (a brand within the title) is not repeated.
"""

from collections.abc import Mapping, Sequence


def offer_texts(columns: Mapping[str, Sequence[str | None]], inputs: Sequence[str]) -> list[str]:
    """One text per offer. `columns`: the offers' columns by name, one value per offer; NULL adds nothing."""
    texts = [value or "" for value in columns[inputs[0]]]
    for name in inputs[1:]:
        texts = [_joined(text, value) for text, value in zip(texts, columns[name], strict=True)]
    return texts


def _joined(text: str, part: str | None) -> str:
    if not part or part.casefold() in text.casefold():
        return text
    return f"{text} {part}" if text else part
