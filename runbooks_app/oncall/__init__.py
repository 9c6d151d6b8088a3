"""Who is on call, and the services that page them: the file that names them, rotas, PagerDuty, Opsgenie.

`OnCall` is what the file says, without a secret; every process has it. The services are asked by workers alone
(`pagers`), which read their tokens when they need them. Being on call gives nobody authority.
"""

from runbooks_app.oncall.groups import NOBODY, Group, OnCall, PagingService
from runbooks_app.oncall.reading import read_oncall
from runbooks_app.oncall.rota import Rota

__all__ = ["NOBODY", "Group", "OnCall", "PagingService", "Rota", "read_oncall"]
