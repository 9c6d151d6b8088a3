"""A stand-in for Slack, for demo and tests: a real server that speaks the part of Slack that is used.

What it does as Slack does (by Slack's documentation): the Web API methods in `api` with their answers, errors
and limits (`limits`, `rates`); commands, buttons, menus, shortcuts and forms as signed posts with Slack's fields
(`payloads`), three seconds to answer, `response_url` good for five answers in 30 minutes, events sent again three
times where they are not taken (`delivery`); a trigger opens one form within three seconds (`views`).

What it does not: it holds one workspace, one app and as many people as it is told; nobody signs in (its page
asks who you are, and believes it); of events there are mentions and pins; there is no search, no reaction; messages
and forms know the part of Block Kit and mrkdwn that the service sends. Anyone who reaches it may speak as anyone, so it
belongs on a loopback address; `/control/...` is there to cause trouble in tests.
"""
