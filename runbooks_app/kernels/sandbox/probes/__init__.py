"""What is tried inside the sandbox before a worker takes a job: small attempts, each of which must fail or must work.

A probe is a function with one sentence of docstring: what it shows. One that must fail raises OSError with an errno
that says "refused"; any other errno is a wrong answer too, for then nobody knows what kept it. One that must work
returns. What they are aimed at stands ready in the worker (see `selftest`), harmless to everybody if it is hit.

    files      network      processes      calls      working
"""

from __future__ import annotations

from runbooks_app.kernels.sandbox.probes import calls, files, network, processes, working
from runbooks_app.kernels.sandbox.probes.asking import Probe, Targets, ask

ALL: tuple[Probe, ...] = (*files.PROBES, *network.PROBES, *processes.PROBES, *calls.PROBES, *working.PROBES)

__all__ = ["ALL", "Probe", "Targets", "ask"]
