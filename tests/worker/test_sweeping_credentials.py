"""Which credentials a sweep takes, and from whom."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from runbooks_app.connections import CredentialSource
from runbooks_app.worker import holding


@dataclass
class SlowProvider:
    """Stands for one whose database takes its time; remembers what it was told to be live."""

    told: list = field(default_factory=list)
    during: object = None

    def sweep(self, connection, live):
        self.told.append((connection.name, live))
        self.during()
        return []


@pytest.fixture
def swept(house, monkeypatch):
    """Sweep these connections; what each provider was told is live, which grows while one is asked."""

    def sweep(**connections):
        live, providers = {"first"}, {}

        def provider_for(source):
            return providers.setdefault(
                source.options["minter"], SlowProvider(during=lambda: live.add(f"minted-{len(live)}"))
            )

        monkeypatch.setattr(holding, "provider_for", provider_for)
        monkeypatch.setattr(holding, "held_now", lambda _: frozenset(live))
        monkeypatch.setattr(holding, "left_behind", lambda _: [])
        service = replace(house.service, connections=connections)
        holding.sweep(replace(house.worker, service=service))
        return {minter: provider.told for minter, provider in providers.items()}

    return sweep


def source(minter, role):
    return CredentialSource("postgres-role", {"minter": minter, "role": role, "password_file": "x"})


def test_what_was_minted_while_a_slow_database_was_swept_counts_as_live(house, swept):
    orders = house.service.connections["orders-db"]
    told = swept(a=replace(orders, name="a"), b=replace(orders, name="b"))
    ((_, first), (_, second)) = next(iter(told.values()))
    assert second - first == {"minted-1"}


def test_a_connection_with_two_minters_is_swept_as_both(house, swept):
    orders = replace(
        house.service.connections["orders-db"],
        diagnose=source("minter_d", "orders_reader"),
        remediate=source("minter_r", "orders_operator"),
    )
    assert set(swept(orders=orders)) == {"minter_d", "minter_r"}
