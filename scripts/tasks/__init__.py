"""What the scripts need to know of each task, and only there: a new task is one more file here and entry in TASKS.

A model's task is the word it is registered with in `vision`; train, evaluate and predict take the rest from here.
"""

from scripts.tasks.captioning import CAPTIONING
from scripts.tasks.classification import CLASSIFICATION
from scripts.tasks.detection import DETECTION
from scripts.tasks.language import LANGUAGE
from scripts.tasks.segmentation import SEGMENTATION
from scripts.tasks.task import Task, shown
from scripts.tasks.translation import TRANSLATION
from scripts.tasks.vqa import VQA

__all__ = [
    "CAPTIONING",
    "CLASSIFICATION",
    "DETECTION",
    "LANGUAGE",
    "SEGMENTATION",
    "TASKS",
    "TRANSLATION",
    "VQA",
    "Task",
    "shown",
]

TASKS = {
    "detection": DETECTION,
    "classification": CLASSIFICATION,
    "language": LANGUAGE,
    "captioning": CAPTIONING,
    "translation": TRANSLATION,
    "vqa": VQA,
    "segmentation": SEGMENTATION,
}
