"""What the bench compares: its arms, what each is expected to cost, and the order in which a budget is spent."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from sortiment.errors import SettingsError
from sortiment.evaluation import KINDS
from sortiment.fast import passes_for
from sortiment.settings import FastSettings, Settings, StudentSettings, TeacherSettings
from sortiment.student import epochs_for

Probe = Literal["unknown", "behaviour"]
Model = Literal["teacher", "student", "fast", "tfidf", "fasttext"]
MODELS: tuple[Model, ...] = get_args(Model)
BASELINES = ("tfidf", "fasttext")

EMBEDDED_PER_S = 90.0  # offers per second and core; the rest of this table is of the same kind
FAST_SOLVED_PER_S, FAST_READ_PER_S = 400_000.0, 4_000.0
STUDENT_PER_S = {3: 160.0, 6: 80.0, 12: 40.0}
TUNED_PER_S = {"top": 200.0, "lora": 40.0, "full": 30.0}  # 12 layers, of which 2 at the top
STUDENT_SCORED_PER_S = {3: 500.0, 6: 250.0, 12: 125.0}
SVM_FITS_PER_S, FASTTEXT_WORDS_PER_S = 150_000.0, 40_000_000.0
START_S = 5.0
TRANSFER_LENGTH = 0.5  # of a made-up title, in titles


@dataclass(frozen=True)
class Arm:
    """One model. layers: of the student. distilled: False = from hard labels alone; None where that says nothing."""

    model: Model
    layers: int | None = None
    distilled: bool | None = None

    @property
    def name(self) -> str:
        words = [self.model, f"{self.layers} layers" if self.layers else "", "hard labels" if self.hard else ""]
        return ", ".join(word for word in words if word)

    @property
    def hard(self) -> bool:
        return self.distilled is False

    @property
    def needs_teacher(self) -> bool:
        return self.taught or self.model == "teacher"

    @property
    def taught(self) -> bool:
        """Whether it learns from the teacher's labels."""
        return self.distilled is True

    def student_settings(self, settings: StudentSettings) -> StudentSettings:
        """The MiniLM student's: one that learns from labels alone is not aligned with the teacher's encoder either."""
        return settings.model_copy(update={"layers": self.layers} | ({"alignment": 0.0} if self.hard else {}))

    def fast_settings(self, settings: FastSettings) -> FastSettings:
        """The fast student's, as for MiniLM."""
        return settings.model_copy(update={"alignment": 0.0}) if self.hard else settings


@dataclass(frozen=True)
class Task:
    """One row to be computed. feed: its name. hidden: the country without labels. probe: what else is asked of the
    model: to know what it never learned, or to stay with its answer when a title is written otherwise."""

    feed: str
    seed: int
    labels_per_class: int | None
    arm: Arm
    hidden: str | None = None
    probe: Probe | None = None


@dataclass(frozen=True)
class Size:
    """What a task's time follows from: offers of each kind, and classes."""

    train: int
    unlabelled: int
    validation: int
    test: int
    classes: int


def choose_arms(models: Sequence[str], layers: Sequence[int], hard_labels: bool = True) -> list[Arm]:
    """Arms from cheap to expensive. hard_labels: each student once more, from labels alone.

    Raises SettingsError for a model that the bench does not have.
    """
    unknown = [model for model in models if model not in MODELS]
    if unknown:
        raise SettingsError("the bench has no such model", value=unknown, allowed=", ".join(MODELS))
    wrong = [count for count in layers if count not in STUDENT_PER_S]
    if wrong:
        raise SettingsError("a student has no such number of layers", value=wrong, allowed="3, 6, 12")
    arms: list[Arm] = []
    if "teacher" in models:
        arms.append(Arm("teacher"))
    if "tfidf" in models:
        arms.append(Arm("tfidf"))
    ways = (True, False) if hard_labels else (True,)
    if "fast" in models:
        arms += [Arm("fast", distilled=distilled) for distilled in ways]
    if "fasttext" in models:
        arms.append(Arm("fasttext"))
    if "student" in models:
        arms += [Arm("student", count, distilled) for distilled in ways for count in sorted(set(layers))]
    return arms


def order_tasks(
    feeds: Mapping[str, str | None], seeds: Sequence[int], regimes: Sequence[int | None], arms: Sequence[Arm]
) -> list[Task]:
    """feeds: name to hidden country.

    Cheap arms of all splits first, then the students: distilled before hard, all labels before few, seed by seed.
    """

    def tasks(some: Iterable[Arm]) -> list[Task]:
        chosen = list(some)
        return [
            Task(feed, seed, labels, arm, hidden)
            for seed in seeds
            for labels in regimes
            for feed, hidden in feeds.items()
            for arm in chosen
        ]

    cheap = tasks(arm for arm in arms if arm.model != "student")
    for arm in (arm for arm in arms if arm.model == "student"):
        cheap += [Task(feed, seeds[0], regimes[0], arm, hidden) for feed, hidden in feeds.items()]
    for labels in regimes:
        for seed in seeds:
            for arm in (arm for arm in arms if arm.model == "student"):
                cheap += [Task(feed, seed, labels, arm, hidden) for feed, hidden in feeds.items()]
    return list(dict.fromkeys(cheap))


def expect_teacher_seconds(size: Size, settings: TeacherSettings) -> float:
    """A rough forecast, for one core, of a split's teacher and its labels."""
    offers = size.train + size.unlabelled + size.validation + size.test
    embedded = offers + TRANSFER_LENGTH * _transfer_titles(size, settings)
    seconds = START_S + embedded / EMBEDDED_PER_S + 3e-11 * min(size.train, 10_000) ** 3
    return seconds + _tuning_seconds(size.train, settings)


def expect_seconds(task: Task, size: Size, settings: Settings) -> float:
    """The same of a row whose teacher, if it needs one, is there; a run corrects it by what its own arms took.

    The teacher embeds each title that is written otherwise; what the others answer about these takes no time.
    """
    arm, labelled = task.arm, size.train
    everything = size.train + size.unlabelled
    if arm.model == "teacher":
        rewritten = min(size.test, settings.evaluation.behaviour_offers) if task.probe == "behaviour" else 0
        return START_S + rewritten * len(KINDS) / EMBEDDED_PER_S
    if arm.model == "tfidf":
        return START_S + 4 * labelled * size.classes / SVM_FITS_PER_S
    if arm.model == "fasttext":
        return START_S + 100 * 8 * labelled * (size.classes + 50) * 2 / FASTTEXT_WORDS_PER_S
    learned = everything if arm.taught else labelled
    titles = _transfer_titles(size, settings.teacher) if arm.taught else 0
    if arm.model == "fast":
        read = learned + titles if settings.fast.width else 0
        taught = passes_for(read, settings.fast) * read / FAST_READ_PER_S
        return START_S + learned * size.classes / FAST_SOLVED_PER_S + taught
    assert arm.layers is not None
    learned += titles
    teaching = 1.25 * epochs_for(learned, settings.student) * learned / STUDENT_PER_S[arm.layers]
    return 2 * START_S + teaching + (size.test + size.validation) / STUDENT_SCORED_PER_S[arm.layers]


def _transfer_titles(size: Size, teacher: TeacherSettings) -> int:
    """At most."""
    return min(teacher.transfer_titles, teacher.most_transfer_titles * (size.train + size.unlabelled))


def _tuning_seconds(labelled: int, teacher: TeacherSettings) -> float:
    """Of an encoder that is tuned once on all offers and once without each fold, whose offers it then embeds."""
    if teacher.fine_tuning == "none":
        return 0.0
    folds = teacher.tuning.folds
    taught = folds * labelled * teacher.tuning.epochs / TUNED_PER_S[teacher.fine_tuning]
    return taught + (folds + 1) * labelled / EMBEDDED_PER_S
