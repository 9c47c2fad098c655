"""Accuracy and macro-F1 of class indices, for a report; evaluation has the full set with intervals."""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]


def accuracy_of(predicted: Ints, labels: Ints) -> float:
    """Share of equal entries; 0.0 where there are none."""
    return round(float((predicted == labels).mean()), 4) if len(labels) else 0.0


def macro_f1_of(predicted: Ints, labels: Ints) -> float:
    """Mean F1 over the classes that occur in the labels; 0.0 where there are none."""
    if not len(labels):
        return 0.0
    size = int(max(predicted.max(), labels.max())) + 1
    right = np.bincount(labels[predicted == labels], minlength=size)
    truly = np.bincount(labels, minlength=size)
    said = np.bincount(np.maximum(predicted, 0), weights=predicted >= 0, minlength=size)
    present = truly > 0
    return round(float((2 * right / np.maximum(truly + said, 1))[present].mean()), 4)
