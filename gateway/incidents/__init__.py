"""Spam sources on record, with evidence, states and clocks (contract.md §4): one SQLite database a node.

``IncidentBook`` is the writing door: every change is one transaction that also appends to the hash chain.
``IncidentReader`` reads beside it. ``EvidenceStore`` keeps messages whole, ``verify`` proves that nothing of all this
was altered or removed. The schema is made for people to query; this folder's README has it.
"""

from gateway.incidents.book import Change, IncidentBook
from gateway.incidents.chain import Anchor
from gateway.incidents.reader import IncidentReader
from gateway.incidents.states import IllegalTransition
from gateway.incidents.values import (
    FoldOutcome,
    Incident,
    Resolution,
    Sighting,
    Source,
    SourceKind,
    State,
)

__all__ = [
    "Anchor",
    "Change",
    "FoldOutcome",
    "IllegalTransition",
    "Incident",
    "IncidentBook",
    "IncidentReader",
    "Resolution",
    "Sighting",
    "Source",
    "SourceKind",
    "State",
]
