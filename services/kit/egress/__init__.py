"""The one way out: HTTP through Tor, one isolation user per purpose and endpoint, and no way round it.

::

    Egress                   the SOCKS port, the rules, the schedule
    └── Way                  one purpose at one endpoint: `read:api.trongrid.io`
        ├── Lane  .7         the isolation user of now: a circuit of its own, and the connections on it
        ├── Lane  .8         the spare: where a slow read is asked a second time
        └── Lane  .6         rotated away: finishes what is in flight, then closes

Whatever goes wrong before a request leaves is told apart from what goes wrong after: `EgressError.sent`. Only https,
and http to an onion service, leave this machine; on the devnet http to loopback is allowed too. Redirects are not
followed, the environment's proxies are not read, certificates are checked, and names are looked up by Tor alone.
"""

from services.kit.egress.egress import Egress
from services.kit.egress.errors import EgressError, Fault
from services.kit.egress.models import Answer, Call, EgressStatus, Probe, WayStatus
from services.kit.egress.rules import EgressPolicy, Mode, checked_url
from services.kit.egress.way import Way
from services.kit.socks import Reason, SocksPort

__all__ = [
    "Answer",
    "Call",
    "Egress",
    "EgressError",
    "EgressPolicy",
    "EgressStatus",
    "Fault",
    "Mode",
    "Probe",
    "Reason",
    "SocksPort",
    "Way",
    "WayStatus",
    "checked_url",
]
