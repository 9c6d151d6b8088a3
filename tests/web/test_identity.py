"""The documents of the run identity, as caches and strangers ask for them."""

from __future__ import annotations

import pytest
from joserfc.jwk import RSAKey

from runbooks_app.actions import identity
from runbooks_app.actions.context import worker_actor

pytestmark = pytest.mark.identity

PLACES = ("/.well-known/openid-configuration", "/.well-known/jwks.json")


@pytest.fixture
def published(service):
    """A key that a worker has published, withdrawn afterwards: tests share a database."""
    (key,) = identity.publish(service, "w1", [RSAKey.generate_key(2048).as_dict(private=False)]).published
    yield key
    identity.withdraw(service, worker_actor("w1"), key.kid, identity.DONE)


@pytest.mark.parametrize("place", PLACES)
def test_there_is_nothing_where_no_key_is_published(client, place):
    told = client.get(place, headers={"Accept": "application/json"})
    assert told.status_code == 404
    assert told.json["error"]["message"].startswith("This service has no run identity")
    assert "no-store" in told.headers["Cache-Control"]


@pytest.mark.parametrize("place", PLACES)
def test_caches_may_keep_them_for_five_minutes_and_ask_whether_they_changed(client, place, published):
    told = client.get(place)
    assert told.status_code == 200
    assert told.content_type == "application/json"
    assert "public, max-age=300" in told.headers["Cache-Control"]
    assert "Set-Cookie" not in told.headers
    again = client.get(place, headers={"If-None-Match": told.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    head = client.head(place)
    assert (head.status_code, head.data, head.headers["ETag"]) == (200, b"", told.headers["ETag"])


def test_another_key_is_another_document(client, service, published):
    before = client.get(PLACES[1])
    (other,) = identity.publish(service, "w1", [RSAKey.generate_key(2048).as_dict(private=False)]).published
    after = client.get(PLACES[1], headers={"If-None-Match": before.headers["ETag"]})
    assert after.status_code == 200
    assert [key["kid"] for key in after.json["keys"]] == [published.kid, other.kid]
    identity.withdraw(service, worker_actor("w1"), other.kid, identity.DONE)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_they_are_for_reading_alone(client, place, method, published, held):
    before = held()
    told = client.open(place, method=method, headers={"Origin": "http://127.0.0.1:8080"})
    assert told.status_code in {403, 405}
    assert held().tables == before.tables


def test_the_discovery_document_names_this_issuer_and_its_keys(client, published):
    told = client.get(PLACES[0]).json
    assert told["issuer"] == "http://127.0.0.1:8080"
    assert told["jwks_uri"] == "http://127.0.0.1:8080/.well-known/jwks.json"


def test_somebody_signed_in_gets_the_same_as_a_stranger(sign_in_as, client, published):
    anna = sign_in_as("admin")
    assert anna.get(PLACES[1]).data == client.get(PLACES[1]).data
