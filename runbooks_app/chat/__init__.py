"""Slack, seen from the service.

What is told (`views`), how it reads (`messages`, `replies`), how it gets there (`client`), what comes in
(`commands`, `signature`).

Nothing here knows the database, the queue or a web framework: plain values come in, plain values go out.
"""
