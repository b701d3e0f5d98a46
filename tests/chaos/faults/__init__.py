"""What goes wrong. A fault strikes a round, sees that it did, and brings things back.

`strike` returns what proves that it acted (falsy: it did not), and tells the round what may come of
it. Faults of one group don't strike the same round; see `registry.choose` for who may meet whom.
"""

from tests.chaos.faults import (
    clocks,
    commands,
    database,
    gateway,
    network,
    peers,
    process,
    redis,
    rights,
)
from tests.chaos.faults.registry import AWAY, FAULTS, Fault, choose, known

__all__ = ["AWAY", "FAULTS", "Fault", "choose", "known"]
__all__ += ["clocks", "commands", "database", "gateway", "network", "peers", "process"]
__all__ += ["redis", "rights"]
