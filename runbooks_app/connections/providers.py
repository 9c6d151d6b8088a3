"""Which providers of credentials there are, which kinds of connection they serve, and the options of each.

What they do stands in `runbooks_app.credentials`; here is only what the file may say of them. A new one is a row of
`PROVIDERS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runbooks_app.core.addresses import keeps_secrets
from runbooks_app.core.tables import Table

ROLE = re.compile(r"(?!pg_)[a-z_][a-z0-9_$-]{0,62}")
"""Database roles; the reserved `pg_…` ones would grant far more than one system."""
HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
WORD = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
"""A name of Vault's, or one step of a path there: no `..` is among them."""
NO_CREDENTIAL = frozenset(("host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"))
"""Headers that frame a request and cannot hold a credential."""

Options = Mapping[str, str]


@dataclass(frozen=True)
class Option:
    """One option of a provider: a text of one line. Those named `…_file` are paths, relative to the file.

    `help` says what to write. Without a `default` it is required; a default may follow from the options above it.
    `fine` holds for a text that will do, and `wrong` is said of one that will not. It is for these `kinds` of
    connection; where none are named, for all that the provider serves.
    """

    help: str
    default: str | Callable[[Options], str | None] | None = None
    fine: Callable[[str], object] = str.strip
    wrong: str = "must be a text of one line."
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProviderRow:
    """What the file may say of one provider.

    `kinds` of connection that it serves. `acts_as` is the role of a stage, as approvers see it and as a decision binds
    to it. `decides` names the options that make one stage's credential another than the other's: they must not be the
    same for both. Empty where the stage itself is told to the system, or where only people know what a secret may do.
    `sealed`: what it gives is sent by TLS alone, or within this machine.
    """

    kinds: tuple[str, ...]
    options: Mapping[str, Option]
    acts_as: Callable[[Options], str]
    decides: tuple[str, ...] = ()
    sealed: bool = False

    def options_for(self, kind: str) -> Mapping[str, Option]:
        """Those of one kind of connection."""
        return {name: option for name, option in self.options.items() if not option.kinds or kind in option.kinds}


def _role(what: str) -> Option:
    return Option(
        f"{what} Small letters, digits and _; not one of PostgreSQL's pg_…",
        fine=ROLE.fullmatch,
        wrong="is no name of a role.",
    )


def _secured(what: str, default: str | Callable[[Options], str | None] | None = "") -> Option:
    return Option(
        f"{what} By https, or on this machine.",
        default=default,
        fine=keeps_secrets,
        wrong="is no address that a secret may be sent to.",
    )


def _named(pattern: str, what: str, default: str | None = None) -> Option:
    return Option(what, default=default, fine=re.compile(pattern, re.ASCII).fullmatch, wrong="cannot be used.")


def _header(text: str) -> bool:
    return bool(HEADER.fullmatch(text)) and text.lower() not in NO_CREDENTIAL


def _narrowed(options: Options) -> str:
    file = options["session_policy_file"]
    return f", narrowed by {file.rpartition('/')[2]}" if file else ""


HEADER_OPTION = Option(
    "Header that it is sent in, as in Authorization or X-Api-Key.",
    default="Authorization",
    fine=_header,
    wrong="is no header that holds a credential.",
    kinds=("http",),
)
SCHEME_OPTION = Option(
    'What stands before it: Bearer or Basic, or "" for the secret alone.',
    default=lambda options: "Bearer" if options["header"].lower() == "authorization" else "",
    fine=lambda text: not text or HEADER.fullmatch(text),
    wrong="is no scheme.",
    kinds=("http",),
)

PROVIDERS: dict[str, ProviderRow] = {
    "postgres-role": ProviderRow(
        kinds=("postgres",),
        options={
            "role": _role("Role that the login becomes a member of."),
            "minter": _role("Role that makes and drops logins."),
            "password_file": Option("File with the minter's password."),
        },
        acts_as=lambda options: options["role"],
        decides=("role",),
    ),
    "static": ProviderRow(
        kinds=("http",),
        options={
            "secret_file": Option("File that holds the token (Basic: user:password)."),
            "header": HEADER_OPTION,
            "scheme": SCHEME_OPTION,
        },
        acts_as=lambda _: "a standing credential",
    ),
    "token-exchange": ProviderRow(
        kinds=("http",),
        options={
            "issuer": _secured("Issuer of the authorization server, which publishes its endpoints."),
            "token_url": _secured(
                "Its token endpoint, where no issuer is named.",
                default=lambda options: "" if options["issuer"] else None,
            ),
            "revocation_url": _secured("Its endpoint that ends tokens (RFC 7009), where the issuer names none."),
            "audience": Option("What the token is for, where the server asks for that.", default=""),
            "scope": Option("What this stage may do: the least that it needs, as in 'metrics:read'."),
            "subject_audience": Option(
                "`aud` of the run token, as the server expects it.",
                default=lambda options: options["issuer"] or options["token_url"],
            ),
            "client_secret_file": Option("File with this service's secret at the server.", default=""),
            "client_id": Option(
                "This service's name at the server, where it asks for one.",
                default=lambda options: None if options["client_secret_file"] else "",
            ),
            "ca_file": Option("Certificates that vouch for the server, where the machine's do not.", default=""),
        },
        acts_as=lambda options: (
            f"a token of scope {options['scope']}" + (f" for {options['audience']}" if options["audience"] else "")
        ),
        decides=("audience", "scope"),
        sealed=True,
    ),
    "kubernetes": ProviderRow(
        kinds=("http",),
        options={
            "audience": Option("`aud` of the run token, as the API server asks for it.", default="kubernetes"),
        },
        acts_as=lambda options: f"the run's own token for {options['audience']}",
        sealed=True,
    ),
    "vault": ProviderRow(
        kinds=("postgres", "http"),
        options={
            "address": _secured("Vault's address, as in https://vault.example.com:8200.", default=None),
            "login_role": _named(WORD, "Role of Vault's JWT method, one for each stage."),
            "path": _named(rf"{WORD}(/{WORD})+", "What is read there, as in database/creds/orders-reader."),
            "field": Option("Field of the secret that is the token, as in token.", kinds=("http",)),
            "header": HEADER_OPTION,
            "scheme": SCHEME_OPTION,
            "audience": Option("`aud` of the run token: one of the role's bound_audiences.", default="vault"),
            "mount": _named(rf"{WORD}(/{WORD})*", "Where the JWT method is enabled.", default="jwt"),
            "namespace": Option("Namespace of Vault Enterprise or OpenBao.", default=""),
            "ca_file": Option("Certificates that vouch for Vault, where the machine's do not.", default=""),
        },
        acts_as=lambda options: f"{options['path']} of Vault as {options['login_role']}",
        decides=("login_role",),
    ),
    "aws": ProviderRow(
        kinds=("http",),
        options={
            "role_arn": _named(
                r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}",
                "Role of this stage, as in arn:aws:iam::111122223333:role/runbooks-diagnose.",
            ),
            "region": _named(r"[a-z]{2}(-[a-z]+)+-\d", "Region of the service, as in eu-central-1."),
            "service": _named(r"[a-z0-9-]{1,64}", "Service as signatures name it, as in logs, aps, es or s3."),
            "session_policy_file": Option("Policy that narrows the role further, in JSON.", default=""),
            "audience": Option("`aud` of the run token.", default="sts.amazonaws.com"),
            "sts_url": _secured(
                "Where STS is.",
                default=lambda options: (
                    f"https://sts.{options['region']}.amazonaws.com"
                    + (".cn" if options["region"].startswith("cn-") else "")
                ),
            ),
        },
        acts_as=lambda options: (
            f"a session of {options['role_arn']} for {options['service']} in {options['region']}{_narrowed(options)}"
        ),
        decides=("role_arn",),
        sealed=True,
    ),
}
"""By name."""

KINDS = tuple(dict.fromkeys(kind for row in PROVIDERS.values() for kind in row.kinds))
PROVIDERS_OF = {kind: tuple(name for name, row in PROVIDERS.items() if kind in row.kinds) for kind in KINDS}
"""Which serve which kind of connection."""


def read_options(table: Table, provider: str, kind: str) -> dict[str, str]:
    """The provider's options, with defaults; what is wrong is noted, and stands for itself as an empty text."""
    found: dict[str, str] = {}
    for name, option in PROVIDERS[provider].options_for(kind).items():
        default = option.default(found) if callable(option.default) else option.default
        value = table.fields.get(name, default)
        if value is None:
            table.wrong(name, "is missing.", option.help)
        elif not isinstance(value, str) or not value.isprintable():
            table.wrong(name, "must be a text of one line.", option.help)
        elif name in table.fields and not option.fine(value):
            table.wrong(name, option.wrong, option.help)
        found[name] = value if isinstance(value, str) else ""
    return found
