"""Short-lived credentials for one stage of one run on one connection. Only workers come here.

    provider = provider_for(connection.diagnose)         # kept until the stage ends
    credential = provider.mint(connection, Purpose(run_id, "diagnose", lifetime=660))
    …
    provider.revoke(connection, credential.identity)     # also after a crash: sweep() finds what was left

    provider    what a provider is given and gives back
    asking      one bounded question to a system that gives credentials
    tokens      the run's own token, and what is renewed in time
    presenting  how a secret is shown to an HTTP system
    signing     AWS's signature of one request

No secret leaves by repr, log or exception.
"""

from collections.abc import Callable, Mapping

from runbooks_app.asking import trust
from runbooks_app.core.errors import Misconfigured
from runbooks_app.credentials.aws import Aws
from runbooks_app.credentials.kubernetes import Kubernetes
from runbooks_app.credentials.postgres_role import PostgresRole
from runbooks_app.credentials.provider import Credential, Endpoint, Provider, Purpose, Source
from runbooks_app.credentials.static import Static
from runbooks_app.credentials.token_exchange import TokenExchange
from runbooks_app.credentials.vault import Vault

__all__ = ["STANDING", "Credential", "Endpoint", "Provider", "Purpose", "Source", "provider_for", "trust"]

PROVIDERS: dict[str, Callable[[Mapping[str, str]], Provider]] = {
    "postgres-role": PostgresRole.from_options,
    "static": Static.from_options,
    "token-exchange": TokenExchange.from_options,
    "kubernetes": Kubernetes.from_options,
    "vault": Vault.from_options,
    "aws": Aws.from_options,
}
STANDING = frozenset({"static"})
"""Providers whose credentials are the same for every run: at a stage's end nothing ends them."""


def provider_for(source: Source) -> Provider:
    """The provider that the source names; raises `Misconfigured` for an unknown one."""
    try:
        build = PROVIDERS[source.provider]
    except KeyError:
        raise Misconfigured(
            f"There is no provider of credentials named {source.provider!r}. "
            f"Use one of these in the connections file: {', '.join(PROVIDERS)}."
        ) from None
    return build(source.options)
