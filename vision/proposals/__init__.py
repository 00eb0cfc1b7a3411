"""Proposals: boxes that may hold an object of any class, before a classifier looks at them."""

from vision.proposals import baselines, edge_boxes, rpn_objectness, selective_search
from vision.proposals.cache import CachedProposer
from vision.proposals.method import METHODS, Method, ProposalOptions, Proposer, build_proposer, method

__all__ = [
    "METHODS",
    "CachedProposer",
    "Method",
    "ProposalOptions",
    "Proposer",
    "baselines",
    "build_proposer",
    "edge_boxes",
    "method",
    "rpn_objectness",
    "selective_search",
]
