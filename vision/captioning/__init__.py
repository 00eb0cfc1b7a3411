"""Captioning: models that describe an image in a sentence, their metrics, and the task."""

from vision.captioning import task
from vision.captioning.attention_decoder import AttentionDecoder
from vision.captioning.captioner import Captioner
from vision.captioning.encoder import Encoder, ImageVector
from vision.captioning.hard_attention import HardAttention
from vision.captioning.show_and_tell import ShowAndTell
from vision.captioning.show_attend_tell import SoftAttention

__all__ = [
    "AttentionDecoder",
    "Captioner",
    "Encoder",
    "HardAttention",
    "ImageVector",
    "ShowAndTell",
    "SoftAttention",
    "task",
]
