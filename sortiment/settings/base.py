"""What all stages' settings share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class StageSettings(BaseModel):
    """What all stages' settings share: frozen, and a misspelled knob is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
