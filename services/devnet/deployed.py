"""The contracts that stand on the devnet from block 0: USDT where networks say it is, and a token without quirks.

Both belong to the faucet, which may issue, pause and blacklist as the real owner may, and owns all of them at first.
"""

from services.devnet.energy import DEFAULT_ORIGIN_ENERGY_LIMIT
from services.devnet.execution import Run, create, message_of
from services.devnet.genesis import faucet
from services.devnet.rules.smart_contract import abi_text
from services.devnet.state import State
from services.devnet.tokens import token
from services.devnet.vm.machine import Block
from services.devnet.vm.world import Contract
from services.protocol.address import Address
from services.protocol.contracts import Abi
from services.protocol.hashes import keccak256
from services.protocol.json import message_from_json
from services.protocol.networks import NETWORKS

USDT = NETWORKS["devnet"].usdt
"""Where USDT stands, unless another network is played."""

USDT_SUPPLY = 50_000_000_000_000_000
"""Units of USDT in block 0: 50 billion, with 6 decimals and all the habits of mainnet's."""

PLAIN_TOKEN = Address.from_evm(keccak256(b"Lucid TRON Console devnet plain token")[12:])
"""A well-behaved TRC-20 token, 18 decimals."""

PLAIN_SUPPLY = 10**27
"""Units of it in block 0: a billion."""

_ENOUGH_ENERGY = 100_000_000


def deploy(state: State, block: Block, usdt: Address) -> None:
    """Put the contracts into the state of block 0, which has the faucet's account; `usdt` is where it shall stand."""
    _deploy(state, block, "UsdtToken", usdt, USDT_SUPPLY)
    _deploy(state, block, "PlainToken", PLAIN_TOKEN, PLAIN_SUPPLY)


def _deploy(state: State, block: Block, name: str, address: Address, supply: int) -> None:
    compiled, owner = token(name), faucet().address
    contract = Contract(
        address.raw,
        owner.raw,
        name=name,
        abi=abi_text(message_from_json(Abi, {"entrys": compiled.abi}, visible=False)),
        bytecode=compiled.bytecode + owner.evm.rjust(32, b"\0") + supply.to_bytes(32),
        user_percent=100,
        origin_energy_limit=DEFAULT_ORIGIN_ENERGY_LIMIT,
    )
    outcome = create(state, Run(owner.raw, block, bytes(32), _ENOUGH_ENERGY, head_ms=0), contract)
    if not outcome.succeeded:
        raise RuntimeError(f"{name} cannot be deployed: {message_of(outcome)}")
