"""Running the student over many offers: length-sorted batches, results in the order of the rows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import BertForSequenceClassification

from sortiment.errors import TrainingError
from sortiment.settings import StudentSettings
from sortiment.student.tokens import Tokens, sorted_batches

SCORING_BATCH = 64
Forward = Callable[[BertForSequenceClassification, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Hardware:
    """What a student is trained on. bf16: whether matrices are multiplied in it."""

    device: str
    bf16: bool


def map_rows(
    student: BertForSequenceClassification,
    tokens: Tokens,
    rows: npt.NDArray[np.int64],
    forward: Forward,
    bf16: bool,
    batch: int = SCORING_BATCH,
) -> npt.NDArray[np.float32]:
    """(rows, features): `forward` of every row, float32, on the student's device."""
    device = student.classifier.weight.device
    parts: list[npt.NDArray[np.float32]] = []
    order = sorted_batches(tokens.lengths[rows], batch)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        for chosen in order:
            ids, mask = tokens.pad(rows[chosen])
            out = forward(student, torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device))
            parts.append(out.float().cpu().numpy())
    if not parts:
        return np.zeros((0, 0), np.float32)
    result = np.empty((len(rows), parts[0].shape[1]), np.float32)
    result[np.concatenate(order)] = np.concatenate(parts)
    return result


def has_bf16(device: str) -> bool:
    """Whether bfloat16 is faster than float32 there: the hardware has it."""
    if device == "cuda":
        return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))


def choose_device(wanted: str) -> str:
    """`auto` is the GPU where there is one."""
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_hardware(settings: StudentSettings) -> Hardware:
    """What the settings ask for. Raises TrainingError for a GPU that is not there."""
    device = choose_device(settings.device)
    if device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("no GPU is available", value=settings.device, fix="set student.device to auto or cpu")
    bf16 = has_bf16(device) if settings.precision == "auto" else settings.precision == "bf16"
    return Hardware(device, bf16)
