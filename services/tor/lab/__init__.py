"""A real private Tor network on this machine's loopback: for demos, drills and tests, when `tor` is installed.

`python -m services.tor.lab DIR` runs one until SIGTERM; `Lab` is the same for tests. It is one authority, relays,
exits and a client, all of them ordinary tor processes that know only each other: what goes through them crosses three
hops and never leaves the machine. Read `lab` first; from there

- `plan` (addresses, ports and the torrc of each node), `keys` (identities and what a warm start can reuse);
- `node` (one process: pause, kill, start), `claim` (whose a directory is, and that nothing outlives its owner),
  `control` (the few control port calls that a start needs), `probe` (is there a way through), `names` (the name server
  that the exits ask).
"""

from services.tor.install import Availability
from services.tor.lab.control import ControlError
from services.tor.lab.lab import ClientStatus, Lab, LabStatus
from services.tor.lab.node import Client, Node, NodeStatus
from services.tor.lab.plan import Role

__all__ = ["Availability", "Client", "ClientStatus", "ControlError", "Lab", "LabStatus", "Node", "NodeStatus", "Role"]
