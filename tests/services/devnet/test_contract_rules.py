"""Contract transactions in blocks: what is refused, what lands as failed, and who pays for the energy."""

from collections.abc import Callable

import pytest

from services.devnet import resources
from services.devnet.chain import Chain
from services.devnet.deployed import PLAIN_TOKEN, USDT, USDT_SUPPLY
from services.devnet.genesis import KnownKey, faucet
from services.devnet.incoming import Incoming
from services.devnet.receipt import Receipt
from services.devnet.refusals import Refusal
from services.devnet.state import Account
from services.devnet.tokens import token
from services.devnet.vm.machine import created_address
from services.devnet.vm.world import Heat, code_at, contract_at, heat_at
from services.protocol import abi
from services.protocol.address import Address
from services.protocol.contracts import (
    CreateSmartContract,
    FreezeBalanceV2,
    NewContract,
    Resource,
    Transfer,
    TriggerSmartContract,
)

Keys = tuple[KnownKey, ...]
Build = Callable[..., Incoming]
Call = Callable[..., Receipt]
TRX = 1_000_000
OLD, NEW = 14_383, 29_383
MILLION = 1_000_000 * TRX


def account(chain: Chain, key: KnownKey) -> Account:
    found = chain.pending.account(key.address.raw)
    assert found is not None
    return found


def funded(chain: Chain, call: Call, *holders: KnownKey) -> None:
    """Give each some USDT."""
    for holder in holders:
        call(chain, faucet(), USDT, abi.encode_transfer(holder.address, 1_000))


def stake(chain: Chain, build: Build, key: KnownKey, amount_sun: int) -> None:
    chain.submit(build(chain, key, USDT, contract=FreezeBalanceV2(key.address, amount_sun, Resource.ENERGY)))
    chain.produce()


def staked_energy(chain: Chain, key: KnownKey) -> int:
    return resources.limit(account(chain, key).energy, Resource.ENERGY, chain.pending.counters)


def refused(chain: Chain, transaction: Incoming) -> tuple[str, str]:
    before = chain.pending.counters
    with pytest.raises(Refusal) as caught:
        chain.submit(transaction)
    assert chain.pending.counters == before
    return caught.value.code.name, caught.value.answer


# --- what is refused ---


@pytest.mark.parametrize(
    ("contract", "fields", "message"),
    [
        (Address.from_evm(bytes(20)), {}, "No contract or not a smart contract"),
        (USDT, {"call_value_sun": -1}, "callValue must be >= 0"),
        (USDT, {"call_token_value": -1}, "tokenValue must be >= 0"),
        (USDT, {"token_id": 1_000_000}, "tokenId must be > 1000000"),
        (USDT, {"call_token_value": 5}, "invalid arguments with tokenValue = 5, tokenId = 0"),
        (USDT, {"call_token_value": 5, "token_id": 1_000_001}, "No asset !"),
        (
            USDT,
            {"call_value_sun": 2 * MILLION},
            "Validate InternalTransfer error, balance is not sufficient.",
        ),
    ],
)
def test_senseless_calls_are_refused(
    chain: Chain, build: Build, accounts: Keys, *, contract: Address, fields: dict[str, int], message: str
) -> None:
    trigger = TriggerSmartContract(accounts[0].address, contract, b"", **fields)
    expected = ("CONTRACT_VALIDATE_ERROR", f"Contract validate error : {message}")
    assert refused(chain, build(chain, accounts[0], USDT, contract=trigger, fee_limit_sun=TRX)) == expected


@pytest.mark.parametrize("fee_limit_sun", [-1, 15_000_000_001])
def test_fee_limits_have_limits(chain: Chain, build: Build, accounts: Keys, fee_limit_sun: int) -> None:
    trigger = TriggerSmartContract(accounts[0].address, USDT, b"")
    transaction = build(chain, accounts[0], USDT, contract=trigger, fee_limit_sun=fee_limit_sun)
    _, message = refused(chain, transaction)
    assert message == "Contract validate error : feeLimit must be >= 0 and <= 15000000000"


def test_accounts_that_are_not_activated_call_nothing(chain: Chain, build: Build, strangers: Keys) -> None:
    trigger = TriggerSmartContract(strangers[0].address, USDT, b"")
    code, message = refused(chain, build(chain, strangers[0], USDT, contract=trigger))
    assert code == "CONTRACT_VALIDATE_ERROR"
    assert message == f"Contract validate error : account [{strangers[0].address.base58}] does not exist"


def test_trx_is_not_transferred_to_contracts(chain: Chain, build: Build, accounts: Keys) -> None:
    transfer = build(chain, accounts[0], USDT, contract=Transfer(accounts[0].address, USDT, 5))
    assert refused(chain, transfer)[1] == "Contract validate error : Cannot transfer TRX to a smartContract."


# --- the bill ---


def test_energy_is_burnt_when_nothing_is_staked(chain: Chain, call: Call, accounts: Keys) -> None:
    one, two = accounts[:2]
    funded(chain, call, one)
    before = account(chain, one).balance_sun
    receipt = call(chain, one, USDT, abi.encode_transfer(two.address, 10))
    assert (receipt.energy_total, receipt.energy_fee_sun) == (NEW, NEW * 100)
    assert (receipt.energy_usage, receipt.origin_energy_usage, receipt.net_usage) == (0, 0, 345)
    assert receipt.fee_sun == NEW * 100
    assert before - account(chain, one).balance_sun == NEW * 100


def test_usdt_to_an_account_that_is_not_activated_does_not_activate_it(
    chain: Chain, call: Call, accounts: Keys, strangers: Keys
) -> None:
    funded(chain, call, accounts[0])
    receipt = call(chain, accounts[0], USDT, abi.encode_transfer(strangers[0].address, 10))
    assert (receipt.result, receipt.net_fee_sun) == ("SUCCESS", 0)
    assert chain.pending.account(strangers[0].address.raw) is None


def test_staked_energy_goes_first_and_recovers_in_a_day(chain: Chain, call: Call, build: Build, accounts: Keys) -> None:
    one, two = accounts[:2]
    funded(chain, call, one, two)
    stake(chain, build, one, 1_000 * TRX)
    # The only stake of the chain: all energy is its.
    assert staked_energy(chain, one) == 50_000_000_000
    receipt = call(chain, one, USDT, abi.encode_transfer(two.address, 10))
    assert (receipt.energy_usage, receipt.energy_fee_sun, receipt.fee_sun) == (OLD, 0, 0)
    used = account(chain, one).energy
    assert resources.used(used, chain.context.slot) == pytest.approx(OLD, abs=2)
    half_day, day = 14_400, 28_800
    assert resources.used(used, chain.context.slot + half_day) == pytest.approx(OLD / 2, abs=2)
    assert resources.used(used, chain.context.slot + day) == 0


def test_what_the_stake_does_not_cover_is_burnt(chain: Chain, call: Call, build: Build, accounts: Keys) -> None:
    one, two, whale = accounts[:3]
    funded(chain, call, one, two)
    stake(chain, build, whale, 999_900 * TRX)
    # 1 TRX of 999,901.
    stake(chain, build, one, TRX)
    left = staked_energy(chain, one)
    assert left == 50_004
    for _ in range(3):
        receipt = call(chain, one, USDT, abi.encode_transfer(two.address, 10))
        assert receipt.energy_fee_sun == 0
    receipt = call(chain, one, USDT, abi.encode_transfer(two.address, 10))
    assert 0 < receipt.energy_usage < OLD
    assert receipt.energy_usage + receipt.energy_fee_sun // 100 == receipt.energy_total == OLD
    # A block later little has recovered.
    assert receipt.energy_usage == pytest.approx(left - 3 * OLD, abs=10)


def test_the_fee_limit_caps_staked_energy_too(chain: Chain, call: Call, build: Build, accounts: Keys) -> None:
    one, two = accounts[:2]
    funded(chain, call, one, two)
    stake(chain, build, one, 1_000 * TRX)
    receipt = call(chain, one, USDT, abi.encode_transfer(two.address, 10), fee_limit_sun=1_000)
    assert (receipt.result, receipt.energy_total, receipt.energy_usage) == ("OUT_OF_ENERGY", 10, 10)
    assert receipt.fee_sun == 0
    assert receipt.message.startswith("Not enough energy for '")


def test_the_fee_limit_is_burnt_when_energy_runs_out(chain: Chain, call: Call, accounts: Keys) -> None:
    one, two = accounts[:2]
    funded(chain, call, one)
    before = account(chain, one).balance_sun
    limit_sun = (NEW - 1) * 100
    receipt = call(chain, one, USDT, abi.encode_transfer(two.address, 10), fee_limit_sun=limit_sun)
    assert (receipt.result, receipt.energy_total, receipt.fee_sun) == ("OUT_OF_ENERGY", NEW - 1, limit_sun)
    assert (receipt.logs, receipt.returned) == ((), "")
    assert before - account(chain, one).balance_sun == limit_sun
    assert call(chain, one, USDT, abi.encode_transfer(two.address, 10), fee_limit_sun=NEW * 100).result == "SUCCESS"


def test_a_fee_limit_of_nothing_gives_nothing(chain: Chain, call: Call, accounts: Keys) -> None:
    receipt = call(chain, accounts[0], USDT, abi.encode_transfer(accounts[1].address, 0), fee_limit_sun=0)
    assert (receipt.result, receipt.energy_total, receipt.fee_sun) == ("OUT_OF_ENERGY", 0, 0)


def test_a_small_balance_limits_energy_as_well(
    chain: Chain, call: Call, build: Build, accounts: Keys, strangers: Keys
) -> None:
    poor = strangers[0]
    funded(chain, call, poor)
    chain.submit(build(chain, accounts[0], poor.address, amount_sun=1_000_000))
    chain.produce()
    receipt = call(chain, poor, USDT, abi.encode_transfer(accounts[1].address, 10))
    assert (receipt.result, receipt.energy_total) == ("OUT_OF_ENERGY", 10_000)
    assert account(chain, poor).balance_sun == 0


def test_a_revert_costs_what_was_used(chain: Chain, call: Call, accounts: Keys) -> None:
    receipt = call(chain, accounts[0], USDT, abi.encode_transfer(accounts[1].address, 10))
    assert (receipt.result, receipt.message) == ("REVERT", "REVERT opcode executed")
    assert 1_000 < receipt.energy_total < 3_000
    assert receipt.fee_sun == receipt.energy_total * 100


def test_calls_in_one_block_see_each_other(chain: Chain, build: Build, call: Call, accounts: Keys) -> None:
    one, two, three = accounts[:3]
    funded(chain, call, one)
    transactions = [
        build(chain, sender, USDT, contract=TriggerSmartContract(sender.address, USDT, data), fee_limit_sun=10 * TRX)
        for sender, data in (
            (one, abi.encode_transfer(two.address, 1_000)),
            (two, abi.encode_transfer(three.address, 1_000)),
            (one, abi.encode_transfer(two.address, 1)),
        )
    ]
    for transaction in transactions:
        chain.submit(transaction)
    block = chain.produce()
    results = [stored.receipt.result for stored in chain.store.transactions_of(block.number)]
    assert results == ["SUCCESS", "SUCCESS", "REVERT"]


# --- the deployer's share ---


def deployed(chain: Chain, build: Build, deployer: KnownKey, percent: int, *, limit: int = 10_000_000) -> Address:
    """The plain token once more, of another deployer's, who owns all of it."""
    arguments = deployer.address.evm.rjust(32, b"\0") + (10**9).to_bytes(32)
    new = NewContract(
        deployer.address,
        token("PlainToken").bytecode + arguments,
        user_percent=percent,
        origin_energy_limit=limit,
        name="Another",
    )
    create = CreateSmartContract(deployer.address, new)
    transaction = build(chain, deployer, USDT, contract=create, fee_limit_sun=1_000 * TRX)
    chain.submit(transaction)
    chain.produce()
    stored = chain.store.transaction(transaction.txid)
    assert stored is not None
    assert stored.receipt.result == "SUCCESS"
    return Address(bytes.fromhex(stored.receipt.contract))


@pytest.mark.parametrize(
    ("percent", "limit", "share"),
    [(100, 10_000_000, 0.0), (30, 10_000_000, 0.7), (0, 10_000_000, 1.0), (0, 1_000, None)],
)
def test_the_deployer_pays_its_share_from_its_stake(
    chain: Chain, call: Call, build: Build, accounts: Keys, *, percent: int, limit: int, share: float | None
) -> None:
    deployer, user = accounts[:2]
    contract = deployed(chain, build, deployer, percent, limit=limit)
    call(chain, deployer, contract, abi.encode_transfer(user.address, 1_000))
    stake(chain, build, deployer, 1_000 * TRX)
    receipt = call(chain, user, contract, abi.encode_transfer(deployer.address, 1))
    expected = limit if share is None else int(receipt.energy_total * share)
    assert receipt.origin_energy_usage == expected
    assert receipt.energy_fee_sun == (receipt.energy_total - expected) * 100
    assert resources.used(account(chain, deployer).energy, chain.context.slot) == pytest.approx(expected, abs=2)


def test_a_deployer_without_stake_pays_nothing(chain: Chain, call: Call, build: Build, accounts: Keys) -> None:
    deployer, user = accounts[:2]
    contract = deployed(chain, build, deployer, 0)
    call(chain, deployer, contract, abi.encode_transfer(user.address, 1_000))
    receipt = call(chain, user, contract, abi.encode_transfer(deployer.address, 1))
    # Nobody pays for anything, so there is nothing to spend.
    assert (receipt.result, receipt.origin_energy_usage) == ("SUCCESS", 0)
    assert receipt.energy_fee_sun == receipt.energy_total * 100


# --- making contracts ---


def test_a_contract_is_made_where_its_transaction_says(chain: Chain, build: Build, accounts: Keys) -> None:
    deployer = accounts[0]
    before = account(chain, deployer).balance_sun
    address = deployed(chain, build, deployer, 40, limit=77)
    stored = chain.store.transactions_of(chain.head.number)[0]
    assert address.raw == created_address(bytes.fromhex(stored.signed.txid) + deployer.address.raw)
    contract = contract_at(chain.pending, address.raw)
    assert contract is not None
    assert (contract.name, contract.origin, contract.user_percent) == ("Another", deployer.address.raw, 40)
    assert contract.origin_energy_limit == 77
    runtime = code_at(chain.pending, address.raw)
    assert stored.receipt.returned == runtime.hex()
    assert code_at(chain.pending, PLAIN_TOKEN.raw) == runtime
    assert stored.receipt.energy_total > 200 * len(runtime)
    paid = stored.receipt.energy_fee_sun + stored.receipt.net_fee_sun
    assert before - account(chain, deployer).balance_sun == paid


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"origin": USDT}, "OwnerAddress is not equals OriginAddress"),
        ({"name": "x" * 33}, "contractName's length cannot be greater than 32"),
        ({"user_percent": 101}, "percent must be >= 0 and <= 100"),
        ({"call_value_sun": -1}, "callValue must be >= 0"),
        ({"origin_energy_limit": 0}, "The originEnergyLimit must be > 0"),
        ({"call_value_sun": 2 * MILLION}, "Validate InternalTransfer error, balance is not sufficient."),
    ],
)
def test_senseless_contracts_are_refused(
    chain: Chain, build: Build, accounts: Keys, changes: dict[str, object], message: str
) -> None:
    values: dict[str, object] = {"origin": accounts[0].address, "bytecode": b"\0", "origin_energy_limit": 1, **changes}
    create = CreateSmartContract(accounts[0].address, NewContract(**values))  # type: ignore[arg-type]
    expected = ("CONTRACT_VALIDATE_ERROR", f"Contract validate error : {message}")
    assert refused(chain, build(chain, accounts[0], USDT, contract=create)) == expected


def test_a_contract_that_cannot_be_made_costs_its_limit_and_is_not_there(
    chain: Chain, build: Build, accounts: Keys
) -> None:
    new = NewContract(accounts[0].address, b"\xfe", origin_energy_limit=1)
    create = CreateSmartContract(accounts[0].address, new)
    transaction = build(chain, accounts[0], USDT, contract=create, fee_limit_sun=TRX)
    chain.submit(transaction)
    chain.produce()
    stored = chain.store.transaction(transaction.txid)
    assert stored is not None
    receipt = stored.receipt
    assert (receipt.result, receipt.energy_fee_sun) == ("ILLEGAL_OPERATION", TRX)
    assert chain.pending.account(bytes.fromhex(receipt.contract)) is None


def test_a_contract_without_code_stumbles_as_java_tron_does(chain: Chain, build: Build, accounts: Keys) -> None:
    new = NewContract(accounts[0].address, b"\0", origin_energy_limit=1)
    transaction = build(chain, accounts[0], USDT, contract=CreateSmartContract(accounts[0].address, new))
    chain.submit(transaction)
    address = Address(created_address(transaction.txid + accounts[0].address.raw))
    trigger = TriggerSmartContract(accounts[0].address, address, b"")
    assert refused(chain, build(chain, accounts[0], USDT, contract=trigger)) == ("OTHER_ERROR", "Error: null")


def test_a_destroyed_contract_is_gone_when_its_block_is_there(
    chain: Chain, build: Build, call: Call, accounts: Keys
) -> None:
    # CALLER SUICIDE, and a constructor that returns it.
    new = NewContract(accounts[0].address, bytes.fromhex("6133ff6000526002601ef3"), origin_energy_limit=1)
    create = CreateSmartContract(accounts[0].address, new)
    transaction = build(chain, accounts[0], USDT, contract=create, fee_limit_sun=100 * TRX)
    chain.submit(transaction)
    chain.produce()
    address = Address(created_address(transaction.txid + accounts[0].address.raw))
    before = account(chain, accounts[0]).balance_sun
    receipt = call(chain, accounts[0], address, b"", value_sun=5)
    assert (receipt.result, receipt.energy_total) == ("SUCCESS", 2)
    assert [done[4] for done in receipt.internals] == ["suicide"]
    # The TRX that went along came back at once.
    assert account(chain, accounts[0]).balance_sun == before - receipt.fee_sun
    assert (chain.pending.account(address.raw), contract_at(chain.pending, address.raw)) == (None, None)
    assert chain.solid_state.account(address.raw) is None
    trigger = TriggerSmartContract(accounts[0].address, address, b"")
    _, message = refused(chain, build(chain, accounts[0], USDT, contract=trigger))
    assert message.endswith("No contract or not a smart contract")
    # As any address that nobody has activated.
    chain.submit(build(chain, accounts[0], address, amount_sun=7))
    chain.produce()
    found = chain.pending.account(address.raw)
    assert found is not None
    assert (found.balance_sun, found.is_contract) == (7, False)


# --- busy contracts ---


def next_period(chain: Chain) -> None:
    cycle = chain.pending.counters.cycle
    while chain.pending.counters.cycle == cycle:
        chain.produce()


def test_a_busy_contract_gets_dearer(make_chain: Callable[..., Chain], call: Call, accounts: Keys) -> None:
    chain = make_chain(dynamic_energy=True, dynamic_energy_threshold=20_000)
    one, two = accounts[:2]
    # What happens in the very first period is forgotten, as on any java-tron.
    next_period(chain)
    funded(chain, call, one, two)
    first = call(chain, one, USDT, abi.encode_transfer(two.address, 1))
    assert (first.energy_total, first.energy_penalty) == (OLD, 0)
    next_period(chain)
    dearer = call(chain, one, USDT, abi.encode_transfer(two.address, 1))
    # A fifth more, rounded down at each operation.
    assert 0.18 * OLD < dearer.energy_penalty < 0.2 * OLD
    assert dearer.energy_total == OLD + dearer.energy_penalty
    assert heat_at(chain.pending, USDT.raw) == Heat(OLD, 2_000, 2)


def test_a_penalty_can_be_set_and_is_in_the_next_block(
    make_chain: Callable[..., Chain], call: Call, accounts: Keys
) -> None:
    chain = make_chain(dynamic_energy=True)
    funded(chain, call, accounts[0], accounts[1])
    chain.set_energy_factor(USDT.raw, 34_000)
    receipt = call(chain, accounts[0], USDT, abi.encode_transfer(accounts[1].address, 1))
    # What mainnet asks: 4.4 times as much.
    assert receipt.energy_total == pytest.approx(4.4 * OLD, abs=600)
    assert receipt.energy_total - receipt.energy_penalty == OLD
    assert heat_at(chain.solid_state, USDT.raw).factor == 0
    # It is the chain's from then on.
    again = call(chain, accounts[0], USDT, abi.encode_transfer(accounts[1].address, 1))
    assert again.energy_total == receipt.energy_total


def test_without_the_setting_nothing_gets_dearer(chain: Chain, call: Call, accounts: Keys) -> None:
    chain.set_energy_factor(USDT.raw, 34_000)
    receipt = call(chain, faucet(), USDT, abi.encode_transfer(accounts[0].address, 1))
    assert (receipt.energy_total, receipt.energy_penalty) == (NEW, 0)


# --- history ---


def test_contracts_are_what_they_were_after_the_solid_block(chain: Chain, call: Call, accounts: Keys) -> None:
    call(chain, faucet(), USDT, abi.encode_transfer(accounts[0].address, 1_000))
    balance = keccak_slot(accounts[0].address)
    assert chain.pending.cell(balance) == (1_000).to_bytes(32)
    assert chain.solid_state.cell(balance) is None
    for _ in range(20):
        chain.produce()
    assert chain.solid_state.cell(balance) == (1_000).to_bytes(32)


def keccak_slot(holder: Address) -> bytes:
    """The cell of a USDT balance: `balances` stands in word 8."""
    word = abi.keccak256(holder.evm.rjust(32, b"\0") + (8).to_bytes(32))
    return b"storage:" + USDT.raw + word


def test_supply_is_there_in_a_new_chain(chain: Chain) -> None:
    assert chain.pending.cell(keccak_slot(faucet().address)) == USDT_SUPPLY.to_bytes(32)
