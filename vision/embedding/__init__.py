"""Embeddings: photographs as vectors, near each other where the photographs are similar."""

from vision.embedding import task
from vision.embedding.dr_lim import DrLIM
from vision.embedding.embedder import Embedder, EmbeddingBatch
from vision.embedding.gallery import Found, search
from vision.embedding.siamese_one_shot import Siamese, siamese_one_shot, siamese_one_shot_small
from vision.embedding.triplet_net import TripletNetwork

__all__ = [
    "DrLIM",
    "Embedder",
    "EmbeddingBatch",
    "Found",
    "Siamese",
    "TripletNetwork",
    "search",
    "siamese_one_shot",
    "siamese_one_shot_small",
    "task",
]
