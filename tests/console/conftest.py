"""The console of a home, and the scripted node that it talks to."""

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lucid_tron_console.app import LucidApp
from lucid_tron_console.home import Home
from lucid_tron_console.settings import ConsoleSettings
from services.wallet.api import WalletState
from tests.console.fakes import START, Driver, FakeNode, Seconds, address


@pytest.fixture
def home() -> Iterator[Home]:
    """A home with a path short enough for Unix sockets."""
    path = Path(tempfile.mkdtemp(prefix="lc-", dir="/tmp"))
    yield Home.at(path)
    shutil.rmtree(path)


@pytest.fixture
async def node(home: Home) -> AsyncIterator[FakeNode]:
    """A node with two wallets, serving."""
    fake = FakeNode(home)
    fake.add_wallet("hot", state=WalletState.ACTIVE, sun=12_480_100_000)
    fake.add_wallet("spare", sun=5_000_000)
    fake.balances[address(7)] = 1_000_000
    fake.write_record()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def seconds() -> Seconds:
    """The clock by which the console judges ages."""
    return Seconds()


MakeApp = Callable[..., LucidApp]


@pytest.fixture
def make_app(home: Home, seconds: Seconds) -> MakeApp:
    """Make the console of the home; settings can be changed."""

    def make(**changes: Any) -> LucidApp:
        values: dict[str, Any] = {
            "home": home,
            "network": "devnet",
            "host": "pinode",
            "operator": "alice",
            "guard_s": 0.0,
            **changes,
        }
        return LucidApp(ConsoleSettings(**values), monotonic=seconds, utcnow=lambda: START)

    return make


@pytest.fixture
def drive(make_app: MakeApp) -> Callable[..., contextlib.AbstractAsyncContextManager[Driver]]:
    """Run the console without a terminal: `async with drive() as console`."""

    @contextlib.asynccontextmanager
    async def run(size: tuple[int, int] = (80, 24), *, ready: bool = True, **changes: Any) -> AsyncIterator[Driver]:
        app = make_app(**changes)
        async with app.run_test(size=size) as pilot:
            driver = Driver(app, pilot)
            if ready:
                await driver.ready()
            yield driver

    return run
