"""tronweb, as it comes from the registry, with contracts of the devnet: USDT, and a token that it deploys itself."""

import asyncio
import json
from pathlib import Path
from typing import Any

from services.devnet.deployed import USDT
from services.devnet.node import DevnetNode

HERE = Path(__file__).parent
TOKEN = HERE.parents[2] / "services" / "devnet" / "tokens" / "PlainToken.json"


async def run(tronweb_dir: Path, url: str) -> Any:
    command = ("node", str(HERE / "tokens.mjs"), str(tronweb_dir), url, USDT.base58, str(TOKEN))
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return json.loads(out)


def done(*amounts: int, energy: int | None = None) -> dict[str, Any]:
    return {"result": "SUCCESS", "energy": energy, "failed": None, "message": None, "amounts": list(amounts)}


async def test_tronweb_sends_allows_takes_and_deploys(node: DevnetNode, tronweb_dir: Path) -> None:
    found = await run(tronweb_dir, node.url)

    def without_energy(name: str) -> dict[str, Any]:
        return {**found[name], "energy": None}

    reverted: dict[str, Any] = {
        "result": "REVERT",
        "energy": None,
        "failed": "FAILED",
        "message": "REVERT opcode executed",
        "amounts": [],
    }
    assert found["about"] == ["Tether USD", "USDT", 6]
    assert found["before"] == "1000000000"
    assert found["transfer"] == done(250_000_000, energy=29_383)
    assert found["between"] == ["750000000", "250000000"]
    assert without_energy("tooMuch") == reverted
    assert (found["starved"]["result"], found["starved"]["energy"]) == ("OUT_OF_ENERGY", 10)
    assert without_energy("approve") == done(70_000_000)
    assert without_energy("approveAgain") == reverted
    assert without_energy("taken") == done(30_000_000)
    assert found["allowance"] == "40000000"
    assert without_energy("tooMuchTaken") == reverted
    assert found["estimate"] == 21_575
    assert found["constant"] == [14_383, 64]
    assert found["local"] == done(5, energy=14_383)
    assert found["deployed"] == {
        "taken": True,
        "result": "SUCCESS",
        "same": True,
        "address": found["deployed"]["address"],
    }
    assert found["reason"] == "Error: REVERT opcode executed"
    assert without_energy("mine") == done(400)
    assert found["mineAfter"] == "400"
    assert found["contract"] == ["Mine", 100_000, 12]
    assert found["solid"] == found["transfer"]
    assert found["events"] == [["Transfer", "250000000"]]
