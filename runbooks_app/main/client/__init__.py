"""The command line as a client: `runbooks login`, and what a person does with runs, proposals and incidents.

failures   what can go wrong, each with its exit code
talking    one request and its answer, over HTTP
keeping    the file that keeps somebody signed in
signing_in the device flow (RFC 8628), refreshing, revoking
api        the service's JSON API for whoever is signed in
commands   the commands
printing   how what the API tells is shown to a person

It talks to a service anywhere, and loads none of the service's own rooms: a command is there in a quarter of a second.
"""
