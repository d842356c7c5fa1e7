"""The real TRON client daemon, which kills itself with SIGKILL at a named point. Run by `test_named_points.py`.

    python dying_tron.py POINT [--lose N] [--no-signature]

A point is a seam and a moment, such as `store.depart within`. `--lose N` lets the first N broadcasts get lost on their
way out; with `--no-signature` the wallet service does not sign. Only the seams are wrapped here: all that decides is
the daemon's own code.
"""

import argparse
import os
import signal
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, TypeVar

from services.kit.errors import Unavailable
from services.kit.store import Store, Unit
from services.tron import __main__ as tron
from services.tron.node import HttpNode, Kind, NodeError
from services.wallet import api as wallet_api
from services.wallet.client import WalletClient

T = TypeVar("T")


class Plan:
    """Where this process dies, and what goes wrong before."""

    def __init__(self, words: Sequence[str]) -> None:
        parser = argparse.ArgumentParser()
        parser.add_argument("point")
        parser.add_argument("--lose", type=int, default=0)
        parser.add_argument("--no-signature", action="store_true")
        chosen = parser.parse_args(words)
        self.point: str = chosen.point
        self.lose: int = chosen.lose
        self.no_signature: bool = chosen.no_signature

    def pass_by(self, name: str) -> None:
        """Die, if this is the point."""
        if name == self.point:
            os.kill(os.getpid(), signal.SIGKILL)

    async def around(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call between its two points."""
        self.pass_by(f"{name} before")
        answer = await call()
        self.pass_by(f"{name} after")
        return answer


PLAN = Plan(sys.argv[1:] if __name__ == "__main__" else ["nowhere"])


class DyingStore(Store):
    """The store, with points before, within and after every commit."""

    def __init__(self, path: Path | str, migrations: Sequence[str], executor: Executor | None = None) -> None:
        super().__init__(path, migrations, executor)

    async def write(self, unit: Unit[T]) -> T:
        name = f"store.{unit.__qualname__.split('.')[1]}"
        PLAN.pass_by(f"{name} before")

        def within(connection: sqlite3.Connection) -> T:
            result = unit(connection)
            PLAN.pass_by(f"{name} within")
            return result

        result = await super().write(within)
        PLAN.pass_by(f"{name} after")
        return result


class DyingWalletClient(WalletClient):
    """The wallet service's client, with points before each call and before its answer is used."""

    async def get(self, name: str) -> wallet_api.Wallet:
        return await PLAN.around("wallet.get", lambda: super(DyingWalletClient, self).get(name))

    async def signer(self) -> wallet_api.Signer:
        return await PLAN.around("wallet.signer", lambda: super(DyingWalletClient, self).signer())

    async def sign(self, name: str, body: wallet_api.Sign) -> wallet_api.Signature:
        if PLAN.no_signature:
            raise Unavailable("the wallet service does not sign")
        return await PLAN.around("wallet.sign", lambda: super(DyingWalletClient, self).sign(name, body))

    async def void(self, name: str, key: str) -> wallet_api.SignRecord:
        return await PLAN.around("wallet.void", lambda: super(DyingWalletClient, self).void(name, key))


class DyingNode(HttpNode):
    """An endpoint, with points before a broadcast leaves and before its answer is read."""

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if path != "wallet/broadcasthex":
            return await super().post(path, body)
        if PLAN.lose:
            PLAN.lose -= 1
            raise NodeError("no answer in time", Kind.TIMEOUT, self.name)
        return await PLAN.around("broadcast", lambda: super(DyingNode, self).post(path, body))


if __name__ == "__main__":
    vars(tron).update(Store=DyingStore, WalletClient=DyingWalletClient, HttpNode=DyingNode)
    sys.exit(tron.main())
