"""Every knob, once: one frozen model per stage, its bounds and a line of description per field.

A market keeps its settings in `market.yaml` under the stage's name; what is not given there has the default here.
"""

from sortiment.settings.base import StageSettings
from sortiment.settings.data import FeedSettings, MarketSettings, SamplingSettings
from sortiment.settings.models import (
    EncoderSettings,
    FastSettings,
    RankingSettings,
    StudentSettings,
    TeacherSettings,
    TuningSettings,
)
from sortiment.settings.serving import (
    CostSettings,
    DriftSettings,
    EngineSettings,
    EvaluationSettings,
    PredictionSettings,
    ReleaseSettings,
)

__all__ = [
    "CostSettings",
    "DriftSettings",
    "EncoderSettings",
    "EngineSettings",
    "EvaluationSettings",
    "FastSettings",
    "FeedSettings",
    "MarketSettings",
    "PredictionSettings",
    "RankingSettings",
    "ReleaseSettings",
    "SamplingSettings",
    "Settings",
    "StageSettings",
    "StudentSettings",
    "TeacherSettings",
    "TuningSettings",
]


class Settings(StageSettings):
    """All stages' settings: the `settings:` part of a market file."""

    market: MarketSettings = MarketSettings()
    feeds: FeedSettings = FeedSettings()
    sampling: SamplingSettings = SamplingSettings()
    encoder: EncoderSettings = EncoderSettings()
    ranking: RankingSettings = RankingSettings()
    teacher: TeacherSettings = TeacherSettings()
    student: StudentSettings = StudentSettings()
    fast: FastSettings = FastSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    engines: EngineSettings = EngineSettings()
    cost: CostSettings = CostSettings()
    release: ReleaseSettings = ReleaseSettings()
    predictions: PredictionSettings = PredictionSettings()
    drift: DriftSettings = DriftSettings()
