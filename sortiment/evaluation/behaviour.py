"""What a model does when the title says the same in another way: each kind of change, and how often the answer flips.

Test offers (a few, drawn by the seed) are written as other shops, or the same shop on a worse day, would write them,
and cleaned as the loader cleans them. A change that leaves a title as it was is not counted. Such tests: Ribeiro et al.
2020, "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList".

An empty title, and nothing else in the offer either, says nothing, so any answer to it is wrong that is sure: there the
share of sure answers is counted.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sortiment.cleaning import clean_text, spell_umlauts, strip_accents
from sortiment.encoders import offer_texts
from sortiment.errors import SettingsError
from sortiment.evaluation.answers import SAMPLE_FILE, Answering
from sortiment.settings import EvaluationSettings

EMPTY, BRANDLESS = "empty title", "brand left out"
SURE = 0.5
LONG_CHARS = 900
CUT_SHARE = 2 / 3
NUMBER = re.compile(r"\d+")
SIZES = ("XS", "S", "M", "L", "XL", "XXL")
COLOURS = {
    "DE": ("schwarz", "weiß", "rot", "blau", "grün"),
    "AT": ("schwarz", "weiß", "rot", "blau", "grün"),
    "ES": ("negro", "blanco", "rojo", "azul", "verde"),
    "IT": ("nero", "bianco", "rosso", "blu", "verde"),
    "FR": ("noir", "blanc", "rouge", "bleu", "vert"),
    "GB": ("black", "white", "red", "blue", "green"),
}
SHOP_TALK = {
    "DE": "sofort lieferbar, versandkostenfrei ab 50 Euro, 30 Tage Rückgabe",
    "AT": "sofort lieferbar, versandkostenfrei ab 50 Euro, 30 Tage Rückgabe",
    "ES": "envío gratis a partir de 50 euros, entrega en 24 horas, devolución en 30 días",
    "IT": "spedizione gratuita da 50 euro, consegna in 24 ore, reso entro 30 giorni",
    "FR": "livraison offerte dès 50 euros, expédié sous 24 heures, retour sous 30 jours",
    "GB": "free delivery over 50 pounds, dispatched within 24 hours, 30 days returns",
}
OTHER_COUNTRIES = "GB"  # what a country without words of its own here borrows


@dataclass(frozen=True)
class Offer:
    """What a change may look at."""

    title: str
    brand: str | None
    country: str


@dataclass(frozen=True)
class Behaviour:
    """One model under one kind of change. offers: titles that it changed. flip_rate: share of other answers (of sure
    answers to an empty title); None where nothing was changed. limit: what the settings allow."""

    model: str
    kind: str
    offers: int
    flip_rate: float | None
    limit: float

    @property
    def passed(self) -> bool:
        return self.flip_rate is None or self.flip_rate <= self.limit


Change = Callable[[Offer, np.random.Generator], str]
Columns = Mapping[str, Sequence[Any]]


def refuse_unheard_kinds(settings: EvaluationSettings) -> None:
    """Raises SettingsError for the limit of a kind of change that there is not."""
    unheard = sorted(set(settings.flip_limits) - set(CHANGES))
    if unheard:
        raise SettingsError(
            "evaluation.flip_limits names kinds of change that there are not",
            value=", ".join(unheard),
            allowed=", ".join(CHANGES),
        )


def measure_behaviour(
    offers: Columns,
    models: Mapping[str, Answering],
    settings: EvaluationSettings,
) -> list[dict[str, Any]]:
    """One row per model and kind, as Behaviour in JSON. offers: columns `title, country`, those of the models' `inputs`
    and, where there are any, `brand`. Deterministic: the same offers and seed give the same changes. Raises
    SettingsError for the limit of a kind that there is not."""
    refuse_unheard_kinds(settings)
    rows = draw_rows(len(offers["title"]), settings)
    columns = {name: [values[row] for row in rows] for name, values in offers.items()}
    brands = columns.get("brand") or [None] * len(rows)
    drawn = [Offer(*each) for each in zip(columns["title"], brands, columns["country"], strict=True)]
    changed: dict[str, Columns] = {}
    for kind, change in CHANGES.items():
        chance = np.random.default_rng([settings.seed, list(CHANGES).index(kind)])
        changed[kind] = _change_columns(kind, [clean_text(change(offer, chance)) for offer in drawn], columns)
    found: list[dict[str, Any]] = []
    for name, model in models.items():
        plain = offer_texts(columns, model.inputs)
        asked = [  # kind, offer, text
            (kind, row, text)
            for kind, under in changed.items()
            for row, text in enumerate(offer_texts(under, model.inputs))
            if text != plain[row]
        ]
        everything = [*plain, *(text for _, _, text in asked)]
        countries = [*columns["country"], *(columns["country"][row] for _, row, _ in asked)]
        answered = model.classify(everything, countries)
        index, sure = np.asarray(answered.index), np.asarray(answered.confidence)
        for kind in CHANGES:
            places = [len(plain) + at for at, (own, _, _) in enumerate(asked) if own == kind]
            before = [row for own, row, _ in asked if own == kind]
            failed = sure[places] >= SURE if kind == EMPTY else index[places] != index[before]
            rate = float(failed.mean()) if places else None
            found.append(asdict(Behaviour(name, kind, len(places), rate, limit_of(kind, settings))))
    return found


def _change_columns(kind: str, titles: Sequence[str], columns: Columns) -> Columns:
    """The offers under other titles: with nothing at all where these are empty, and no brand where that is left out."""
    nothing = [None] * len(titles)
    if kind == EMPTY:
        return dict.fromkeys(columns, nothing)
    return {**columns, "title": titles} | ({"brand": nothing} if kind == BRANDLESS else {})


def read_test_offers(samples: Sequence[Path], inputs: Sequence[str]) -> dict[str, list[Any]]:
    """The labelled test offers of the partitions, ordered by offer_key: the columns that `measure_behaviour` reads."""
    names = list(dict.fromkeys(["title", "country", "brand", *inputs]))
    tables = [
        pq.read_table(folder / SAMPLE_FILE, columns=["offer_key", "split", "category_id", *names]) for folder in samples
    ]
    offers = pa.concat_tables(tables)
    asked = pc.and_(pc.equal(offers["split"], "test"), pc.is_valid(offers["category_id"]))
    offers = offers.filter(asked).sort_by("offer_key")
    return {name: offers[name].to_pylist() for name in names}


def draw_rows(offers: int, settings: EvaluationSettings) -> list[int]:
    """Which offers are rewritten."""
    chance = np.random.default_rng([settings.seed, offers])
    chosen = chance.choice(offers, min(offers, settings.behaviour_offers), replace=False)
    return sorted(int(row) for row in chosen)


def limit_of(kind: str, settings: EvaluationSettings) -> float:
    """The largest flip rate that is no warning."""
    return settings.flip_limits.get(kind, settings.flip_limit)


def failed_kinds(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sentences on the rows beyond their limit."""
    return [
        f"{row['model']}, {row['kind']}: {row['flip_rate']:.1%} of {row['offers']} flipped, {row['limit']:.0%} allowed"
        for row in rows
        if not Behaviour(**row).passed
    ]


def _move_words(offer: Offer, chance: np.random.Generator) -> str:
    words = offer.title.split()
    return " ".join(words[place] for place in chance.permutation(len(words)))


def _other_size(offer: Offer, chance: np.random.Generator) -> str:
    """The last number is another one of as many digits; a title without a number gets a size."""
    numbers = list(NUMBER.finditer(offer.title))
    if not numbers:
        return f"{offer.title} {SIZES[int(chance.integers(len(SIZES)))]}"
    last = numbers[-1]
    least = 10 ** (len(last.group()) - 1)
    other = str(int(chance.integers(least, 10 * least))) if len(last.group()) < 18 else last.group()
    return offer.title[: last.start()] + other + offer.title[last.end() :]


def _other_colour(offer: Offer, chance: np.random.Generator) -> str:
    """A colour is another one; a title without one gets one."""
    colours = COLOURS.get(offer.country, COLOURS[OTHER_COUNTRIES])
    words = offer.title.split()
    for place, word in enumerate(words):
        if word.lower() in colours:
            others = [colour for colour in colours if colour != word.lower()]
            return " ".join([*words[:place], others[int(chance.integers(len(others)))], *words[place + 1 :]])
    return f"{offer.title} {colours[int(chance.integers(len(colours)))]}"


def _mistype_word(offer: Offer, chance: np.random.Generator) -> str:
    from sortiment.student.augmentation import mistype

    words = offer.title.split()
    long = [place for place, word in enumerate(words) if len(word) >= 4 and word.isalpha()]
    if long:
        place = long[int(chance.integers(len(long)))]
        words[place] = mistype(words[place], chance)
    return " ".join(words)


def _leave_brand_out(offer: Offer, _: np.random.Generator) -> str:
    if not offer.brand:
        return offer.title
    without = re.sub(rf"(?<!\w){re.escape(offer.brand)}(?!\w)", " ", offer.title, flags=re.IGNORECASE)
    return without if without.strip() else offer.title


def _add_html(offer: Offer, _: np.random.Generator) -> str:
    words = offer.title.replace("&", "&amp;").split(" ")
    return f"<p><b>{words[0]}</b>&nbsp;{' '.join(words[1:])}<br/></p>&#8203; &raquo;"


def _cut(offer: Offer, _: np.random.Generator) -> str:
    return offer.title[: max(1, round(len(offer.title) * CUT_SHARE))] + "..."


def _add_shop_talk(offer: Offer, _: np.random.Generator) -> str:
    talk = SHOP_TALK.get(offer.country, SHOP_TALK[OTHER_COUNTRIES])
    return " ".join([offer.title, *[talk] * (1 + LONG_CHARS // len(talk))])[: LONG_CHARS + len(offer.title)]


CHANGES: dict[str, Change] = {
    "upper case": lambda offer, _: offer.title.upper(),
    "lower case": lambda offer, _: offer.title.lower(),
    "word order": _move_words,
    "umlauts as two letters": lambda offer, _: spell_umlauts(offer.title),
    "accents left out": lambda offer, _: strip_accents(offer.title),
    "another size": _other_size,
    "another colour": _other_colour,
    "typo": _mistype_word,
    BRANDLESS: _leave_brand_out,
    "HTML remnants": _add_html,
    "cut off": _cut,
    "very long title": _add_shop_talk,
    EMPTY: lambda _, __: "",
}
KINDS = tuple(CHANGES)
