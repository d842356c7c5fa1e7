"""The real process on its real socket: it has no network, leaks no secret, and survives kill -9 without forgetting."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from openapi_spec_validator import validate

from services.kit.errors import Conflict, Forbidden, Invalid, Locked, LucidError, NotFound
from services.kit.peer import Role
from services.wallet.__main__ import build
from services.wallet.api import (
    CreateWallet,
    Freeze,
    ImportWallet,
    ShowWords,
    Sign,
    Unlock,
    WalletState,
    WatchWallet,
)
from services.wallet.settings import WalletSettings

if TYPE_CHECKING:
    from tests.services.wallet.conftest import Bytes, Daemon

CANARY_PASSPHRASE = "canary-passphrase-7c1e"
CANARY_GUESS = "canary-guess-93ab"
WORDS = "abandon " * 11 + "about"
KEY = "b5a4cea271ff424d7c31dc12a3e43e401df7a40d7412a15750f3f0b6b5449a28"
ADDRESS = "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH"
OTHER = "TSeJkUh4Qv67VNFwY8LaAxERygNdy6NQZK"


def body(kind: type[Any], **fields: Any) -> Any:
    return kind.model_validate(fields)


def importing(name: str = "hot", format_: str = "words", secret: str = WORDS) -> Any:
    return body(ImportWallet, name=name, passphrase=CANARY_PASSPHRASE, format=format_, secret=secret)


async def post(path: Path, route: str, content: str) -> str:
    """Send a body that no typed client would send; returns the whole answer."""
    reader, writer = await asyncio.open_unix_connection(path)
    data = content.encode()
    head = f"POST /api/v1/tron{route} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.decode()


async def test_wallet_from_words_to_signature_over_the_socket(real: Daemon, transfer: Bytes) -> None:
    await real.start()
    client = real.client
    made = await client.create(body(CreateWallet, name="fresh", passphrase=CANARY_PASSPHRASE, word_count=24))
    assert len(made.words) == 24
    assert (await client.words("fresh", body(ShowWords, passphrase=CANARY_PASSPHRASE))).words == made.words
    assert (await client.import_(importing())).address == ADDRESS
    await client.watch(WatchWallet(name="cold", address=OTHER))
    assert [wallet.name for wallet in (await client.list()).items] == ["cold", "fresh", "hot"]
    await client.unlock("hot", body(Unlock, passphrase=CANARY_PASSPHRASE))
    assert (await client.get("hot")).state is WalletState.ACTIVE
    signature = await client.sign("hot", transfer.sign("payout:P-1:1", 7))
    assert await client.sign("hot", transfer.sign("payout:P-1:1", 7)) == signature
    with pytest.raises(Conflict) as caught:
        await client.sign("hot", transfer.sign("payout:P-1:1", 8))
    assert caught.value.extra["txid"] == signature.txid
    assert (await client.void("hot", "payout:P-2:1")).state == "void"
    assert (await client.signer()).signed_today_sun == 7
    assert (await client.lock("hot")).state is WalletState.LOCKED
    assert (await client.lock_all()).unlocked == 0
    frozen = await client.freeze(Freeze(reason="drill"))
    assert frozen.frozen_by is not None
    assert "uid" in frozen.frozen_by
    with pytest.raises(Locked, match="drill"):
        await client.unlock("hot", body(Unlock, passphrase=CANARY_PASSPHRASE))
    assert not (await client.unfreeze()).frozen
    status = await client.status()
    assert (status.service, status.details["wallets"]) == ("wallet", 3)
    assert real.terminate() == 0


async def test_events_tell_every_change(shared: Daemon) -> None:
    heard: list[tuple[str, Any]] = []

    async def listen() -> None:
        async for event in shared.client.events():
            heard.append((event.name, json.loads(event.data)))  # noqa: PERF401 - it never ends

    listening = asyncio.create_task(listen())
    async with asyncio.timeout(10):
        while not heard:  # the first heartbeat: it listens
            await asyncio.sleep(0.01)
        await shared.client.import_(importing())
        await shared.client.unlock("hot", body(Unlock, passphrase=CANARY_PASSPHRASE, lease_s=1))
        while not any(name == "signer" and data["unlocked"] for name, data in heard):
            await asyncio.sleep(0.01)
        while [data["state"] for name, data in heard if name == "wallet"] != ["locked", "active", "locked"]:
            await asyncio.sleep(0.01)  # the lease of one second ends by itself
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening


async def test_no_secret_is_found_anywhere(real: Daemon, transfer: Bytes) -> None:
    real.environment["LUCID_LOG_LEVEL"] = "debug"
    await real.start()
    client, path = real.client, real.home / "run" / "wallet" / "wallet.sock"
    answers = []
    made = await client.create(body(CreateWallet, name="fresh", passphrase=CANARY_PASSPHRASE))
    await client.import_(importing())
    await client.import_(importing("raw", "private_key", "7" * 64))
    await client.unlock("hot", body(Unlock, passphrase=CANARY_PASSPHRASE))
    await client.words("hot", body(ShowWords, passphrase=CANARY_PASSPHRASE))
    await client.sign("hot", transfer.sign("k"))
    for attempt in (
        client.unlock("hot", body(Unlock, passphrase=CANARY_GUESS)),
        client.words("raw", body(ShowWords, passphrase=CANARY_PASSPHRASE)),
        client.words("hot", body(ShowWords, passphrase=CANARY_GUESS)),
        client.import_(importing()),
        client.import_(importing("bad", "words", WORDS.replace("about", "canaryword"))),
        client.import_(importing("bad", "private_key", KEY + "00")),
    ):
        with pytest.raises(LucidError) as caught:
            await attempt
        answers.append(json.dumps(caught.value.problem()))
    for route, content in (
        ("/wallets", f'{{"name": "x", "passphrase": ["{CANARY_PASSPHRASE}"]}}'),
        ("/wallets", f'{{"name": "x", "passphrase": "{CANARY_PASSPHRASE * 100}"}}'),
        ("/wallets", f'{{"name": "x", "passphrase": "{CANARY_PASSPHRASE}", "{CANARY_GUESS[:3]}": 1'),
        ("/wallets/hot/unlock", f'{{"passphrase": {{"a": "{CANARY_PASSPHRASE}"}}}}'),
        ("/wallets/import", f'{{"name": "X!", "passphrase": "{CANARY_PASSPHRASE}", "format": "words", "secret": 5}}'),
        ("/wallets/import", f'{{"name": "x", "passphrase": 1, "format": "{KEY}", "secret": ["{KEY}"]}}'),
        ("/wallets/hot/sign", f'{{"key": "k", "raw_data_hex": "{KEY.upper()}"}}'),
    ):
        answer = await post(path, route, content)
        assert " 4" in answer.split("\r\n")[0]
        answers.append(answer)
    answers.append((await client.status()).model_dump_json())
    await client.close()
    assert real.terminate() == 0
    files = {str(file): file.read_bytes() for file in real.home.rglob("*") if file.is_file()}
    assert {Path(name).name for name in files} >= {"wallet.log", "signer.db", "hot.json", "fresh.json"}
    assert b"wallet.wrong_passphrase" in files[str(real.log)]
    haystack = {**files, "answers": "\n".join(answers).encode()}
    canaries = [
        CANARY_PASSPHRASE.encode(),
        CANARY_GUESS.encode(),
        b"canaryword",
        b"abandon",
        " ".join(made.words[:3]).encode(),
        *(KEY.encode(), KEY.upper().encode(), bytes.fromhex(KEY), b"7" * 64, bytes([0x77]) * 32),
    ]
    found = [(name, canary) for name, data in haystack.items() for canary in canaries if canary in data]
    assert not found


async def test_memory_of_the_process_is_not_dumped(shared: Daemon) -> None:
    assert resource.prlimit(shared.pid, resource.RLIMIT_CORE) == (0, 0)


def test_hardened_process_cannot_be_dumped() -> None:
    script = "import ctypes; from services.wallet.hardening import harden; harden(); print(ctypes.CDLL(None).prctl(3))"
    assert _python(script) == "0"  # PR_GET_DUMPABLE


def test_nothing_that_reaches_a_network_is_imported() -> None:
    clients = {"aiohttp", "httpx", "httpcore", "requests", "urllib3", "tronpy", "socks", "stem", "websockets", "h2"}
    loaded = _python("import sys, services.wallet.__main__; print(*sys.modules)").split()
    assert "services.wallet.service" in loaded
    assert "services.wallet.client" not in loaded
    assert not clients & {name.partition(".")[0] for name in loaded}


def _python(script: str) -> str:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


async def test_process_has_no_socket_but_unix_ones(shared: Daemon) -> None:
    await shared.client.list()
    process = Path(f"/proc/{shared.pid}")
    inodes = {link.readlink().name for link in (process / "fd").iterdir() if link.readlink().name.startswith("socket:")}
    unix = {f"socket:[{line.split()[6]}]" for line in (process / "net" / "unix").read_text().splitlines()[1:]}
    assert inodes
    assert inodes <= unix


async def test_signature_that_was_given_is_remembered_after_kill_9(real: Daemon, transfer: Bytes) -> None:
    await real.start()
    await real.client.import_(importing())
    await real.client.unlock("hot", body(Unlock, passphrase=CANARY_PASSPHRASE))
    given = {}
    requests = {f"k{number}": transfer.sign(f"k{number}", number + 1) for number in range(40)}

    async def sign(request: Sign) -> None:
        given[request.key] = (await real.client.sign("hot", request)).txid
        if len(given) == 15:
            real.kill()  # the others are on their way

    await asyncio.gather(*(sign(request) for request in requests.values()), return_exceptions=True)
    assert len(given) >= 15
    await real.start()
    for key, txid in given.items():
        with pytest.raises(Conflict) as caught:
            await real.client.void("hot", key)
        assert caught.value.extra["txid"] == txid
    total = sum(int(key[1:]) + 1 for key in given)
    assert (await real.client.signer()).signed_today_sun >= total
    await real.client.unlock("hot", body(Unlock, passphrase=CANARY_PASSPHRASE))
    for key, request in requests.items():  # whatever the kill left half done is the same when it is done again
        assert given.setdefault(key, "") in {"", (await real.client.sign("hot", request)).txid}
    assert (await real.client.signer()).signed_today_sun == sum(range(1, 41))


async def test_killed_node_goes_on_signing_unattended(real: Daemon, transfer: Bytes) -> None:
    file = real.home / "passphrase"
    file.write_text(CANARY_PASSPHRASE)
    file.chmod(0o600)
    real.environment["WALLET_PASSPHRASE_FILE"] = str(file)
    await real.start()
    await real.client.import_(importing())
    before = await real.client.sign("hot", transfer.sign("k"))
    real.kill()
    await real.start()
    assert await real.client.sign("hot", transfer.sign("k")) == before


async def test_freeze_survives_kill_9(real: Daemon) -> None:
    await real.start()
    await real.client.freeze(Freeze(reason="drill"))
    real.kill()
    await real.start()
    assert (await real.client.signer()).frozen_reason == "drill"


@pytest.mark.parametrize(
    ("environment", "code", "words"),
    [
        ({"WALLET_PASSPHRASE_FILE": "/nonexistent"}, 1, "cannot be read"),
        ({"TRON_NETWORK": "nile", "WALLET_KDF_MEMORY_KIB": "64"}, 78, "for the devnet only"),
        ({"WALLET_MAX_TX_SUN": "lots"}, 78, "WALLET_MAX_TX_SUN"),
    ],
)
async def test_service_that_cannot_start_says_why(
    real: Daemon, environment: dict[str, str], code: int, words: str
) -> None:
    real.environment |= environment
    process = real.launch()
    assert await asyncio.to_thread(process.wait, 20) == code
    assert words in real.log.read_text()


async def test_stopping_by_signal_is_clean(real: Daemon) -> None:
    await real.start()
    assert real.process is not None
    real.process.send_signal(signal.SIGINT)
    assert real.process.wait(10) == 0
    assert not (real.home / "run" / "wallet" / "wallet.sock").exists()


async def test_bad_requests_name_the_field(shared: Daemon) -> None:
    with pytest.raises(NotFound, match="there is no wallet"):
        await shared.client.get("no-such")
    with pytest.raises(Invalid, match="sign key") as caught:
        await shared.client.void("hot", "payout:P-1#1")
    assert caught.value.fields[0][0] == "key"
    answer = await post(shared.home / "run/wallet/wallet.sock", "/wallets/watch", '{"name": "x", "address": "T123"}')
    assert '"field":"address"' in answer
    await shared.client.create(body(CreateWallet, name="sealed", passphrase=CANARY_PASSPHRASE))
    with pytest.raises(Forbidden) as refused:
        await shared.client.unlock("sealed", body(Unlock, passphrase="wrong"))
    assert refused.value.message == "the passphrase does not open sealed"


def test_reading_is_for_viewers_acting_for_operators_and_the_gravest_for_admins(tmp_path: Path) -> None:
    service = build(WalletSettings(tron_network="devnet", lucid_home=tmp_path))
    roles = {f"{row.method} {row.path.removeprefix('/api/v1/tron')}": row.role for row in service.endpoints}
    assert {row for row, role in roles.items() if role is Role.VIEWER} == {
        "GET /wallets",
        "GET /wallets/{name}",
        "GET /signer",
    }
    assert {row for row, role in roles.items() if role is Role.ADMIN} == {
        "POST /wallets/{name}/words",
        "POST /signer/unfreeze",
    }
    assert set(roles.values()) == {Role.VIEWER, Role.OPERATOR, Role.ADMIN}


async def test_openapi_document_is_valid_and_complete(shared: Daemon) -> None:
    reader, writer = await asyncio.open_unix_connection(shared.home / "run/wallet/wallet.sock")
    writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    document = json.loads((await reader.read()).partition(b"\r\n\r\n")[2])
    writer.close()
    await writer.wait_closed()
    validate(document)
    assert "/api/v1/tron/wallets/{name}/signatures/{key}/void" in document["paths"]
