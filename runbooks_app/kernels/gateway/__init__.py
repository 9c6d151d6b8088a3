"""The only way from a kernel to a system: one loopback port for each of the run's connections, in the worker.

    route       one connection as a kernel of this stage may reach it
    ports       `Gateway.open(routes, refused)`: the ports of one run, from before its kernel to after its end
    http        one HTTP connection: what is let through, the credential, the answer
    peer        the kernel's end of it
    headers     which headers pass, each way
    authorizing the credential: put on each request, renewed, known to the mask
    masking     the credential never comes back in an answer
    database    one database: bytes to and fro
    refusals    what was refused, told in words; a flood of it is counted

A kernel holds the run's nonce, and a database's password, which dies with the stage. It never holds the credential of
an HTTP connection. That a kernel can reach nothing else is the sandbox's part.
"""

from runbooks_app.kernels.gateway.ports import Gateway
from runbooks_app.kernels.gateway.refusals import Refusal
from runbooks_app.kernels.gateway.route import NONCE_HEADER, Route

__all__ = ["NONCE_HEADER", "Gateway", "Refusal", "Route"]
