"""What the system itself counts for a kernel's processes. What a whole kernel uses is watched by the worker."""

from __future__ import annotations

import resource

from runbooks_app.kernels.sandbox.spec import Spec


def limit(spec: Spec) -> None:
    """Set the limits of this process and all that it will ever start."""
    wanted = {
        # With 0, a system that hands dumps to a program would hand over those of what a cell started: core(5) names
        # this pipe, and only 1, which is too small for any file, keeps the kernel from it.
        resource.RLIMIT_CORE: 1,
        resource.RLIMIT_NOFILE: spec.open_files,
        resource.RLIMIT_DATA: spec.memory,
        resource.RLIMIT_FSIZE: spec.file_size,
    }
    if spec.uid is not None:
        # Counted per uid: of a uid that the worker shares, the worker's own threads would be counted too.
        wanted[resource.RLIMIT_NPROC] = spec.processes
    for kind, most in wanted.items():
        hard = resource.getrlimit(kind)[1]
        most_allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most_allowed, most_allowed))
