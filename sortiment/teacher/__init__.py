"""The teacher: experts over frozen embeddings and n-grams, in one calibrated sum, and the soft labels it gives.

Importing this is cheap: encoders, solvers and vectorizers are imported when they are first used.
"""

from sortiment.teacher.labelling import SOFT_LABELS_FILE, SOURCES, TRANSFER_FILE, LabelReport, label_samples
from sortiment.teacher.names import CategoryNames, names_of
from sortiment.teacher.report import TeacherReport
from sortiment.teacher.teacher import Teacher, load_teacher
from sortiment.teacher.training import train_teacher

CODE_VERSION = "11"

__all__ = [
    "CODE_VERSION",
    "SOFT_LABELS_FILE",
    "SOURCES",
    "TRANSFER_FILE",
    "CategoryNames",
    "LabelReport",
    "Teacher",
    "TeacherReport",
    "label_samples",
    "load_teacher",
    "names_of",
    "train_teacher",
]
