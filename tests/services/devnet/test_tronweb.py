"""tronweb, as it comes from the registry, sends TRX on the devnet and reads it back."""

import asyncio
import json
from pathlib import Path
from typing import Any

from services.devnet.node import DevnetNode

SCRIPT = Path(__file__).parent / "transfer.mjs"


async def run(tronweb_dir: Path, url: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        "node", str(SCRIPT), str(tronweb_dir), url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return json.loads(out)


async def test_tronweb_pays_and_reads_back(node: DevnetNode, tronweb_dir: Path) -> None:
    found = await run(tronweb_dir, node.url)
    assert found["connected"] == {"fullNode": True, "solidityNode": True, "eventServer": True}
    assert found["temporary"] == [10_000_000_000] * 2
    assert found["sent"] == {"result": True, "same": True}
    assert found["again"]["code"] == "DUP_TRANSACTION_ERROR"
    # New account: a TRX and a tenth.
    assert found["unsolid"]["balance"] == 5_000_000
    assert found["unsolid"]["info"]["fee"] == 1_100_000
    assert found["unsolid"]["account"]["owner_permission"]["threshold"] == 1
    assert found["notYetSolid"] == {"balance": 0, "info": {}}
    assert found["solid"]["balance"] == 5_000_000
    assert found["solid"]["info"] == found["unsolid"]["info"]
    assert found["solid"]["transaction"]["ret"] == [{"contractRet": "SUCCESS"}]
    assert found["direct"] is True
    assert (found["hex"]["result"], found["hex"]["code"]) == (True, "SUCCESS")
    assert found["noted"]["fee"] == 1_000_000
    assert found["poor"]["code"] == "CONTRACT_VALIDATE_ERROR"
    assert found["forged"]["code"] == "SIGERROR"
    assert found["blocks"] == {
        "byNumber": True,
        "byHash": True,
        "range": 5,
        "count": 2,
        "confirmed": found["head"] - 18,
    }
    assert found["resources"]["freeNetLimit"] == 600
    assert 0 <= found["bandwidth"] < 600
    assert found["prices"] == ["0:1000", "0:100"]
    assert (found["parameters"], found["witnesses"], found["nodeInfo"]) == (73, 30, "4.8.0")
    assert (found["reward"], found["brokerage"]) == (0, 20)
    assert (found["weight"], found["approved"]) == (1, 1)
