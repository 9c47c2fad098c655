"""Tuning an encoder, as a recipe: deal, fit the head, teach, embed what was left out, write.

    OUT/.tuning/FINGERPRINT/fold-N/.training/     the state after the last whole epoch (`sortiment.student.resume`)
    OUT/.tuning/FINGERPRINT/fold-N/encoder/       the fold's encoder, until the offers are embedded with it
    OUT/.tuning/FINGERPRINT/fold-N.safetensors    these embeddings: the fold is done
    OUT/encoder/                                  the encoder that is kept

The fingerprint is that of everything the bytes depend on. Who called removes `.tuning` when the teacher is written.
"""

import json
import shutil
from collections.abc import Callable
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sortiment.artifacts import content_version
from sortiment.encoders import EncoderFolder, embed
from sortiment.encoders.references import FAMILY_FILE, describe_folder
from sortiment.errors import TrainingError
from sortiment.machine import count_cores
from sortiment.progress import Progress
from sortiment.settings import EncoderSettings, TeacherSettings
from sortiment.student.directory import copy_tokenizer, write_json
from sortiment.student.epochs import EpochLesson, Plan, collect_optimizers, run_epochs
from sortiment.student.resume import EpochState, Resume
from sortiment.student.scoring import Hardware, choose_device, has_bf16
from sortiment.student.tokens import Tokens, load_tokenizer, tokenize
from sortiment.teacher.ridge import Floats, Ints
from sortiment.teacher.tuning import WORK, Tuned, TuningOffers
from sortiment.teacher.tuning.body import Body, body_opener
from sortiment.teacher.tuning.dealing import deal_folds
from sortiment.teacher.tuning.head import fit_head
from sortiment.teacher.tuning.lesson import ADVICE, Classifier, TuningLesson
from sortiment.teacher.tuning.loss import make_objective

ENCODER = "encoder"
CODE_VERSION = "1"  # raise it when the same offers would give another encoder


def run_tuning(
    encoder: EncoderFolder,
    encoder_settings: EncoderSettings,
    settings: TeacherSettings,
    offers: TuningOffers,
    out: Path,
    progress: Progress,
) -> Tuned:
    """See `sortiment.teacher.tuning.tune_encoder`."""
    torch.set_num_threads(count_cores())  # as for a student: same cores, same bytes
    device = choose_device("auto")
    precision = encoder_settings.precision
    hardware = Hardware(device, has_bf16(device) if precision == "auto" else precision == "bf16")
    fold = deal_folds(offers.texts, offers.labels, settings.tuning.folds, settings.seed)
    fingerprint = _fingerprint(encoder, encoder_settings, settings, offers)
    work = out / WORK / fingerprint
    work.mkdir(parents=True, exist_ok=True)
    tokens = tokenize(load_tokenizer(encoder.path, encoder_settings.max_tokens), offers.texts, pad_id=0)
    school = _School(encoder, encoder_settings, settings, offers, tokens, hardware, progress)
    features = []
    for number in range(settings.tuning.folds):
        file = work / f"fold-{number}.safetensors"
        if not file.is_file():
            folder = work / f"fold-{number}"
            school.teach(np.flatnonzero(fold != number), folder, fingerprint, f"without part {number + 1}")
            school.embed_with(folder / ENCODER, file)
            shutil.rmtree(folder)
        features.append(_read_features(file))
    if _fingerprint_in(out / ENCODER) != fingerprint:
        school.teach(np.arange(len(fold)), work / "all", fingerprint, "on all offers")
        shutil.rmtree(out / ENCODER, ignore_errors=True)
        (work / "all" / ENCODER).rename(out / ENCODER)
    facts = json.loads((out / ENCODER / FAMILY_FILE).read_text(encoding="utf-8"))
    return Tuned(
        encoder=describe_folder(f"{encoder.reference}, fine-tuned", out / ENCODER, encoder.cache),
        fold=fold,
        features=[part for part, _ in features],
        names=[part for _, part in features],
        facts={name: facts[name] for name in ("fine_tuning", "losses")},
    )


class _School:
    """What the lessons of all folds share."""

    def __init__(
        self,
        encoder: EncoderFolder,
        encoder_settings: EncoderSettings,
        settings: TeacherSettings,
        offers: TuningOffers,
        tokens: Tokens,
        hardware: Hardware,
        progress: Progress,
    ) -> None:
        self.encoder, self.encoder_settings, self.settings = encoder, encoder_settings, settings
        self.offers, self.tokens, self.hardware, self.progress = offers, tokens, hardware, progress

    @cached_property
    def open_body(self) -> Callable[[], Body]:
        with self.progress("compute what the frozen layers say", total=len(self.offers.texts)) as step:
            return body_opener(self.encoder, self.settings, self.tokens, self.hardware, step)

    def teach(self, rows: Ints, folder: Path, fingerprint: str, which: str) -> None:
        """Tune a body on some rows and write it to folder/encoder; nothing where it is there."""
        if _fingerprint_in(folder / ENCODER) == fingerprint:
            return
        folder.mkdir(exist_ok=True)
        resume = Resume(folder, fingerprint)
        plan = self._plan(rows)
        tuning, device = self.settings.tuning, self.hardware.device
        offers = self.offers
        objective = make_objective(
            offers.labels, offers.weights, offers.classes, offers.departments, rows, tuning, device
        )
        head = fit_head(offers.vectors, rows, objective, offers.classes, tuning.head_decay, self.settings.seed, device)
        classifier = Classifier(self.open_body(), head)
        state = resume.load()
        losses = list(state.losses) if state else []
        first = state.epochs if state else 0
        if state:
            _put_back(classifier, state)

        def save(lesson: EpochLesson, epochs: int, loss: float) -> None:
            losses.append(round(loss, 6))
            moving = {name: weight.detach().cpu() for name, weight in classifier.learning.items()}
            optimizer = collect_optimizers(classifier, lesson.all_optimizers())
            resume.save(EpochState(epochs, losses, moving, optimizer))

        if first < plan.epochs:
            with self.progress(f"fine-tune {which}", total=len(rows) * (plan.epochs - first)) as step:
                restored = state.optimizer if state else None
                head_rate = tuning.learning_rate * tuning.head_rate_factor
                lesson = TuningLesson(classifier, self.tokens, objective, plan, head_rate, first, step, save, restored)
                run_epochs(lesson, self.hardware)
        _refuse_broken(classifier)
        self._write(classifier.body, folder, fingerprint, losses)
        resume.remove()

    def embed_with(self, encoder: Path, file: Path) -> None:
        """Offers and names as this encoder sees them, rounded as the cache of features rounds, to a file."""
        from safetensors.numpy import save_file

        own = describe_folder(f"{self.encoder.reference}, fine-tuned", encoder, encoder.parent / "cache")
        texts = [*self.offers.texts, *self.offers.names]
        vectors = embed(own, texts, self.encoder_settings, self.progress).astype(np.float16)
        split = len(self.offers.texts)
        building = file.with_name(f".{file.name}.building")
        save_file({"offers": vectors[:split], "names": vectors[split:]}, building)
        building.replace(file)

    def _plan(self, rows: Ints) -> Plan:
        tuning = self.settings.tuning
        factors = {"lora": tuning.lora_rate_factor, "full": tuning.full_rate_factor}
        rate = tuning.learning_rate * factors.get(self.settings.fine_tuning, 1.0)
        return Plan(
            rows=rows,
            epochs=tuning.epochs,
            batch_offers=tuning.batch_offers,
            learning_rate=rate,
            embedding_learning_rate=rate,
            warmup_share=tuning.warmup_share,
            weight_decay=tuning.weight_decay,
            seed=self.settings.seed,
        )

    def _write(self, body: Body, folder: Path, fingerprint: str, losses: list[float]) -> None:
        """A Hugging Face directory: appears whole or not at all."""
        import safetensors.torch

        building = folder / f"{ENCODER}.building"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        model = body.finish()
        copy_tokenizer(self.encoder.path, building, self.encoder_settings.max_tokens)
        config = json.loads((self.encoder.path / "config.json").read_text(encoding="utf-8"))
        write_json(building / "config.json", config | {"architectures": [type(model).__name__], "dtype": "float32"})
        weights = {name: weight.detach().cpu().contiguous() for name, weight in model.state_dict().items()}
        safetensors.torch.save_file(weights, building / "model.safetensors", metadata={"format": "pt"})
        (building / "model.safetensors").chmod(0o644)
        facts: dict[str, Any] = {
            "family": self.encoder.family,
            "source": f"{self.encoder.reference} {self.encoder.version}",
            "fine_tuning": self.settings.fine_tuning,
            "losses": losses,
            "fingerprint": fingerprint,
        }
        write_json(building / FAMILY_FILE, facts)
        building.rename(folder / ENCODER)


def _fingerprint(
    encoder: EncoderFolder, encoder_settings: EncoderSettings, settings: TeacherSettings, offers: TuningOffers
) -> str:
    """The hash of everything that the encoder's bytes depend on."""
    lora = settings.fine_tuning == "lora"
    return content_version(
        {
            "code": CODE_VERSION,
            "encoder": encoder.version,
            "reading": [encoder_settings.max_tokens, encoder_settings.precision, encoder_settings.engine],
            "settings": [settings.seed, settings.fine_tuning, settings.tuning.model_dump(mode="json")],
            "texts": [offers.texts, list(offers.names)],
            "labels": [offers.labels.tolist(), offers.weights.tolist(), offers.classes, offers.departments.tolist()],
            "packages": [torch.__version__, version("peft") if lora else None],
        }
    )


def _fingerprint_in(folder: Path) -> str | None:
    """Of the tuning that a finished encoder came from; None where there is none."""
    file = folder / FAMILY_FILE
    if not file.is_file():
        return None
    found: str | None = json.loads(file.read_text(encoding="utf-8")).get("fingerprint")
    return found


def _put_back(classifier: Classifier, state: EpochState) -> None:
    moving = classifier.learning
    with torch.no_grad():
        for name, weight in state.weights.items():
            moving[name].copy_(weight)


def _refuse_broken(classifier: Classifier) -> None:
    """Raises TrainingError where a weight is not a number: the last step's loss is taken before that step."""
    broken = [name for name, weight in classifier.learning.items() if not bool(torch.isfinite(weight).all())]
    if broken:
        raise TrainingError(
            "the encoder's weights are not numbers after fine-tuning",
            value=f"{len(broken)} tensors, for example {broken[0]}",
            fix=ADVICE,
        )


def _read_features(file: Path) -> tuple[Floats, Floats]:
    from safetensors.numpy import load_file

    arrays = load_file(file)
    return arrays["offers"].astype(np.float32), arrays["names"].astype(np.float32)
