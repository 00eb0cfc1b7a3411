"""Sequences: recurrent networks over characters and words."""

from vision.sequence import language_task, translation_task
from vision.sequence.beam_search import beam_search
from vision.sequence.char_rnn import CharRNN
from vision.sequence.padding import pad_batch, sequence_cross_entropy
from vision.sequence.seq2seq import Seq2Seq
from vision.sequence.vocabulary import Vocabulary, tokenise

__all__ = [
    "CharRNN",
    "Seq2Seq",
    "Vocabulary",
    "beam_search",
    "language_task",
    "pad_batch",
    "sequence_cross_entropy",
    "tokenise",
    "translation_task",
]
