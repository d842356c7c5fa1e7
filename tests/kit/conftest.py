"""A small real daemon on a real socket, and a clock that moves when it is told to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.kit import daemon
from services.kit.client import Client
from services.kit.errors import Conflict
from services.kit.events import EventBus
from services.kit.http import Call, Endpoint
from services.kit.metrics import Metrics
from services.kit.models import Query, Request, Response
from services.kit.peer import Role
from services.protocol.address import TronAddress


class Order(Request):
    """What the little daemon takes."""

    to: TronAddress
    amount: int


class Page(Query):
    """How much the little daemon shows."""

    limit: int = 5


class Echo(Response):
    """What the little daemon answers."""

    id: str
    amount: int
    user: str
    correlation_id: str


async def order(call: Call) -> Echo:
    return Echo(id=call.path["id"], amount=call.body.amount, user=call.peer.user, correlation_id=call.correlation_id)


async def show(call: Call) -> Echo:
    return Echo(id=call.path["id"], amount=call.query.limit, user=call.peer.user, correlation_id=call.correlation_id)


async def refuse(_call: Call) -> None:
    raise Conflict("the key was used for another order", field="key", txid="77" * 32)


async def break_down(_call: Call) -> None:
    passphrase = "correct horse battery"
    raise RuntimeError(f"a defect of {len(passphrase)} letters")


ENDPOINTS = [
    Endpoint("POST", "/orders/{id}", order, request=Order, response=Echo, role=Role.OPERATOR, max_body=4096),
    Endpoint("GET", "/orders/{id}", show, query=Page, response=Echo),
    Endpoint("POST", "/refuse", refuse, errors=(Conflict,)),
    Endpoint("GET", "/defect", break_down),
]


def little_service(bus: EventBus | None = None) -> daemon.Service:
    return daemon.Service("little", "A daemon for tests.", "1.0", ENDPOINTS, Metrics("little"), bus or EventBus())


@pytest.fixture
async def little(tmp_path: Path) -> AsyncIterator[tuple[daemon.Service, Path]]:
    service, path = little_service(), tmp_path / "run" / "little" / "little.sock"
    async with daemon.serving(service, path):
        yield service, path


@pytest.fixture
async def client(little: tuple[daemon.Service, Path]) -> AsyncIterator[Client]:
    async with Client(little[1], "little") as opened:
        yield opened


class ManualClock:
    """Time that stands still until it is moved; sleeping moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def make_service() -> Callable[[], daemon.Service]:
    return little_service


@pytest.fixture
def serve() -> Callable[[daemon.Service, Path], contextlib.AbstractAsyncContextManager[None]]:
    return daemon.serving
