"""Flask: pages, the JSON API, Slack's endpoints, sign-in. Handlers declare, call one action, answer.

    app        puts the pieces together
    context    what handlers find at hand: the service, its secrets for this process
    guards     who may come in: declarations, sessions, CSRF
    errors     errors as answers: HTTP statuses, the one JSON shape
    headers    security headers
    limits     rate limits
    sessions   the session's cookie
    login      signing in and out (OpenID Connect)
    tokens     whether an id_token may be believed
    linking    tying a chat account to a person
    api        `/api/v1`
    slack      slash commands and buttons

No kernel and no credential is reachable from here: only workers hold secrets of connections.
"""
