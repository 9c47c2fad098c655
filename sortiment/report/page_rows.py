"""What the page and the terminal derive from a report's numbers: key figures, score tables, what drift touched."""

from dataclasses import dataclass

from sortiment.report.engine_figures import basis_of
from sortiment.report.numbers import count_text, duration_text, gap_text, number_text, score_text, share_text
from sortiment.report.page_figures import choice_name
from sortiment.report.rows import BehaviourRow, CategoryCount, DriftDecision, SpeedRow
from sortiment.report.schema import Dimension, NotDone, Report
from sortiment.report.style import short_number, short_text, short_usd

SECTIONS = {
    "data": "The data",
    "quarantine": "Quarantine",
    "sampling": "The sample",
    "scores": "Scores",
    "training": "Training and calibration",
    "confusions": "Confusions that cost most",
    "behaviour": "Behaviour under other spellings",
    "ranking": "Encoder ranking",
    "speed": "Speed by engine",
    "cost": "Cost by instance",
    "drift": "Drift",
    "releases": "Release log",
    "not_done": "Not done on this machine",
    "repeat": "How to repeat this",
}
NOTHING_RECORDED = "This run recorded nothing here."


@dataclass(frozen=True)
class Card:
    """One key figure. `tone`: good, bad, plain, absent."""

    label: str
    value: str
    note: str
    tone: str = "plain"


@dataclass(frozen=True)
class ScoreCell:
    macro_f1: float | None
    low: float | None
    high: float | None
    accuracy: float | None


@dataclass(frozen=True)
class ScoreTableRow:
    """One country, department, slice or feed; a cell per model; the student's share of the teacher's macro-F1."""

    name: str
    offers: float | None
    cells: tuple[ScoreCell, ...]
    share_of_teacher: float | None


@dataclass(frozen=True)
class BehaviourTableRow:
    """One kind of change: titles that it changed, and a row per model in the order of `report.behaviour`."""

    kind: str
    offers: int
    limit: float | None
    models: tuple[BehaviourRow, ...]


@dataclass(frozen=True)
class Touched:
    """Which partitions were re-labelled: as the decisions asked, without being asked, and which were left alone."""

    relabelled: tuple[str, ...]
    unasked: tuple[str, ...]
    missed: tuple[str, ...]
    left_alone: tuple[str, ...]


def explain_absence(report: Report, section: str) -> NotDone:
    """Why a section is empty: what the report says about it, else that nothing was recorded."""
    for entry in report.not_done:
        if entry.section == section:
            return entry
    return NotDone(what=SECTIONS.get(section, section), why=NOTHING_RECORDED, section=section)


def machine_text(report: Report) -> str:
    """Processor, cores and memory, whichever of `cpu`, `cores`, `memory_gb` the report has."""
    machine = report.machine
    parts = [str(machine["cpu"])] if machine.get("cpu") else []
    if machine.get("cores"):
        parts.append(f"{machine['cores']} cores")
    if isinstance(machine.get("memory_gb"), int | float):
        parts.append(f"{number_text(machine['memory_gb'])} GB")
    return ", ".join(parts)


def key_figures(report: Report) -> list[Card]:
    """The cards on top of the page, always the same ones; what was not done says so."""
    return [
        _offers_card(report),
        _model_card(report, "student"),
        _model_card(report, "int8"),
        _speed_card(report),
        _cost_card(report),
        _drift_card(report),
        _champion_card(report),
        _time_card(report),
    ]


def _absent(report: Report, label: str, section: str) -> Card:
    return Card(label, "not done", explain_absence(report, section).why, "absent")


def _offers_card(report: Report) -> Card:
    market, quarantine = report.market, report.quarantine
    parts = [f"{count_text(market.unlabelled)} unlabelled"]
    if quarantine is not None:
        parts.append(f"{count_text(quarantine.rows)} in quarantine")
    return Card("Offers loaded", count_text(market.offers), ", ".join(parts))


def reference_of(model: str) -> str:
    """What a model's score is compared with: the model that it was made from."""
    return "student" if model == "int8" else "teacher"


def _model_card(report: Report, model: str) -> Card:
    reference = reference_of(model)
    label = {"student": "Student macro-F1", "int8": "int8 macro-F1"}[model]
    value = overall(report, model)
    if value is None:
        return _absent(report, label, "scores")
    against = overall(report, reference)
    if against is None:
        return Card(label, score_text(value), "on the test split")
    if model == "student" and against > 0:
        return Card(label, score_text(value), f"{share_text(value / against)} of the teacher's {score_text(against)}")
    return Card(label, score_text(value), f"{gap_text(value - against)} against the {reference}")


def overall(report: Report, model: str) -> float | None:
    """A model's macro-F1 on the whole test split."""
    return report.scores[model].macro_f1.overall if model in report.scores else None


def fastest_engine(report: Report) -> SpeedRow | None:
    """The fastest engine that was measured here."""
    timed = [row for row in report.speed if row.offers_per_s and basis_of(row.source) == "measured"]
    return max(timed, key=lambda row: row.offers_per_s or 0.0, default=None)


def _speed_card(report: Report) -> Card:
    best = fastest_engine(report)
    if best is None or best.offers_per_s is None:
        return _absent(report, "Fastest engine", "speed")
    note = best.engine
    if best.ratio_to_naive:
        note += f", {short_number(best.ratio_to_naive)}× the naive baseline"
    return Card("Offers per second, measured", number_text(best.offers_per_s), note)


def _cost_card(report: Report) -> Card:
    choice = report.cost.choice if report.cost else None
    if choice is None or choice.usd_per_million is None:
        return _absent(report, "Cost per million offers", "cost")
    basis = f", {choice.basis}" if choice.basis else ""
    return Card("Cost per million offers", short_usd(choice.usd_per_million), f"{choice_name(choice)}{basis}")


def _drift_card(report: Report) -> Card:
    drift = report.drift
    if drift is None or drift.recovered_share is None:
        return _absent(report, "Drift won back", "drift")
    course = f"{score_text(drift.before)} → {score_text(drift.drifted)} → {score_text(drift.after)}"
    note = f"{short_text(drift.partition or '', 44)}: {course}"
    return Card("Drift won back", share_text(drift.recovered_share), note)


def _champion_card(report: Report) -> Card:
    champion = report.champion
    if champion is None:
        why = "No release passed its gates." if report.releases else explain_absence(report, "releases").why
        return Card("Champion", "none", why, "absent")
    number = f"Release {champion.number}" if champion.number is not None else "Released"
    refused = sum(row.action == "refused" for row in report.releases)
    return Card(
        "Champion",
        number,
        champion.version[:8]
        + (f", {refused} other {'candidate' if refused == 1 else 'candidates'} refused" if refused else ""),
    )


def _time_card(report: Report) -> Card:
    seconds = report.seconds
    if seconds.total is None:
        return _absent(report, "Whole run", "seconds")
    timed = {stage: value for stage, value in seconds.stages.items() if value is not None}
    slowest = max(timed, key=lambda stage: timed[stage], default=None)
    note = f"longest: {slowest}, {duration_text(timed[slowest])}" if slowest else ""
    return Card("Whole run", duration_text(seconds.total), note)


def score_table(report: Report, dimension: Dimension) -> list[ScoreTableRow]:
    """One row per key of a dimension: departments from the lowest student score up, others in the report's order."""
    keys: dict[str, None] = {}
    for scores in report.scores.values():
        keys.update(dict.fromkeys(getattr(scores.macro_f1, dimension)))
    rows = [_score_row(report, dimension, key) for key in keys]
    if dimension == "by_department":
        rows.sort(key=lambda row: min((cell.macro_f1 for cell in row.cells if cell.macro_f1 is not None), default=2.0))
    return rows


def _score_row(report: Report, dimension: Dimension, key: str) -> ScoreTableRow:
    cells, offers, by_model = [], None, {}
    for model, scores in report.scores.items():
        value = getattr(scores.macro_f1, dimension).get(key)
        low, high = getattr(scores.interval, dimension).get(key, (None, None))
        cells.append(ScoreCell(value, low, high, getattr(scores.accuracy, dimension).get(key)))
        offers = offers if offers is not None else getattr(scores.offers, dimension).get(key)
        by_model[model] = value
    return ScoreTableRow(key, offers, tuple(cells), _share(by_model.get("student"), by_model.get("teacher")))


def behaviour_table(report: Report) -> list[BehaviourTableRow]:
    """One row per kind of change, kinds in the report's order."""
    kinds = dict.fromkeys(row.kind for row in report.behaviour)
    rows = []
    for kind in kinds:
        own = tuple(row for row in report.behaviour if row.kind == kind)
        rows.append(BehaviourTableRow(kind, max(row.offers for row in own), own[0].limit, own))
    return rows


def overall_row(report: Report) -> ScoreTableRow:
    """All test offers together."""
    cells = []
    for scores in report.scores.values():
        low, high = scores.interval.overall or (None, None)
        cells.append(ScoreCell(scores.macro_f1.overall, low, high, scores.accuracy.overall))
    offers = next((one.offers.overall for one in report.scores.values() if one.offers.overall is not None), None)
    return ScoreTableRow("all", offers, tuple(cells), _share(overall(report, "student"), overall(report, "teacher")))


def _share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def largest_and_smallest(report: Report, count: int = 6) -> tuple[list[CategoryCount], list[CategoryCount]]:
    """The categories with most and with fewest offers."""
    rows = sorted(report.imbalance, key=lambda row: (-row.offers, row.category_id))
    return rows[:count], rows[max(count, len(rows) - count) :]


def imbalance_facts(report: Report) -> list[str]:
    """Sentences on the imbalance, computed from the category counts."""
    counts = sorted((row.offers for row in report.imbalance if row.offers > 0), reverse=True)
    if not counts:
        return []
    total, top = sum(counts), max(1, round(len(counts) / 10))
    ratio = short_number(counts[0] / counts[-1])
    facts = [
        f"{len(counts):,} categories have offers; the largest holds {ratio} times as many as the smallest.",
        f"The largest tenth of the categories holds {share_text(sum(counts[:top]) / total)} of all labelled offers.",
    ]
    few = sum(1 for count in counts if count < 10)
    if few:
        single = counts.count(1)
        facts.append(f"{few:,} have fewer than 10 offers" + (f", {single:,} of them only one." if single else "."))
    return facts


def touched_partitions(report: Report) -> Touched:
    """Compare what drift decided with what was re-labelled."""
    drift = report.drift
    if drift is None:
        return Touched((), (), (), ())
    relabelled = set(drift.partitions_relabelled)
    asked = {row.partition for row in drift.decisions if row.drifted}
    asked |= {drift.partition} if drift.partition else set()
    judged = {row.partition for row in drift.decisions}
    return Touched(
        tuple(sorted(relabelled)),
        tuple(sorted(relabelled - asked)),
        tuple(sorted(asked - relabelled)),
        tuple(sorted(judged - relabelled)),
    )


def decisions_by_score(report: Report) -> list[DriftDecision]:
    """Drifted partitions first, then by score."""
    decisions = report.drift.decisions if report.drift else ()
    return sorted(
        decisions, key=lambda row: (not row.drifted, -(row.score if row.score is not None else -1), row.partition)
    )
