"""What the scripts need to know of each task, and only there: a new task is one more file here and entry in TASKS.

A model's task is the word it is registered with in `vision`; train, evaluate and predict take the rest from here.
"""

from scripts.tasks.classification import CLASSIFICATION
from scripts.tasks.detection import DETECTION
from scripts.tasks.task import Task, shown

__all__ = ["CLASSIFICATION", "DETECTION", "TASKS", "Task", "shown"]

TASKS = {"detection": DETECTION, "classification": CLASSIFICATION}
