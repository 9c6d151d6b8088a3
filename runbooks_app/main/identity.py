"""The run identity put together: the issuer of a worker, and whether the world sees its keys."""

from __future__ import annotations

from runbooks_app.core.errors import Misconfigured
from runbooks_app.credentials.issuer import Issuer
from runbooks_app.credentials.key_folder import KeyFolder
from runbooks_app.kernels.sandbox.lockdown import readable
from runbooks_app.settings import Settings


def issuer(settings: Settings) -> Issuer | None:
    """The issuer of these settings, for workers alone; None where there is no run identity.

    Raises `Misconfigured` for a folder that kernels may read, for then whoever writes a runbook has the keys.
    """
    if settings.identity_keys is None:
        return None
    folder = settings.path(settings.identity_keys).resolve()
    for place in readable([settings.path(settings.library)]):
        if folder.is_relative_to(place.resolve()):
            raise Misconfigured(
                f"RUNBOOKS_IDENTITY_KEYS: {folder} is in {place}, which every kernel may read. Name another folder."
            )
    return Issuer(settings.issuer, KeyFolder(folder), settings.identity_jwks_uri)
