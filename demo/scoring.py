"""What the drift did to one slice, and what retraining won back: on the same offers, without the drift and with it."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catalog_assets.predictions import local_part
from catalog_assets.student import champion_student
from demo.market import SECOND_DAY
from demo.undrifted import INPUTS, TRUTH, read_undrifted
from resources.storage import StorageResource
from sortiment.encoders import offer_texts
from sortiment.evaluation import macro_f1, read_answers
from sortiment.feeds import read_parts
from sortiment.sampling.splits import TRAIN, side_of
from sortiment.sampling.text_keys import key_offers
from sortiment.settings import Settings

COLUMNS = ["offer_key", "offer_id", "country", "department", "category_id", "product_id", "gtin", *INPUTS]


def score_first_day(storage: StorageResource, partition: str) -> dict[str, Any]:
    """The student's macro-F1 on the slice's test offers of the first day: `{offers, student}`, None without offers."""
    answers = read_answers([storage.store.current("student_evaluation", partition).path])
    answers = answers.filter(pc.invert(pc.starts_with(answers["feed"], SECOND_DAY)))
    truth = answers["category_id"].to_pylist()
    return {"offers": len(truth), "student": macro_f1(truth, answers["student_id"].to_pylist()) if truth else None}


def score_second_day(
    storage: StorageResource, settings: Settings, partition: str, market_folder: Path
) -> dict[str, Any]:
    """Macro-F1 of champion and new student on the slice's new offers that nothing was trained on.

    All of the second day's labelled offers whose product belongs to the test or the validation side (which tunes only
    how sure a student is, not what it answers), not only those that the sample drew; where a synthetic market knows
    that a label is wrong, the offer is left out: with a few offers a category it would hide what was learned. Returns
    `{offers, undrifted, champion, student}`, `undrifted` the champion's on the same offers as they were before the
    drift was made; None without offers.
    """
    from sortiment.student import load_classifier

    store, champion = storage.store, champion_student(storage)
    assert champion is not None, "the second day comes after the first release"
    offers = _unseen_offers(storage, settings, partition)
    undrifted = read_undrifted(market_folder, offers)
    right = pc.equal(undrifted[TRUTH], offers["category_id"])
    offers, undrifted = offers.filter(right), undrifted.filter(right)
    truth, countries = offers["category_id"].to_pylist(), offers["country"].to_pylist()
    if not truth:
        return {"offers": 0, "undrifted": None, "champion": None, "student": None}
    answering = {
        "undrifted": (champion, undrifted),
        "champion": (champion, offers),
        "student": (store.current("student_checkpoint"), offers),
    }
    scored = {}
    for name, (student, texts) in answering.items():
        classifier = load_classifier(student.path)
        columns = {name: texts[name].to_pylist() for name in classifier.inputs}
        top = classifier.classify(offer_texts(columns, classifier.inputs), countries).top_index[:, 0]
        scored[name] = macro_f1(truth, [classifier.classes[index] for index in top])
    return {"offers": len(truth), **scored}


def _unseen_offers(storage: StorageResource, settings: Settings, partition: str) -> pa.Table:
    """The second day's labelled offers of the slice that are not on the training side, ordered by offer_key."""
    store = storage.store
    country, department = partition.split("|", 1)
    tables = [
        pq.read_table(local_part(storage, part["version"], country), columns=COLUMNS)
        for part in read_parts(store.current("offers", country).path)
        if part["feed"].startswith(SECOND_DAY)
    ]
    offers = pa.concat_tables(tables)
    offers = offers.filter((pc.field("department") == department) & pc.field("category_id").is_valid())
    keys = key_offers(*(offers[name].combine_chunks() for name in ("title", "product_id", "gtin")))
    offers = offers.filter(pa.array(side_of(keys.group, settings.sampling) != TRAIN))
    sample = pq.read_table(store.current("training_sample", partition).path / "sample.parquet")
    trained = sample.filter(pc.field("split") == "train")["offer_key"]  # a category without training offers lends some
    return offers.filter(pc.invert(pc.is_in(offers["offer_key"], trained))).sort_by("offer_key")
