"""`runbooks identity`: how others are told to trust run tokens, and which keys are published."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runbooks_app.core.errors import InvalidInput, NotFound
from runbooks_app.core.run_identity import STAGES, discovery, subject
from runbooks_app.core.trust import TARGETS, Trusted

if TYPE_CHECKING:
    from runbooks_app.settings import Settings

app = typer.Typer(
    help="The run identity: how clouds, vaults and clusters are told to trust it.",
    epilog="Examples:\n\n  runbooks identity show\n\n  runbooks identity show aws --account 111122223333",
    no_args_is_help=True,
)


@app.command()
def show(
    target: Annotated[str, typer.Argument(help=f"For one of these: {', '.join(TARGETS)}.")] = "",
    runbook: Annotated[list[str] | None, typer.Option(help="Trust this runbook; more than one may be named.")] = None,
    every: Annotated[bool, typer.Option("--any", help="Trust every runbook, also later ones.")] = False,
    audience: Annotated[str, typer.Option(help="Audience of the tokens, as the connections file has it.")] = "",
    account: Annotated[str, typer.Option(help="Number of the AWS account or the Google Cloud project.")] = "",
) -> None:
    """Print policies to paste, which pin audience, environment, stage and runbook.

    Without --runbook and --any they trust exactly the runbooks that are in the library now.

    Examples: runbooks identity show · runbooks identity show vault --runbook db-latency --audience vault
    """
    settings = _settings()
    if every and runbook:
        raise typer.BadParameter("--any trusts every runbook; leave out --runbook, or --any")
    if target and target not in TARGETS:
        raise typer.BadParameter(f"there is nothing for {target}; there is: {', '.join(TARGETS)}")
    chosen = {} if every else _runbooks(settings, runbook or [])
    if not target:
        _explain(settings, chosen)
        return
    trusted = Trusted(
        settings.issuer,
        settings.jwks_uri,
        settings.environment,
        runbooks=tuple(chosen.values()),
        audience=audience,
        account=account,
        lifetime=settings.credential_lifetime,
    )
    print(TARGETS[target](trusted), end="")


@app.command()
def jwks() -> None:
    """Print the public keys, as they are to be published by hand (RUNBOOKS_IDENTITY_JWKS_URI).

    Example: runbooks identity jwks > jwks.json
    """
    from runbooks_app.store import identity_keys  # noqa: PLC0415 -- `show` needs no database
    from runbooks_app.store.database import connect, reading  # noqa: PLC0415

    settings = _settings()
    engine = connect(settings.database_url, settings.secret("database_password_file"), pool_size=1)
    try:
        with reading(engine) as tx:
            keys = identity_keys.served(tx)
    finally:
        engine.dispose()
    if not keys:
        raise NotFound("No key is published. Set RUNBOOKS_IDENTITY_KEYS and start a worker: it makes one and says so.")
    _print({"keys": keys})


@app.command(name="discovery")
def discovery_() -> None:
    """Print what is to stand at the issuer's /.well-known/openid-configuration, where you publish that by hand, too.

    Example: runbooks identity discovery > openid-configuration
    """
    settings = _settings()
    _print(discovery(settings.issuer, settings.jwks_uri))


# A kid may begin like an option, or like several short ones: it is taken as it is, so -h is none here.
@app.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
def withdraw(
    key: Annotated[str, typer.Argument(help="Its kid, as `runbooks identity jwks` lists it.")],
    reason: Annotated[str, typer.Option(help="Why; it goes into the audit trail.")],
) -> None:
    """Withdraw a key at once and for good, because somebody else may have it. Workers go on with another one.

    Example: runbooks identity withdraw KEY --reason "the machine was lost"
    """
    from runbooks_app.actions import identity  # noqa: PLC0415
    from runbooks_app.core.people import Actor  # noqa: PLC0415
    from runbooks_app.main.assemble import service  # noqa: PLC0415

    operator = Actor("operator", f"uid:{os.getuid()}", "command line")
    here = service(_settings(), pool_size=1)
    try:
        identity.withdraw(here, operator, key, reason)
    finally:
        here.engine.dispose()
    print(f"{key} is withdrawn. Whoever has fetched the keys may believe it until they fetch them again.")


def _settings() -> Settings:
    from runbooks_app.settings import read_settings  # noqa: PLC0415 -- other commands need not wait for it

    return read_settings(os.environ)


def _explain(settings: Settings, chosen: dict[str, str]) -> None:
    print(f"Issuer      {settings.issuer}")
    print(f"Keys        {settings.jwks_uri}")
    print(f"Discovery   {settings.issuer}/.well-known/openid-configuration")
    print()
    print("A token is good for one audience and five minutes. Its subject names runbook, environment and stage:")
    print()
    for name, runbook_id in chosen.items():
        print(f"  {name}")
        for stage in STAGES:
            print(f"    {subject(runbook_id, settings.environment, stage)}")
    print()
    print(f"Policies to paste: `runbooks identity show TARGET`, for {', '.join(TARGETS)}.")
    if settings.identity_keys is None:
        print("There is no run identity yet: RUNBOOKS_IDENTITY_KEYS names no folder.")


def _runbooks(settings: Settings, names: list[str]) -> dict[str, str]:
    """Ids of the runbooks of these names, or of all, by name."""
    from runbooks_app.library import Library  # noqa: PLC0415

    library = Library(settings.path(settings.library), settings.ceilings)
    found = {name: library.get(name) for name in names} if names else library.runbooks()
    if not found:
        raise InvalidInput(f"There is no runbook in {library.folder} to trust. Write one, or trust every one by --any.")
    return {name: one.id for name, one in found.items()}


def _print(told: dict[str, Any]) -> None:
    print(json.dumps(told, indent=2))
