"""tronweb, as it comes from the registry, on the devnet: pays, stakes, lends, votes, claims and shares an account."""

import asyncio
import json
from pathlib import Path
from typing import Any

from services.devnet.node import DevnetNode

HERE = Path(__file__).parent
TRX = 1_000_000


async def run(script: str, tronweb_dir: Path, url: str) -> Any:
    command = ("node", str(HERE / script), str(tronweb_dir), url)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return json.loads(out)


async def test_tronweb_pays_and_reads_back(node: DevnetNode, tronweb_dir: Path) -> None:
    found = await run("transfer.mjs", tronweb_dir, node.url)
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


def refused(words: str) -> dict[str, str]:
    return {"code": "CONTRACT_VALIDATE_ERROR", "message": f"Contract validate error : {words}"}


async def test_tronweb_stakes_votes_and_shares_an_account(node: DevnetNode, tronweb_dir: Path) -> None:
    found = await run("stakes.mjs", tronweb_dir, node.url)
    assert found["created"]["fee"] == 1_100_000
    # Staked.
    assert found["staked"] == [
        {"amount": 4_000 * TRX},
        {"type": "ENERGY", "amount": 6_000 * TRX},
        {"type": "TRON_POWER"},
    ]
    resources = found["resources"]
    assert resources["freeUnchanged"] is True
    # All there is belongs to the only staker.
    assert (resources["NetLimit"], resources["EnergyLimit"]) == (43_200_000_000, 50_000_000_000)
    assert (resources["TotalNetWeight"], resources["TotalEnergyWeight"]) == (4_000, 6_000)
    assert (resources["NetUsed"] > 0, resources["tronPowerLimit"]) == (True, 10_000)
    assert found["tooMuch"] == refused("frozenBalance must be less than or equal to accountBalance")
    # Voted and paid.
    assert [vote["vote_count"] for vote in found["votes"]] == [6_000, 1_000]
    assert found["tooManyVotes"] == refused(
        "The total number of votes[10001000000] is greater than the tronPower[10000000000]"
    )
    assert found["counted"] == 1_000 + 6_000
    assert found["claimed"] == found["reward"] > 0
    assert found["claimedTwice"]["message"].endswith(", less than 24 hours")
    # Lent and taken back.
    assert found["canLend"] == 6_000 * TRX
    assert [part["frozen_balance_for_energy"] for part in found["lent"]] == [1_000 * TRX, 500 * TRX]
    assert ["expire_time_for_energy" in part for part in found["lent"]] == [False, True]
    assert found["index"]["toAccounts"] == [found["lent"][0]["to"]]
    assert (found["lender"], found["borrower"], found["lentAfter"]) == (1_500 * TRX, 1_500 * TRX, {})
    assert found["locked"] == refused(
        f"insufficient delegateFrozenBalance(Energy), request={1_001 * TRX}, unlock_balance={1_000 * TRX}"
    )
    # Unstaked, twice.
    assert (found["unfreezing"], found["left"]) == ([["ENERGY", 100 * TRX]], 31)
    assert found["cancelled"] == [
        {"key": "ENERGY", "value": 100 * TRX},
        {"key": "TRON_POWER", "value": 0},
        {"key": "BANDWIDTH", "value": 0},
    ]
    # 7,000 votes do not rest on 5,000 TRX.
    assert found["shrunk"] == [4_285, 714]
    assert found["early"] == refused("no unFreeze balance to withdraw ")
    assert found["canWithdraw"] == found["withdrawn"] == 5_000 * TRX
    # Shared.
    assert found["permissions"] == 100 * TRX
    assert found["shown"] == {"owner": [2, 3], "active": [2, "pay"]}
    assert found["weighed"] == [1, "NOT_ENOUGH_PERMISSION", 1]
    assert (found["alone"]["code"], bytes.fromhex(found["alone"]["message"]).decode()) == (
        "SIGERROR",
        "Validate signature error: sig error",
    )
    assert found["enough"] == 2
    assert found["approved"] == found["approvedExpected"]
    assert found["together"] == {"result": True, "fee": TRX}
