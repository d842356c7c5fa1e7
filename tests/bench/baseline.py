"""What the node is measured against: the same daemons as one builds them with FastAPI, httpx and aiosqlite."""

import contextlib
import inspect
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiosqlite
import httpx
import structlog
import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from pydantic import BaseModel
from pydantic_settings import BaseSettings

NAMES = ("wallet", "tron", "payout")


class Settings(BaseSettings):
    """Settings as a daemon has them."""

    lucid_home: Path
    tron_network: str = "devnet"


def models(name: str) -> list[type[BaseModel]]:
    """The wire models of a service: the baseline serves the same ones."""
    module = __import__(f"services.{name}.api", fromlist=["api"])
    found = inspect.getmembers(module, inspect.isclass)
    return [kind for _, kind in found if issubclass(kind, BaseModel) and kind.__module__ == module.__name__]


def application(name: str, settings: Settings) -> FastAPI:
    """A daemon with a route for every model, a database, a metrics registry, and a client for each neighbour."""
    registry = CollectorRegistry()
    Counter("requests", "Requests.", registry=registry)
    Histogram("seconds", "Time.", registry=registry)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        path = settings.lucid_home / f"{name}.db"
        async with aiosqlite.connect(path) as connection, httpx.AsyncClient(verify=False) as client:
            await connection.execute("PRAGMA journal_mode = WAL")
            _app.state.client = client
            structlog.get_logger().info("ready")
            yield

    app = FastAPI(title=name, lifespan=lifespan)

    async def live() -> dict[str, str]:
        return {"status": "ok"}

    async def metrics() -> str:
        return generate_latest(registry).decode()

    app.add_api_route("/health/live", live)
    app.add_api_route("/metrics", metrics)
    for model in models(name):

        async def take(body: Any) -> Any:
            return body

        take.__annotations__["body"] = model
        app.add_api_route(f"/api/v1/tron/{model.__name__}", take, methods=["POST"], response_model=model)
    return app


def main(name: str, socket_path: str) -> None:
    """Serve one of them; each loads what its work takes."""
    if name == "wallet":
        import coincurve  # noqa: F401 - signs
        import mnemonic  # noqa: F401 - words
        from cryptography.hazmat.primitives.ciphers import aead  # noqa: F401 - seals
    if name == "tron":
        import tronpy  # noqa: F401 - reads the chain
    if name == "tor":
        import stem.control  # noqa: F401 - steers tor
    app = application(name, Settings(lucid_home=Path(socket_path).parent))
    uvicorn.run(app, uds=socket_path, log_level="warning", loop="uvloop", http="httptools", access_log=False)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
