"""`runbooks mcp`: how agents reach the service, by the Model Context Protocol, over stdio or streamable HTTP.

door        as whom a tool asks the service: by the sign-in kept for agents, or by the token that came with the request
tools       what agents can do; there is no tool that decides
telling     what a run is told as: short, and with a word on what was left out and what not to trust
commands    the command, and the two ways to serve

It is a process of its own that calls `/api/v1`, as the command line does, and loads none of the service's own rooms.
What an agent may do is decided there (`core.people.AGENTS_MAY`), whatever is asked here.
"""
