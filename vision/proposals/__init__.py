"""Proposals: boxes that may hold an object of any class, before a classifier looks at them."""

from vision.proposals import baselines, edge_boxes, files, rpn_objectness, selective_search
from vision.proposals.attach import WithProposals
from vision.proposals.cache import CachedProposer
from vision.proposals.method import METHODS, Method, ProposalOptions, Proposer, build_proposer, method

__all__ = [
    "METHODS",
    "CachedProposer",
    "Method",
    "ProposalOptions",
    "Proposer",
    "WithProposals",
    "baselines",
    "build_proposer",
    "edge_boxes",
    "files",
    "method",
    "rpn_objectness",
    "selective_search",
]
