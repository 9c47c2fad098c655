"""One training from its first epoch, or from where an earlier run was killed, to its end; saved after each epoch."""

from dataclasses import dataclass

from transformers import BertForSequenceClassification

from sortiment.progress import Progress
from sortiment.student.alignment import MAP, Alignment
from sortiment.student.augmentation import Augmentation
from sortiment.student.body import move_student
from sortiment.student.epochs import EpochLesson, Plan, collect_optimizers, run_epochs
from sortiment.student.lesson import Lesson
from sortiment.student.resume import EpochState, Resume
from sortiment.student.scoring import Hardware
from sortiment.student.stopping import Stopping
from sortiment.student.targets import Targets
from sortiment.student.tokens import Tokens


@dataclass(frozen=True)
class Course:
    """student: taught in place. tokens, targets: of all corpus rows. alignment, augmentation, stopping: where they are
    asked for."""

    student: BertForSequenceClassification
    tokens: Tokens
    targets: Targets
    plan: Plan
    temperature: float
    hardware: Hardware
    augmentation: Augmentation | None
    alignment: Alignment | None
    stopping: Stopping | None

    def teach(self, resume: Resume, state: EpochState | None, progress: Progress) -> list[float]:
        """Train, and give each epoch's mean loss. state: that of the run that was killed.

        The student ends with the last epoch's weights; with the best one's where epochs are judged.
        """
        losses = list(state.losses) if state else []
        if state:
            self._restore(state)
        first_epoch = len(losses)
        if first_epoch < self.plan.epochs and not self._is_over:
            self._run(resume, losses, state, progress)
        if self.stopping is not None:
            self.student.load_state_dict(self.stopping.best)
        return losses

    @property
    def _is_over(self) -> bool:
        return self.stopping is not None and self.stopping.is_over

    def _run(self, resume: Resume, losses: list[float], state: EpochState | None, progress: Progress) -> None:
        first_epoch, student = len(losses), self.student

        def end_epoch(lesson: EpochLesson, epochs: int, loss: float) -> None:
            losses.append(round(loss, 6))
            if self.stopping is not None:
                self.stopping.end_epoch(student.state_dict())
                lesson.trainer.should_stop = self.stopping.is_over
            resume.save(self._collect(lesson, epochs, losses))

        total = len(self.plan.rows) * (self.plan.epochs - first_epoch)
        with progress("distill the student", total=total) as step:
            lesson = Lesson(
                student,
                self.tokens,
                self.targets,
                self.plan,
                self.temperature,
                first_epoch,
                step,
                end_epoch,
                state.optimizer if state else None,
                self.augmentation,
                self.alignment,
            )
            run_epochs(lesson, self.hardware)
        move_student(student, self.hardware.device).train(False)

    def _collect(self, lesson: EpochLesson, epochs: int, losses: list[float]) -> EpochState:
        weights = self.student.state_dict()
        if self.alignment is not None:
            weights |= self.alignment.named_weights()
        optimizer = collect_optimizers(lesson.network, lesson.all_optimizers())
        stopping = self.stopping
        if stopping is None:
            return EpochState(epochs, losses, weights, optimizer)
        best = {} if stopping.best_epoch == epochs else stopping.best  # the same weights are not kept twice
        return EpochState(epochs, losses, weights, optimizer, stopping.macro_f1, best)

    def _restore(self, state: EpochState) -> None:
        own = {name: value for name, value in state.weights.items() if not name.startswith(MAP)}
        self.student.load_state_dict(own)
        if self.alignment is not None:
            self.alignment.restore(state.weights)
        if self.stopping is not None:
            self.stopping.macro_f1 = list(state.macro_f1)
            self.stopping.best = state.best or own
