"""A uid for each kernel, so that what the system counts per uid is counted per kernel."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from runbooks_app.core.errors import Unavailable


class Uids:
    """Those that kernels may have, each lent to one kernel at a time. Where there are none, kernels stay who we are."""

    def __init__(self, uids: Sequence[int]) -> None:
        self._free = deque(uids)
        self._some = bool(uids)

    @property
    def example(self) -> int | None:
        """One of them, to try out whether kernels can run under it."""
        return self._free[0] if self._some else None

    def close(self) -> None:
        """From now on kernels stay who we are."""
        self._some = False

    def take(self) -> int | None:
        """The one that has been free for longest; Unavailable where all are taken."""
        if not self._some:
            return None
        if not self._free:
            raise Unavailable("Every uid for kernels is taken. Widen the range in RUNBOOKS_KERNEL_UIDS.")
        return self._free.popleft()

    def give_back(self, uid: int | None) -> None:
        """The kernel is gone, with every process of that uid."""
        if uid is not None:
            self._free.append(uid)
