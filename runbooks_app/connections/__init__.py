"""The connections file: which systems runbooks may reach, where credentials come from, what binds approval.

    [orders-db]
    kind = "postgres"
    label = "Orders database"
    host = "127.0.0.1"
    port = 5433
    database = "orders"
    [orders-db.diagnose]
    provider = "postgres-role"
    role = "orders_reader"
    minter = "runbooks_minter"
    password_file = "orders-minter.password"    # relative to this file
    [orders-db.floor]
    approvers = ["database"]

    [prometheus]
    kind = "http"
    url = "http://prometheus:9090"
    [prometheus.diagnose]                       # may be left out: then GET and HEAD, without a credential
    allow = ["GET /api/v1/*", "POST /api/v1/query"]
    provider = "static"
    secret_file = "prometheus.token"

    connection  what a connection is
    reading     from the file to connections
    tables      one table of the file: values of the wanted type, or what is wrong
    providers   which providers of credentials there are, and the options of each

Reading stops at no first mistake: every problem is named with its mend. No secret stands in the file, and
none is read here: only workers read password files.
"""

from runbooks_app.connections.connection import Connection, CredentialSource
from runbooks_app.connections.providers import PROVIDERS, PROVIDERS_OF
from runbooks_app.connections.reading import read_connections

__all__ = ["PROVIDERS", "PROVIDERS_OF", "Connection", "CredentialSource", "read_connections"]
