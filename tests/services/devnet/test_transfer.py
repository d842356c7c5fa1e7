"""TRX transfers: every rule with java-tron's words, and what an accepted one costs."""

from collections.abc import Callable

import pytest

from services.devnet.chain import Chain
from services.devnet.genesis import SUPPLY_SUN, KnownKey, faucet
from services.devnet.incoming import Incoming
from services.devnet.receipt import Receipt
from services.devnet.refusals import ContractInvalid
from services.devnet.rules import RULES, rule_for
from services.devnet.state import State
from services.protocol.address import Address

Keys = tuple[KnownKey, ...]
Build = Callable[..., Incoming]


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    value, out = value % (1 << 64), b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def transfer_bytes(owner: bytes, to: bytes, amount: int) -> bytes:
    """A TransferContract whose addresses may be anything."""
    out = b""
    for tag, part in ((0x0A, owner), (0x12, to)):
        if part:
            out += bytes([tag, len(part)]) + part
    return out + (b"\x18" + varint(amount) if amount else b"")


def refusal(chain: Chain, value: bytes) -> str:
    with pytest.raises(ContractInvalid) as caught:
        RULES[1].validate(State(chain.pending), value, chain.context)
    return caught.value.reason


def receipt_of(chain: Chain, transaction: Incoming) -> Receipt:
    stored = chain.store.transaction(transaction.txid)
    assert stored is not None
    return stored.receipt


def test_owner_must_be_an_address(chain: Chain, accounts: Keys) -> None:
    to = accounts[1].address.raw
    for owner in (b"", b"\x41" * 20, b"\x42" + bytes(20), b"\x41" * 22):
        assert refusal(chain, transfer_bytes(owner, to, 1)) == "Invalid ownerAddress!"


def test_receiver_must_be_an_address(chain: Chain, accounts: Keys) -> None:
    owner = accounts[0].address.raw
    for to in (b"", b"\x41" * 20, b"\xa0" + bytes(20)):
        assert refusal(chain, transfer_bytes(owner, to, 1)) == "Invalid toAddress!"


def test_nobody_pays_himself(chain: Chain, accounts: Keys) -> None:
    own = accounts[0].address.raw
    assert refusal(chain, transfer_bytes(own, own, 1)) == "Cannot transfer TRX to yourself."


def test_owner_must_exist(chain: Chain, accounts: Keys, strangers: Keys) -> None:
    value = transfer_bytes(strangers[0].address.raw, accounts[0].address.raw, 1)
    assert refusal(chain, value) == "Validate TransferContract error, no OwnerAccount."


@pytest.mark.parametrize("amount", [0, -1, -(1 << 63)])
def test_amount_must_be_positive(chain: Chain, accounts: Keys, amount: int) -> None:
    value = transfer_bytes(accounts[0].address.raw, accounts[1].address.raw, amount)
    assert refusal(chain, value) == "Amount must be greater than 0."


def test_balance_must_cover_the_amount(chain: Chain, accounts: Keys) -> None:
    account = chain.pending.account(accounts[0].address.raw)
    assert account is not None
    value = transfer_bytes(account.address, accounts[1].address.raw, account.balance_sun + 1)
    assert refusal(chain, value) == "Validate TransferContract error, balance is not sufficient."
    RULES[1].validate(
        State(chain.pending),
        transfer_bytes(account.address, accounts[1].address.raw, account.balance_sun),
        chain.context,
    )


def test_balance_must_cover_the_price_of_a_new_account_too(chain: Chain, accounts: Keys, strangers: Keys) -> None:
    account = chain.pending.account(accounts[0].address.raw)
    assert account is not None
    value = transfer_bytes(account.address, strangers[0].address.raw, account.balance_sun - 999_999)
    assert refusal(chain, value) == "Validate TransferContract error, balance is not sufficient."


def test_sums_do_not_overflow(chain: Chain, accounts: Keys, strangers: Keys) -> None:
    owner, huge = accounts[0].address.raw, (1 << 63) - 1
    assert refusal(chain, transfer_bytes(owner, strangers[0].address.raw, huge)) == "long overflow"
    state = State(chain.pending)
    state.change(accounts[1].address.raw).balance_sun = huge
    with pytest.raises(ContractInvalid, match="long overflow"):
        RULES[1].validate(state, transfer_bytes(owner, accounts[1].address.raw, 1), chain.context)


def test_bytes_that_are_no_transfer_are_refused(chain: Chain) -> None:
    refusal(chain, b"\x0a\xff")


def test_types_without_rules_are_named() -> None:
    with pytest.raises(ContractInvalid, match="contract type 77 is not carried out"):
        rule_for(77)


def test_a_transfer_on_free_bandwidth_costs_nothing(chain: Chain, accounts: Keys, build: Build) -> None:
    transaction = build(chain, accounts[0], accounts[1].address, 13)
    chain.submit(transaction)
    chain.produce()
    assert receipt_of(chain, transaction) == Receipt(net_usage=transaction.size + 64)
    sender, receiver = (chain.store.account(key.address.raw) for key in accounts[:2])
    assert sender is not None
    assert receiver is not None
    assert (sender.balance_sun, receiver.balance_sun) == (1_000_000_000_000 - 13, 1_000_000_000_000 + 13)


def test_activation_costs_a_trx_and_a_tenth_and_no_free_bandwidth(
    chain: Chain, accounts: Keys, strangers: Keys, build: Build
) -> None:
    transaction = build(chain, accounts[0], strangers[0].address, 5_000_000)
    head_ms = chain.head.time_ms
    chain.submit(transaction)
    chain.produce()
    receipt = receipt_of(chain, transaction)
    assert (receipt.fee_sun, receipt.net_fee_sun, receipt.net_usage) == (1_100_000, 100_000, 0)
    sender, created = chain.store.account(accounts[0].address.raw), chain.store.account(strangers[0].address.raw)
    assert sender is not None
    assert created is not None
    assert sender.balance_sun == 1_000_000_000_000 - 6_100_000
    assert sender.free_net_used == 0
    assert (created.balance_sun, created.created_ms, created.has_default_permissions) == (5_000_000, head_ms, True)


def test_memo_and_second_signature_cost_a_trx_each(chain: Chain, accounts: Keys, build: Build) -> None:
    transaction = build(chain, accounts[0], accounts[1].address, 1, memo=b"thanks")
    chain.submit(transaction)
    chain.produce()
    assert receipt_of(chain, transaction).fee_sun == 1_000_000
    assert chain.head.counters.burnt_sun == 11_000_000 + 1_000_000


def test_an_account_that_spends_everything_pays_bytes_with_free_bandwidth(
    chain: Chain, accounts: Keys, build: Build
) -> None:
    chain.submit(build(chain, accounts[0], accounts[1].address, 1_000_000_000_000))
    chain.produce()
    emptied = chain.store.account(accounts[0].address.raw)
    assert emptied is not None
    assert emptied.balance_sun == 0


def test_everything_there_is_adds_up(chain: Chain, accounts: Keys, strangers: Keys, build: Build) -> None:
    for key in strangers[:3]:
        chain.submit(build(chain, accounts[0], key.address, 3_000_000))
    chain.submit(build(chain, faucet(), Address.parse(accounts[2].address.base58), 1, memo=b"x"))
    chain.produce()
    assert chain.store.balances_sun() + chain.head.counters.burnt_sun == SUPPLY_SUN
