"""The command line as a client: `runbooks login`, and what a person does with runs, proposals and incidents.

failures    what can go wrong, each with its exit code
talking     one request and its answer, over HTTP
keeping     the file that keeps somebody signed in
signing_in  the device flow (RFC 8628), refreshing, revoking
api         the service's JSON API for whoever is signed in
commands    the commands
waiting     for a run's end or a sign-in, with something to look at
showing     a runbook, a run, a proposal, an incident, as `runbooks show` prints them
printing    tables, lines and JSON; nothing that a notebook wrote gives orders to a terminal

It talks to a service anywhere, and loads none of the service's own rooms: nobody waits for a database's library.
"""
