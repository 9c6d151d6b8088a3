"""Every setting once: name, type, default, meaning.

Settings come from the environment (`RUNBOOKS_PUBLIC_URL`) and from an optional TOML file named by
`RUNBOOKS_CONFIG` (`public_url = "…"`); the environment wins. Secrets are given as paths of files, never as
values. An unknown or malformed setting stops the start, with its name and the mend.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from runbooks_app.core import kernel_limits
from runbooks_app.core.errors import Misconfigured, Problem
from runbooks_app.core.people import known_role

PREFIX = "RUNBOOKS_"

NO_SETTINGS = frozenset(PREFIX + name for name in ("CONFIG", "KIT_CONNECTIONS", "URL"))
"""Variables of our prefix that say something else: where settings are, and what kit and the command line need."""

TABLES = {"roles": '{"group": ["role"]}', "limits": '{"memory": "2GB"}', "ceilings": '{"memory": "8GB"}'}
"""Settings that are JSON in the environment and tables in the file, each with how it looks."""


class Settings(BaseModel):
    """The settings of one process. Paths of secrets are read when they are used, by who uses them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    public_url: str = Field(
        "http://127.0.0.1:8080", description="Where people reach the service; links in chat begin with it."
    )
    environment: str = Field(
        "production",
        pattern=r"^[a-z0-9-]{1,40}$",
        description="Name of this installation, shown on every page.",
    )
    styleguide: Literal["on", "off"] = Field(
        "off", description="on: `/styleguide` shows every component of the pages, for who works on them."
    )
    config_dir: Path = Field(Path(), description="Folder that relative paths in settings are taken from.")

    bind: str = Field(
        "127.0.0.1:8080", pattern=r"^[^\s:]+:\d{1,5}$", description="Address and port that web processes listen on."
    )
    web_processes: int = Field(2, ge=1, le=64, description="Web processes.")
    web_threads: int = Field(256, ge=4, le=1000, description="Threads of each web process; a live page holds one.")
    trusted_proxies: int = Field(
        0,
        ge=0,
        le=10,
        description="Proxies before web processes that tell by X-Forwarded-For who asks: rate limits go by that.",
    )
    web_key_file: Path | None = Field(
        None,
        description="File with at least 32 random bytes, the same in all web processes; it signs sign-ins under way.",
    )

    database_url: str = Field(
        "postgresql://runbooks_app@127.0.0.1:5432/runbooks",
        description="The service's PostgreSQL, as its application role, without a password.",
    )
    database_password_file: Path | None = Field(None, description="File with the application role's password.")
    database_owner_url: str = Field("", description="The same database as its owner; only `runbooks migrate` uses it.")
    database_owner_password_file: Path | None = Field(None, description="File with the owner's password.")
    redis_url: str = Field(
        "", description="Redis for live output and rate limits, without a password; empty: pages poll."
    )
    redis_password_file: Path | None = Field(None, description="File with the password of Redis.")

    library: Path = Field(Path("runbook_library"), description="Folder with the notebooks and kit.")
    connections: Path = Field(
        Path("connections.toml"), description="File that names the systems which runbooks may reach."
    )
    artifacts: str = Field(
        "file://artifacts", description="Where large outputs go: a folder (file://…) or a bucket (s3://…)."
    )
    alerts: Path | None = Field(
        None, description="File that says who sends alerts and which runbook each leads to; unset: none are taken."
    )
    catalogue: Path | None = Field(
        None, description="File that says of each service its connections, owners, dashboards and deploys, for alerts."
    )
    remediation: Literal["on", "off"] = Field(
        "on", description="off: diagnose only; no write credential is ever minted."
    )
    ask: Literal["on", "off"] = Field("on", description="off: nobody asks in cells of their own; only runbooks run.")
    sandbox: Literal["on", "off"] = Field(
        "on", description="off: kernels are not sealed, for development only; every page and message says so."
    )
    kernel_uids: str = Field(
        "60700-61183",
        pattern=r"^([1-9]\d{0,8}-[1-9]\d{0,8})?$",
        description="Users that kernels run under where the worker is root, one each; empty: as root without powers.",
    )

    oidc_issuer: str = Field("", description="Issuer of the OpenID provider that people sign in with.")
    oidc_client_id: str = Field("runbooks", description="This service's client id at the provider.")
    oidc_client_secret_file: Path | None = Field(None, description="File with the client secret.")
    oidc_scopes: str = Field("openid profile email groups", description="Scopes asked for at sign-in.")
    oidc_origin: str = Field(
        "", description="Origin of the provider's sign-in page (https://login.example.com), if not the issuer's."
    )
    step_up_acr: str = Field(
        "", description="What a fresh sign-in for a high-risk decision must reach: acr values, any of which will do."
    )
    groups_claim: str = Field(
        "groups", description="Claim of the id_token that lists a person's groups; by dots (realm_access.roles)."
    )
    roles: dict[str, list[str]] = Field(
        default_factory=dict,
        description='Roles by group: {"sre": ["responder"], "dba": ["approver:database"]}.',
    )
    break_glass: Literal["off", "signed", "session"] = Field(
        "signed",
        description="Whether one person may act alone: off; by a fresh sign-in; session: without the provider too.",
    )
    api_audience: str = Field(
        "", description="Audience of the access tokens that the API takes; empty: the public URL."
    )
    cli_client_id: str = Field(
        "runbooks-cli", description="Client id at the provider of `runbooks login`; it has no secret."
    )
    cli_scopes: str = Field(
        "openid profile groups offline_access",
        description="Scopes that `runbooks login` asks for; offline_access keeps people signed in.",
    )
    agent_client_id: str = Field(
        "runbooks-agent",
        min_length=1,
        description="Client id at the provider whose tokens are agents'; they ask and propose, and never decide.",
    )
    session_hours: int = Field(12, ge=1, le=720, description="Hours until people sign in again.")

    identity_keys: Path | None = Field(
        None, description="Folder with the keys that sign run tokens, of workers alone; unset: no run identity."
    )
    identity_key_days: int = Field(30, ge=2, le=365, description="Days after which a new key follows the last.")
    identity_issuer: str = Field(
        "", description="Issuer of run tokens, where it is not the public URL but a place of your own."
    )
    identity_jwks_uri: str = Field(
        "", description="Where you publish the public keys by hand; no key signs that is not there."
    )

    slack_bot_token_file: Path | None = Field(
        None, description="File with the bot token; without it nothing is posted."
    )
    slack_signing_secret_file: Path | None = Field(
        None, description="File with the signing secret; without it Slack's requests are refused."
    )
    slack_app_token_file: Path | None = Field(
        None, description="File with the app-level token; with it web processes fetch Slack's requests (Socket Mode)."
    )
    slack_api_url: str = Field("https://slack.com/api/", description="Base of Slack's Web API.")
    slack_team: str = Field("", description="Id of the only workspace that may send commands; empty refuses all.")
    slack_login_days: int = Field(
        30, ge=1, le=365, description="Days since their last sign-in after which people of the chat sign in again."
    )
    slack_decide: Literal["off", "low"] = Field(
        "off", description="low: people of the chat decide proposals of low risk there; the rest on its page."
    )
    slack_decide_hours: int = Field(
        12, ge=1, le=168, description="Hours since their last sign-in in which people of the chat decide there."
    )
    slack_channel: str = Field("", description="Channel for runs that were not started in one.")

    notify_urls_file: Path | None = Field(
        None, description="File with addresses of other chats and mail, one a line, as `apprise` reads them."
    )

    oncall: Path | None = Field(
        None, description="TOML file that names who of the approvers is on call, and what pages them."
    )
    escalate_after: int = Field(
        300, ge=60, le=3600, description="Seconds until a proposal that waits is told to more people than before."
    )

    concurrency: int = Field(8, ge=1, le=200, description="Diagnoses that one worker does at a time.")
    runs_per_person: int = Field(
        5, ge=0, le=10_000, description="Diagnoses of one person at a time; more of them wait in line. 0: no limit."
    )
    runs_per_runbook: int = Field(
        20, ge=0, le=10_000, description="Diagnoses of one runbook at a time; more of them wait in line. 0: no limit."
    )
    lease: int = Field(15, ge=3, le=300, description="Seconds after which a silent worker's work is taken from it.")
    credential_lifetime: int = Field(900, ge=60, le=3600, description="Seconds that a minted credential lives at most.")
    limits: dict[str, int] = Field(
        default_factory=dict,
        description='What a kernel may use where its runbook names nothing else: {"memory": "2GB"}; see Limits below.',
    )
    ceilings: dict[str, int] = Field(
        default_factory=dict, description='The most that a runbook may ask for: {"memory": "8GB"}; see Limits below.'
    )
    verify_timeout: int = Field(600, ge=10, le=3600, description="Seconds that verification cells may take together.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severity that is logged."
    )
    metrics_port: int = Field(
        0, ge=0, le=65535, description="Loopback port for Prometheus to scrape, each process its own; 0: none."
    )

    @field_validator("public_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
            raise ValueError("must look like https://runbooks.example.com")
        return value.rstrip("/")

    @field_validator("identity_issuer", "identity_jwks_uri")
    @classmethod
    def _is_plain_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in {"http", "https"} or not parts.hostname or {"?", "#", "@"} & set(value)):
            raise ValueError("must look like https://identity.example.com")
        return value.rstrip("/")

    @field_validator("kernel_uids")
    @classmethod
    def _is_range(cls, value: str) -> str:
        if value and not uids_of(value):
            raise ValueError("must look like 60700-61183, the smaller number first")
        return value

    @field_validator("roles")
    @classmethod
    def _known_roles(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        for group, roles in value.items():
            for role in roles:
                if not known_role(role):
                    raise ValueError(f"group {group!r} maps to {role!r}, which is no role")
        return value

    @field_validator("limits", "ceilings", mode="before")
    @classmethod
    def _known_limits(cls, value: Any) -> dict[str, int]:
        found, wrong = kernel_limits.parse(value)
        if wrong:
            raise ValueError(" ".join(f"{name}: {what}".removeprefix(": ") for name, what in wrong))
        return found

    @model_validator(mode="after")
    def _tokens_apart(self) -> Settings:
        if self.audience in {self.oidc_client_id, self.cli_client_id, self.agent_client_id}:
            # An id_token is for the client: it would pass for an access token.
            raise ValueError("RUNBOOKS_API_AUDIENCE: is the id of a client; name the API otherwise")
        if self.agent_client_id in {self.oidc_client_id, self.cli_client_id}:
            # People's tokens and agents' are told apart by nothing else.
            raise ValueError("RUNBOOKS_AGENT_CLIENT_ID: is the id of people's client; agents need one of their own")
        return self

    @property
    def audience(self) -> str:
        """The audience of access tokens for the API."""
        return self.api_audience or self.public_url

    @model_validator(mode="after")
    def _defaults_below_ceilings(self) -> Settings:
        for name, given, most in kernel_limits.above(self.limits, self.ceilings):
            raise ValueError(f"RUNBOOKS_LIMITS: {name} is {given}, and the ceiling is {most}; raise RUNBOOKS_CEILINGS")
        return self

    @model_validator(mode="after")
    def _run_tokens_apart(self) -> Settings:
        if self.issuer == self.oidc_issuer.rstrip("/"):
            # A run token would pass for somebody's sign-in.
            raise ValueError("RUNBOOKS_IDENTITY_ISSUER: is the provider that people sign in with; name another")
        if self.identity_keys is not None and not all(map(_is_safe, (self.issuer, self.jwks_uri))):
            raise ValueError("RUNBOOKS_IDENTITY_KEYS: run tokens need an issuer with https; mend RUNBOOKS_PUBLIC_URL")
        return self

    @property
    def issuer(self) -> str:
        """The issuer of run tokens."""
        return self.identity_issuer or self.public_url

    @property
    def jwks_uri(self) -> str:
        """Where those who verify run tokens find the keys."""
        return self.identity_jwks_uri or f"{self.issuer}/.well-known/jwks.json"

    def limits_of(self, asked: Mapping[str, int]) -> dict[str, int]:
        """Every limit of a kernel whose runbook asks for these, times included."""
        return kernel_limits.settled(asked, self.limits, self.ceilings)

    def path(self, path: Path) -> Path:
        """A path from the settings, made absolute."""
        return path if path.is_absolute() else (self.config_dir / path).absolute()

    def secret(self, name: str) -> str:
        """Content of the secret file that the setting `name` names; empty where the setting is unset.

        Raises `Misconfigured` where the file cannot be read or is empty: a secret that is configured and
        missing must not turn into no secret.
        """
        path: Path | None = getattr(self, name)
        if path is None:
            return ""
        try:
            value = self.path(path).read_text().strip()
        except OSError as error:
            raise Misconfigured(f"{PREFIX}{name.upper()}: cannot read {path.name} ({error.strerror}).") from error
        if not value:
            raise Misconfigured(f"{PREFIX}{name.upper()}: {path.name} is empty; put the secret in it.")
        return value


def _is_safe(url: str) -> bool:
    """Whether nobody on the way can change what is fetched: https, or this machine itself."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in {"127.0.0.1", "::1", "localhost"}


def uids_of(value: str) -> range:
    """The users that the setting `kernel_uids` names."""
    first, _, last = value.partition("-")
    return range(int(first), int(last) + 1) if value else range(0)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from the environment and the TOML file that it names. Raises `Misconfigured` with every problem."""
    given: dict[str, Any] = {}
    config = environment.get(PREFIX + "CONFIG")
    if config:
        try:
            given = tomllib.loads(Path(config).read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise Misconfigured(f"{PREFIX}CONFIG: {config} cannot be used: {error}") from error
        given.setdefault("config_dir", str(Path(config).parent))
    problems = []
    for name, text in environment.items():
        if not name.startswith(PREFIX) or name in NO_SETTINGS:
            continue
        field = name.removeprefix(PREFIX).lower()
        if field in TABLES:
            try:
                given[field] = json.loads(text)
            except ValueError:
                problems.append(Problem(name, "is not JSON.", f"Write {TABLES[field]}."))
        else:
            given[field] = text
    try:
        settings = Settings(**given)
    except ValidationError as error:
        problems += [_problem(e["loc"], e["type"], e["msg"]) for e in error.errors()]
    if problems:
        raise Misconfigured("The settings cannot be used.", problems=tuple(problems))
    return settings


def _problem(location: tuple[int | str, ...], kind: str, message: str) -> Problem:
    name = str(location[0]) if location else ""
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(name, Settings.model_fields, n=1)
        return Problem(
            PREFIX + name.upper(),
            "is no setting.",
            f"Did you mean {PREFIX}{near[0].upper()}?" if near else "`runbooks settings` lists them.",
        )
    message = message.removeprefix("Value error, ")
    message += "" if message.endswith(("?", ".")) else "."
    if not location:  # what does not go together; it begins with the setting's name
        return Problem(*message.split(": ", 1))
    return Problem(PREFIX + name.upper(), message)
