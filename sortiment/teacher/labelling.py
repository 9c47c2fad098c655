"""A teacher's soft labels for a partition's sample: the best classes with their log probabilities, and the rest.

What is stored is the teacher's own opinion. The shop's label is not in it, and for offers that the teacher was
trained on it is what the teacher would have said without them: so it is as sure of them as of any other offer, and
contradicts a label that is wrong. Beside the offers it answers for titles that are made up of theirs (`transfer.py`).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sortiment.blobs import write_atomically
from sortiment.progress import Progress, Step, silent
from sortiment.settings import TeacherSettings
from sortiment.teacher.encoder_expert import NUMBERS_AT_MOST, split_offers
from sortiment.teacher.ngram_expert import NgramExpert
from sortiment.teacher.offers import COLUMNS, Offers, offers_of, sample_file
from sortiment.teacher.ridge import Floats, Ints
from sortiment.teacher.teacher import CLASSES_FILE, ENCODER, NGRAMS, Teacher, labels_as_classes
from sortiment.teacher.transfer import TransferTitles, make_transfer_titles

SOFT_LABELS_FILE = "soft_labels.parquet"
TRANSFER_FILE = "transfer_labels.parquet"
REPORT_FILE = "report.json"
TEXTS_PER_SHARD = 16_384
EMBEDDED_TOGETHER = 4 * TEXTS_PER_SHARD
ANSWER: list[tuple[str, pa.DataType]] = [
    ("top_index", pa.list_(pa.int32())),
    ("top_logit", pa.list_(pa.float32())),
    ("rest_mass", pa.float32()),
]
SCHEMA = pa.schema([("offer_key", pa.uint64()), *ANSWER])
SOURCES = ("first_key", "second_key")
"""The offers that a title was made from."""
TRANSFER_SCHEMA = pa.schema(
    [("text", pa.string()), ("country", pa.string()), *((name, pa.uint64()) for name in SOURCES), *ANSWER]
)


# each offer's best classes, their log probabilities, both [n, k], and the others' mass, [n]
Answers = tuple[Ints, Floats, Floats]


@dataclass(frozen=True)
class Shard:
    """Some offers of one partition and the titles made of them, each with what is stored of the teacher's answer."""

    offers: Offers
    answers: Answers
    titles: TransferTitles
    title_answers: Answers


Shards = Iterator[Shard]


@dataclass(frozen=True)
class LabelReport:
    """One partition's labels.

    transfer_titles: made up and answered for, too. left_out: training offers of the teacher, answered for as if not
    seen. confidence: mean probability of the best class. rest_mass: mean probability outside the stored classes.
    agreement: share of labelled offers whose label is the teacher's best class; None where nothing is labelled.
    """

    offers: int
    labelled: int
    transfer_titles: int
    left_out: int
    confidence: float
    rest_mass: float
    agreement: float | None


def label_samples(
    teacher: Teacher,
    samples: Mapping[str, Path],
    out: Mapping[str, Path],
    settings: TeacherSettings,
    progress: Progress = silent,
) -> dict[str, dict[str, Any]]:
    """Label each partition into its folder; the partitions' reports as JSON. `samples` may hold more than `out`.

    A folder gets `soft_labels.parquet`, one row per offer of the sample, in its order, `transfer_labels.parquet`, one
    per made-up title, and `classes.json`. Samples are worked through shard by shard, in bounded memory.
    All partitions are embedded together, so that batches are full, and small ones are shown to the n-grams' expert
    together: with thousands of classes it takes nearly as long for one offer as for thousands. What a killed run
    labelled is not labelled again, and the rest gets the labels that it would have got.
    """
    waiting = [key for key in sorted(out) if not _finished(out[key])]
    _embed_samples(teacher, [samples[key] for key in waiting], settings, progress)
    rows = {key: pq.ParquetFile(sample_file(samples[key])).metadata.num_rows for key in waiting}
    with progress("label with the teacher", total=sum(rows.values())) as step:
        for group in _gather_small(rows, _offers_together(teacher, settings)):
            answered = _answer_together if len(group) > 1 else _answer_in_shards
            for key, shards in zip(group, answered(teacher, [samples[key] for key in group], settings), strict=True):
                _write_labels(teacher, shards, out[key], settings, step)
    return {key: json.loads((out[key] / REPORT_FILE).read_text(encoding="utf-8")) for key in sorted(out)}


def _gather_small(rows: Mapping[str, int], most: int) -> Iterator[list[str]]:
    """The partitions in their order, as many together as make a shard of `most` offers."""
    group: list[str] = []
    for key, count in rows.items():
        if group and sum(rows[each] for each in group) + count > most:
            yield group
            group = []
        group.append(key)
    if group:
        yield group


def _answer_in_shards(teacher: Teacher, samples: list[Path], settings: TeacherSettings) -> Iterator[Shards]:
    """Each partition's offers with the teacher's log probabilities, a shard at a time."""

    def answer(sample: Path) -> Shards:
        for offers in _read_shards(teacher, sample, settings):
            yield _answer_shard(teacher, offers, _titles_of(teacher, offers, settings), settings)

    for sample in samples:
        yield answer(sample)


def _answer_together(teacher: Teacher, samples: list[Path], settings: TeacherSettings) -> Iterator[Shards]:
    """The same for partitions that make one shard together. The n-grams' scores of an offer do not depend on those
    beside it, to the last bit; the encoder's may, so each partition has its own."""
    tables = [pq.read_table(sample_file(sample), columns=_columns(teacher)) for sample in samples]
    offers = [offers_of(table, teacher.encoder_settings.inputs) for table in tables]
    titles = [_titles_of(teacher, each, settings) for each in offers]
    expert, scores = teacher.experts.get(NGRAMS), None
    if isinstance(expert, NgramExpert):
        texts = [each.texts + made.texts for each, made in zip(offers, titles, strict=True)]
        scores = expert.scores([text for some in texts for text in some])
    start = 0
    for each, made in zip(offers, titles, strict=True):
        middle, end = start + len(each), start + len(each) + len(made)
        own = (None, None) if scores is None else (scores[start:middle], scores[middle:end])
        start = end
        yield iter([_answer_shard(teacher, each, made, settings, *own)] if len(each) else [])


def _titles_of(teacher: Teacher, offers: Offers, settings: TeacherSettings) -> TransferTitles:
    per_offer, most = _titles_per_offer(teacher, settings), settings.most_transfer_titles
    return make_transfer_titles(offers, per_offer, settings.seed, settings.transfer_balance, most)


def _titles_per_offer(teacher: Teacher, settings: TeacherSettings) -> float:
    """The same for every offer that the teacher was fitted with."""
    return min(settings.most_transfer_titles, settings.transfer_titles / max(teacher.offers_read, 1))


def _offers_per_shard(teacher: Teacher, settings: TeacherSettings) -> int:
    """So many that they and the titles made of them are no more than `TEXTS_PER_SHARD`."""
    return max(1, int(TEXTS_PER_SHARD / (1 + _titles_per_offer(teacher, settings))))


def _offers_together(teacher: Teacher, settings: TeacherSettings) -> int:
    """The same for partitions that are answered together, whose scores of all classes are held at once."""
    texts = min(TEXTS_PER_SHARD, NUMBERS_AT_MOST // len(teacher.classes))
    return max(1, int(texts / (1 + _titles_per_offer(teacher, settings))))


def _answer_shard(
    teacher: Teacher,
    offers: Offers,
    titles: TransferTitles,
    settings: TeacherSettings,
    offer_scores: Floats | None = None,
    title_scores: Floats | None = None,
) -> Shard:
    """offer_scores, title_scores: what the n-grams' expert says, where it has been asked already."""

    def of_offers(part: slice) -> Floats:
        some = offers.take(np.arange(len(offers))[part])
        return teacher.log_probabilities(some, silent, None if offer_scores is None else offer_scores[part])

    def of_titles(part: slice) -> Floats:
        some = TransferTitles(titles.texts[part], titles.countries[part], titles.sources[part])
        return teacher.log_probabilities_of(some, silent, None if title_scores is None else title_scores[part])

    classes, top_k = len(teacher.classes), settings.label_top_k
    answers = answer_in_parts(len(offers), classes, top_k, of_offers)
    return Shard(offers, answers, titles, answer_in_parts(len(titles), classes, top_k, of_titles))


def answer_in_parts(
    count: int, classes: int, top_k: int, answer: Callable[[slice], Floats], numbers_at_most: int = NUMBERS_AT_MOST
) -> Answers:
    """What is stored of so many answers. answer: log probabilities of a part, [n, classes], which are not kept."""
    parts = [top_classes(answer(part), top_k) for part in split_offers(count, classes, numbers_at_most)]
    parts = parts or [top_classes(np.zeros((0, classes), np.float32), top_k)]
    index, logit, outside = (np.concatenate(each) for each in zip(*parts, strict=True))
    return index, logit, outside


def _write_labels(teacher: Teacher, shards: Shards, out: Path, settings: TeacherSettings, step: Step) -> None:
    out.mkdir(parents=True, exist_ok=True)
    count = labelled = made = left_out = agreeing = 0
    confidence, rest = 0.0, 0.0
    files = (out / SOFT_LABELS_FILE, out / TRANSFER_FILE)
    half_written = [file.with_name(f".{file.name}.writing") for file in files]
    with (
        pq.ParquetWriter(half_written[0], SCHEMA, compression="zstd") as writer,
        pq.ParquetWriter(half_written[1], TRANSFER_SCHEMA, compression="zstd") as transfer_writer,
    ):
        for shard in shards:
            offers = shard.offers
            if not len(offers):
                continue
            index, logit, outside = shard.answers
            writer.write_table(_as_table(SCHEMA, [pa.array(offers.keys, pa.uint64())], index, logit, outside))
            transfer_writer.write_table(_transfer_table(shard))
            truth = labels_as_classes(offers.labels, teacher.classes)
            count, made = count + len(offers), made + len(shard.titles)
            labelled += sum(label is not None for label in offers.labels)
            left_out += len(teacher.training.find(offers.keys)[0])
            agreeing += int((truth == index[:, 0]).sum())
            confidence += float(np.exp(logit[:, 0]).sum(dtype=np.float64))
            rest += float(outside.sum(dtype=np.float64))
            step.advance(len(offers))
    for temporary, file in zip(half_written, files, strict=True):
        temporary.replace(file)
    write_atomically(out / CLASSES_FILE, _json(list(teacher.classes)))
    report = LabelReport(
        offers=count,
        labelled=labelled,
        transfer_titles=made,
        left_out=left_out,
        confidence=confidence / max(count, 1),
        rest_mass=rest / max(count, 1),
        agreement=agreeing / labelled if labelled else None,
    )
    write_atomically(out / REPORT_FILE, _json(asdict(report)))  # last: its presence says that the folder is finished


def _finished(out: Path) -> bool:
    return (out / REPORT_FILE).is_file()


def _embed_samples(teacher: Teacher, samples: list[Path], settings: TeacherSettings, progress: Progress) -> None:
    """Fill the feature cache, a bounded number of offers at a time."""
    if ENCODER not in teacher.experts or not samples:
        return
    texts, countries = list[str](), list[str]()
    for sample in samples:
        for offers in _read_shards(teacher, sample, settings):
            made = _titles_of(teacher, offers, settings)
            texts += offers.texts + made.texts
            countries += offers.countries + made.countries
            if len(texts) >= EMBEDDED_TOGETHER:
                teacher.embed(texts, countries, progress)
                texts, countries = [], []
    if texts:
        teacher.embed(texts, countries, progress)


def _read_shards(teacher: Teacher, sample: Path, settings: TeacherSettings) -> Iterator[Offers]:
    size = _offers_per_shard(teacher, settings)
    for batch in pq.ParquetFile(sample_file(sample)).iter_batches(size, columns=_columns(teacher)):
        yield offers_of(pa.Table.from_batches([batch]), teacher.encoder_settings.inputs)


def _columns(teacher: Teacher) -> list[str]:
    return [*COLUMNS, *(name for name in teacher.encoder_settings.inputs if name not in COLUMNS)]


def top_classes(log_probabilities: Floats, top_k: int) -> Answers:
    """Of each offer the best classes, best first (ties: the lower class), their log probabilities, the others' mass."""
    k = min(top_k, log_probabilities.shape[1])
    index = np.argsort(-log_probabilities, axis=1, kind="stable")[:, :k]
    logit = np.take_along_axis(log_probabilities, index, axis=1)
    inside = np.exp(logit.astype(np.float64)).sum(1)
    return index, logit, np.clip(1.0 - inside, 0.0, 1.0).astype(np.float32)


def _transfer_table(shard: Shard) -> pa.Table:
    titles = shard.titles
    sources = np.array(titles.sources, dtype=np.uint64).reshape(-1, len(SOURCES))
    texts = [pa.array(titles.texts, pa.string()), pa.array(titles.countries, pa.string())]
    first = [*texts, *(pa.array(column) for column in sources.T)]
    return _as_table(TRANSFER_SCHEMA, first, *shard.title_answers)


def _as_table(schema: pa.Schema, first: list[pa.Array], index: Ints, logit: Floats, outside: Floats) -> pa.Table:
    """first: the columns before the answers."""
    count, k = index.shape
    starts = pa.array(np.arange(0, count * k + 1, k, dtype=np.int32))
    columns = [
        *first,
        pa.ListArray.from_arrays(starts, pa.array(index.astype(np.int32).ravel())),
        pa.ListArray.from_arrays(starts, pa.array(logit.ravel(), pa.float32())),
        pa.array(outside, pa.float32()),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
