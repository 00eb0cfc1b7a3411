"""Visual question answering: a question about an image in, one of a list of answers out."""

from vision.vqa import task
from vision.vqa.stacked_attention import StackedAttention, StackedAttentionVQA

__all__ = ["StackedAttention", "StackedAttentionVQA", "task"]
