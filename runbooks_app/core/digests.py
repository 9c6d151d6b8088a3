"""Digests: what a decision binds to, and how a runbook's exact text is known again.

Every digest is SHA-256 over canonical JSON (RFC 8785) of an object whose `kind` says what it is a digest of
and in which form, so that no two sorts of objects can share one. Outputs of cells are never part of one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import rfc8785

from runbooks_app.core.errors import InvalidInput
from runbooks_app.core.runbook import Runbook


def digest(kind: str, body: Mapping[str, Any]) -> str:
    """Lower-case hex SHA-256 of the object with its kind; raises `InvalidInput` for what JSON cannot hold."""
    return hashlib.sha256(canonical({**body, "kind": kind})).hexdigest()


def canonical(value: Any) -> bytes:
    """RFC 8785 form; raises `InvalidInput` for integers from 2**53, NaN, half characters and foreign types."""
    try:
        return rfc8785.dumps(value)
    except (ValueError, RecursionError) as error:  # CanonicalizationError and UnicodeEncodeError are ValueErrors
        raise InvalidInput(f"This has no canonical JSON form: {type(error).__name__}.") from error


def runbook_digest(runbook: Runbook, modules: str, environment: str) -> str:
    """Digest of a runbook: cells with ids and tags, parameters, policy, what it imports and runs in.

    `modules` and `environment` are the digests of the library's modules and of the kernel's environment.
    """
    return digest(
        "runbook/1",
        {
            "id": runbook.id,
            "title": runbook.title,
            "cells": [
                {
                    "id": cell.id,
                    "stage": str(cell.stage),
                    "tags": list(cell.tags),
                    "source": cell.source,
                    "timeout": cell.timeout,
                }
                for cell in runbook.cells
            ],
            "parameters": [
                {
                    "name": parameter.name,
                    "type": str(parameter.type),
                    "default": parameter.default,
                    "limits": parameter.limits,
                }
                for parameter in runbook.parameters
            ],
            "policy": [
                {
                    "cell": section.cell.id,
                    "gate": section.gate.name,
                    "risk": str(section.gate.risk),
                    "approvals": section.gate.approvals,
                    "approvers": list(section.gate.approvers),
                    "expires": section.gate.expires,
                    "recheck": section.gate.recheck,
                    "informative": list(section.gate.informative),
                }
                for section in runbook.sections
            ],
            "connections": dict(runbook.connections),
            "limits": dict(runbook.limits),
            "modules": modules,
            "environment": environment,
        },
    )


def source_digest(source: str) -> str:
    """Digest of one cell's source as written."""
    return digest("source/1", {"source": source})


def modules_digest(files: Mapping[str, bytes]) -> str:
    """Digest of the modules that runbooks may import: contents by path within the library."""
    hashes = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    return digest("modules/1", {"modules": hashes})


def environment_digest(python: str, distributions: Iterable[tuple[str, str]]) -> str:
    """Digest of a kernel's environment: Python's version, names and versions of what is installed."""
    return digest("environment/1", {"python": python, "installed": sorted({f"{n}=={v}" for n, v in distributions})})


def parameters_digest(values: Mapping[str, Any]) -> str:
    """Digest of a run's validated parameter values."""
    return digest("parameters/1", {"values": dict(values)})


def evidence_digest(findings: Sequence[Mapping[str, Any]]) -> str:
    """Digest of the evidence seen when something was proposed: findings in their JSON form, in order."""
    return digest("evidence/1", {"findings": [dict(finding) for finding in findings]})


def proposal_digest(
    proposal_id: str,
    run_id: str,
    parameters_digest: str,
    cell_id: str,
    source_digest: str,
    inputs: Mapping[str, Any],
    connections: Sequence[Mapping[str, str]],
    evidence_digest: str,
    runbook_digest: str,
    policy: Mapping[str, Any],
) -> str:
    """What a decision binds to: this one proposal, so that no decision serves another that looks the same.

    The parameters count by themselves: the cell reads them as it reads its inputs.
    `connections` are those that the cell opens, in order, each with the role of the credential that it will
    hold: `{"connection": "orders-db", "role": "orders_operator"}`. `policy` is its JSON form as it stood.
    """
    return digest(
        "proposal/1",
        {
            "proposal": proposal_id,
            "run": run_id,
            "parameters": parameters_digest,
            "cell": cell_id,
            "source": source_digest,
            "inputs": dict(inputs),
            "connections": [dict(connection) for connection in connections],
            "evidence": evidence_digest,
            "runbook": runbook_digest,
            "policy": dict(policy),
        },
    )


def decision_nonce(proposal_digest: str, decision: str) -> str:
    """The nonce of a signed decision: the provider's id_token then speaks of this proposal and this answer."""
    return digest("decision/1", {"proposal": proposal_digest, "decision": decision})


MOST_TOGETHER = 20
"""Proposals that one signature may speak of at most: more than that nobody has looked at."""


def batch_nonce(proposal_digests: Sequence[str], decision: str) -> str:
    """The nonce of one signature under the same answer to several proposals: it commits to each of them, in any order.

    As it is a digest of another kind, none for several serves as one for a single proposal.
    """
    return digest("decisions/1", {"proposals": sorted(proposal_digests), "decision": decision})
