"""What looking at a credential's rights has found, whichever system it opens."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Found:
    """Findings, each a few words that name right and thing.

    `writes` can change something; `doubtful` is what nobody can tell of; `tried` what was looked for; `remains` what
    everybody who is let in may do there, harmless as it is.
    """

    writes: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    remains: list[str] = field(default_factory=list)
