"""What the API answers: one model for each object, and how it is made of what is stored.

Times are ISO 8601 with their zone. A field that may be left out has a default here; all others are always there.
"""

from runbooks_app.web.api.answers.base import Actor, Answer, Me
from runbooks_app.web.api.answers.incidents import Incident, Incidents, Note, Notes, Postmortem, Prose, WholeIncident
from runbooks_app.web.api.answers.library import (
    BrokenRunbook,
    Connection,
    Connections,
    ConnectionTest,
    Floor,
    Gate,
    GateInput,
    Runbook,
    Runbooks,
)
from runbooks_app.web.api.answers.proposals import Check, Decision, Policy, Proposal, Proposals, WholeProposal
from runbooks_app.web.api.answers.runs import (
    Ask,
    AskedRun,
    Asks,
    Attempt,
    Cell,
    Finding,
    Run,
    Runs,
    Waiting,
    WholeRun,
    WholeText,
)
from runbooks_app.web.api.answers.trail import Entries, Entry, Head, Verified, WholeEntry

__all__ = [
    "Actor",
    "Answer",
    "Ask",
    "AskedRun",
    "Asks",
    "Attempt",
    "BrokenRunbook",
    "Cell",
    "Check",
    "Connection",
    "ConnectionTest",
    "Connections",
    "Decision",
    "Entries",
    "Entry",
    "Finding",
    "Floor",
    "Gate",
    "GateInput",
    "Head",
    "Incident",
    "Incidents",
    "Me",
    "Note",
    "Notes",
    "Policy",
    "Postmortem",
    "Proposal",
    "Proposals",
    "Prose",
    "Run",
    "Runbook",
    "Runbooks",
    "Runs",
    "Verified",
    "Waiting",
    "WholeEntry",
    "WholeIncident",
    "WholeProposal",
    "WholeRun",
    "WholeText",
]
