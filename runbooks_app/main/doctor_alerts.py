"""What the alerts file wants of runbooks, connections and the catalogue, and cannot have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runbooks_app.actions.running import usable_by
from runbooks_app.alerting import Alerting, read_secrets
from runbooks_app.connections import Connection
from runbooks_app.core import parameters as params
from runbooks_app.core.alerts import PLACE, SERVICE, Rule, fill
from runbooks_app.core.errors import InvalidInput, Misconfigured, Problem, RunbooksError
from runbooks_app.core.people import ALERT
from runbooks_app.core.runbook import Runbook
from runbooks_app.core.wording import did_you_mean
from runbooks_app.library import Library

OPT_IN = 'Write diagnosers = ["responder", "alert"] below the connection, where alerts may diagnose it.'


def examine(alerting: Alerting, library: Library, connections: Mapping[str, Connection]) -> str:
    """What is taken, in a line. Raises `Misconfigured` with every rule that could run nothing, and why."""
    if not alerting.sources:
        return "none are taken"
    read_secrets(alerting)
    problems = tuple(faults(alerting, library, connections))
    if problems:
        raise Misconfigured("Rules of the alerts file cannot run what they name.", problems=problems)
    sources = ", ".join(f"{source.name} ({source.kind})" for source in alerting.sources.values())
    return f"taken from {sources}; {len(alerting.rules)} rules can run what they name"


def faults(alerting: Alerting, library: Library, connections: Mapping[str, Connection]) -> Iterator[Problem]:
    """What is wrong with rules that are well written: nobody finds out before an alert comes."""
    usable = usable_by(connections, (ALERT,))
    for rule in alerting.rules:
        where = f"rule {rule.name!r}"
        try:
            runbook = library.get(rule.runbook)
        except RunbooksError as error:
            yield Problem(where, error.message)
            continue
        for name in runbook.connections:
            if name not in usable:
                yield Problem(where, f"{runbook.name} opens {name}, which alerts may not diagnose.", OPT_IN)
        names = [parameter.name for parameter in runbook.parameters]
        for name in rule.parameters.keys() - set(names):
            yield Problem(where, f"{runbook.name} has no parameter {name}.", did_you_mean(name, names))
        for parameter in runbook.parameters:
            if parameter.required and parameter.name not in rule.parameters:
                mend = f'Write {parameter.name} = "{{labels.{parameter.name}}}" below its parameters.'
                yield Problem(where, f"{runbook.name} wants {parameter.name}, which the rule does not give.", mend)
        yield from _values(where, rule, runbook, alerting.catalogue, usable)


def _values(
    where: str, rule: Rule, runbook: Runbook, catalogue: Mapping[str, Mapping[str, object]], usable: dict[str, str]
) -> Iterator[Problem]:
    """Values that no alert is needed to know: those that are written there, and those of each service."""
    told: set[Problem] = set()
    for service in catalogue or {"": {}}:
        given = {}
        for name, value in rule.parameters.items():
            kinds = {kind for kind, _ in PLACE.findall(value)} if isinstance(value, str) else set()
            filled, lacking = fill(value, {SERVICE: service}, catalogue)
            if "labels" not in kinds and not lacking:
                given[name] = filled
        known = [parameter for parameter in runbook.parameters if parameter.name in given]
        try:
            params.validate(known, {parameter.name: given[parameter.name] for parameter in known}, usable)
        except InvalidInput as error:
            for problem in error.problems:
                places = str(rule.parameters.get(problem.where, ""))
                of = f", service {service}" if "{service." in places else ""
                mend = OPT_IN if "no connection that can be used" in problem.message else problem.fix
                told.add(Problem(f"{where}{of}", f"{problem.where} {problem.message}", mend))
    yield from sorted(told, key=str)
