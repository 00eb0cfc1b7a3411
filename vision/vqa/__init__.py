"""Visual question answering: one of a list of answers to a question about an image."""

from vision.vqa import task
from vision.vqa.stacked_attention import StackedAttention, StackedAttentionVQA

__all__ = ["StackedAttention", "StackedAttentionVQA", "task"]
