"""The chain: what a transaction has to bring to be taken, blocks and their headers, and what is solid."""

from collections.abc import Callable

import pytest

from services.devnet.chain import Chain, slot_of
from services.devnet.genesis import GENESIS, KnownKey, witnesses
from services.devnet.incoming import Incoming
from services.devnet.refusals import (
    Busy,
    ContractInvalid,
    Duplicate,
    DuplicateInCache,
    Expired,
    RefBlockUnknown,
    SignatureInvalid,
    TooBig,
)
from services.protocol.block import Block, merkle_root
from services.protocol.networks import NETWORKS
from services.protocol.transaction import ref_block

Keys = tuple[KnownKey, ...]
Build = Callable[..., Incoming]
SLOT_MS = 3_000
UNREADABLE = "java.security.SignatureException: Could not recover public key from signature"


def mine(chain: Chain, blocks: int) -> None:
    for _ in range(blocks):
        chain.produce()


def test_block_0_is_the_one_that_clients_pin(chain: Chain) -> None:
    first = chain.store.block(0)
    assert first is not None
    assert first.id.hex() == NETWORKS["devnet"].genesis_id
    assert first.id == GENESIS.block_id


# --- reference blocks ---


def test_any_of_the_last_blocks_can_be_referred_to(chain: Chain, accounts: Keys, build: Build) -> None:
    mine(chain, 5)
    for number in (0, 1, 4, 6):
        block = chain.store.block(number)
        assert block is not None
        ref_bytes, ref_hash = ref_block(number, block.id)
        chain.submit(build(chain, accounts[0], accounts[1].address, ref_block_bytes=ref_bytes, ref_block_hash=ref_hash))


def test_a_reference_to_another_chain_is_refused(chain: Chain, accounts: Keys, build: Build) -> None:
    for fields in (
        {"ref_block_hash": bytes(8)},
        {"ref_block_bytes": b"\x00\x02"},
        {"ref_block_bytes": b""},
        {"ref_block_bytes": b"\x00\x00\x00"},
    ):
        with pytest.raises(RefBlockUnknown) as caught:
            chain.submit(build(chain, accounts[0], accounts[1].address, **fields))
        assert caught.value.answer == "Tapos check error."


def test_a_reference_is_to_the_newest_block_with_those_bytes(chain: Chain) -> None:
    def known(number: int) -> bool:
        block = chain.store.block(number)
        return block is not None and chain.ref_hash((number & 0xFFFF).to_bytes(2)) == block.id[8:16]

    mine(chain, 10)
    head = chain.head
    # As if the chain were 65,536 blocks long: its first blocks are out of the window.
    chain._head = type(head)(**{name: getattr(head, name) for name in head.__slots__} | {"number": 65_536 + 4})
    assert known(5)
    assert not known(4)
    assert chain.ref_hash(b"\x00\x04") is None


# --- expiration ---


@pytest.mark.parametrize(
    ("after_head_ms", "is_taken"),
    [
        (0, False),
        (SLOT_MS - 1, False),
        (SLOT_MS, True),
        (86_400_000, True),
        (86_400_001, False),
        (-1, False),
    ],
)
def test_expiration_reaches_the_next_slot_and_not_beyond_a_day(
    chain: Chain, accounts: Keys, build: Build, after_head_ms: int, is_taken: bool
) -> None:
    chain.produce()
    transaction = build(chain, accounts[0], accounts[1].address, expiration_ms=chain.head.time_ms + after_head_ms)
    if is_taken:
        chain.submit(transaction)
        chain.produce()
        assert chain.store.has_transaction(transaction.txid)
    else:
        with pytest.raises(Expired) as caught:
            chain.submit(transaction)
        assert caught.value.answer == "Transaction expired"


def test_a_transaction_gets_into_the_last_block_that_may_take_it_and_into_none_after(
    chain: Chain, accounts: Keys, build: Build
) -> None:
    chain.produce()
    expiration_ms = chain.head.time_ms + 3 * SLOT_MS
    early = build(chain, accounts[0], accounts[1].address, expiration_ms=expiration_ms)
    mine(chain, 2)
    assert chain.head.time_ms == expiration_ms - SLOT_MS
    chain.submit(early)
    chain.produce()
    assert chain.head.time_ms == expiration_ms
    assert chain.store.has_transaction(early.txid)
    late = build(chain, accounts[0], accounts[1].address, expiration_ms=expiration_ms)
    with pytest.raises(Expired):
        chain.submit(late)


def test_chain_time_and_not_the_clock_decides_about_expiration(
    chain: Chain, accounts: Keys, build: Build, advance: Callable[[float], None]
) -> None:
    chain.produce()
    transaction = build(chain, accounts[0], accounts[1].address, expiration_ms=chain.head.time_ms + SLOT_MS)
    advance(3_600)
    chain.submit(transaction)
    block = chain.produce()
    # The block after a pause stands in the current slot; what was valid after the block before may be in it.
    assert block.time_ms > transaction.fields.expiration_ms
    assert chain.store.has_transaction(transaction.txid)


# --- duplicates, sizes, pool ---


def test_the_same_transaction_is_taken_once(chain: Chain, accounts: Keys, build: Build) -> None:
    transaction = build(chain, accounts[0], accounts[1].address)
    chain.submit(transaction)
    with pytest.raises(Duplicate) as pooled:
        chain.submit(transaction)
    chain.produce()
    with pytest.raises(Duplicate):
        chain.submit(transaction)
    assert pooled.value.answer == "Dup transaction."


def test_an_expired_one_that_is_in_a_block_is_called_expired(chain: Chain, accounts: Keys, build: Build) -> None:
    chain.produce()
    transaction = build(chain, accounts[0], accounts[1].address, expiration_ms=chain.head.time_ms + SLOT_MS)
    chain.submit(transaction)
    mine(chain, 2)
    with pytest.raises(Expired):
        chain.submit(transaction)


def test_with_the_cache_a_refused_transaction_is_a_duplicate_for_ever(
    make_chain: Callable[..., Chain], accounts: Keys, build: Build
) -> None:
    chain = make_chain(tx_cache=True)
    transaction = build(chain, accounts[0], accounts[1].address, 1 << 60)
    with pytest.raises(ContractInvalid):
        chain.submit(transaction)
    with pytest.raises(DuplicateInCache) as caught:
        chain.submit(transaction)
    assert caught.value.answer == "Transaction already exists."


def test_a_full_pool_is_busy(make_chain: Callable[..., Chain], accounts: Keys, build: Build) -> None:
    # Ten places: the funding of the ten test accounts needs them in block 1.
    chain = make_chain(pool_size=10)
    for _ in range(10):
        chain.submit(build(chain, accounts[0], accounts[1].address))
    transaction = build(chain, accounts[0], accounts[1].address)
    with pytest.raises(Busy) as caught:
        chain.submit(transaction)
    assert caught.value.answer == "Server busy."
    chain.produce()
    chain.submit(transaction)


def test_a_transaction_of_half_a_megabyte_is_too_big(chain: Chain, accounts: Keys, build: Build) -> None:
    overhead = build(chain, accounts[0], accounts[1].address, memo=b"m" * 100_000).size - 100_000
    largest = 512_000 - 128 - overhead
    chain.submit(build(chain, accounts[0], accounts[1].address, memo=b"m" * largest))
    with pytest.raises(TooBig, match=r"the size is 512001 bytes, maxTxSize 512000"):
        chain.submit(build(chain, accounts[0], accounts[1].address, memo=b"m" * (largest + 1)))


def test_what_does_not_fit_into_a_block_goes_into_the_next(
    chain: Chain, accounts: Keys, build: Build, advance: Callable[[float], None]
) -> None:
    sent = [build(chain, accounts[0], accounts[1].address, memo=bytes([n]) * 450_000) for n in range(1, 7)]
    for transaction in sent:
        chain.submit(transaction)
    assert chain.produce().transactions == 4
    assert len(chain.pool) == 2
    assert chain.produce().transactions == 2
    # And is dropped when it has waited for a minute.
    for n in range(7, 12):
        chain.submit(build(chain, accounts[0], accounts[1].address, memo=bytes([n]) * 450_000))
    advance(61)
    assert chain.produce().transactions == 4
    assert not chain.pool


def test_a_refused_transaction_changes_nothing(chain: Chain, accounts: Keys, build: Build) -> None:
    before = chain.pending.account(accounts[0].address.raw)
    with pytest.raises(ContractInvalid):
        chain.submit(build(chain, accounts[0], accounts[1].address, 1 << 60, memo=b"fee"))
    assert chain.pending.account(accounts[0].address.raw) == before
    assert chain.pending.counters == chain.head.counters


def test_what_is_in_the_pool_counts_for_the_next_transaction(chain: Chain, accounts: Keys, build: Build) -> None:
    chain.submit(build(chain, accounts[0], accounts[1].address, 600_000_000_000))
    with pytest.raises(ContractInvalid, match="balance is not sufficient"):
        chain.submit(build(chain, accounts[0], accounts[2].address, 600_000_000_000))
    chain.submit(build(chain, accounts[1], accounts[2].address, 1_600_000_000_000))
    assert chain.produce().transactions == 2


# --- signatures ---


def test_only_the_owner_signs(chain: Chain, accounts: Keys, build: Build) -> None:
    own, other, to = accounts[0], accounts[1], accounts[2].address
    for signers, reason in (
        ((), "miss sig or contract"),
        ((other,), "is signed by"),
        ((own, own), "Signature count is 2 more than key counts of permission : 1"),
        ((own,) * 6, "too many signatures"),
    ):
        with pytest.raises(SignatureInvalid, match=reason):
            chain.submit(build(chain, own, to, signers=signers))


def test_a_signature_for_other_bytes_is_refused(chain: Chain, accounts: Keys, build: Build) -> None:
    one, two = (build(chain, accounts[0], accounts[1].address, amount) for amount in (1, 2))
    with pytest.raises(SignatureInvalid):
        chain.submit(Incoming(one.raw, two.signatures, one.fields))


@pytest.mark.parametrize(
    ("signature", "answer"),
    [
        (b"\x11" * 65, "Validate signature error: java.security.SignatureException: Header byte out of range: 44"),
        (b"\x11" * 64, "Validate signature error: Signature size is 64"),
        (b"\xff" * 64 + b"\x1b", f"Validate signature error: {UNREADABLE}"),
        (b"\x11" * 64 + b"\x1d", f"Validate signature error: {UNREADABLE}"),
    ],
)
def test_a_malformed_signature_is_named(
    chain: Chain, accounts: Keys, build: Build, signature: bytes, answer: str
) -> None:
    transaction = build(chain, accounts[0], accounts[1].address)
    with pytest.raises(SignatureInvalid) as caught:
        chain.submit(Incoming(transaction.raw, (signature,), transaction.fields))
    assert caught.value.answer == answer


def test_v_of_0_or_27_and_bytes_behind_it_make_no_difference(chain: Chain, accounts: Keys, build: Build) -> None:
    for shift in (-27, 0, 4):
        transaction = build(chain, accounts[0], accounts[1].address)
        (signature,) = transaction.signatures
        changed = signature[:64] + bytes([signature[64] + shift]) + b"behind"
        chain.submit(Incoming(transaction.raw, (changed,), transaction.fields))


def test_the_default_active_permission_may_transfer_and_others_are_not_there(
    chain: Chain, accounts: Keys, build: Build
) -> None:
    chain.submit(build(chain, accounts[0], accounts[1].address, permission_id=2))
    with pytest.raises(SignatureInvalid, match="permission isn't exit"):
        chain.submit(build(chain, accounts[0], accounts[1].address, permission_id=3))


def test_an_account_that_was_never_activated_owns_nothing_to_send(
    chain: Chain, accounts: Keys, strangers: Keys, build: Build
) -> None:
    with pytest.raises(ContractInvalid) as caught:
        chain.submit(build(chain, strangers[0], accounts[1].address))
    assert caught.value.answer == f"Contract validate error : account [{strangers[0].address}] does not exist"


# --- blocks ---


def test_a_block_is_signed_by_the_witness_of_its_slot(chain: Chain) -> None:
    mine(chain, 30)
    made = chain.store.blocks(2, 29)
    assert len({block.header.witness_address for block in made}) == 27
    order = [witness.address.raw for witness in witnesses()]
    for block in made:
        assert block.header.witness_address == order[slot_of(block.time_ms) % 27]
        assert Block(block.header, (), block.signature).signer.raw == block.header.witness_address
        assert block.signature[64] in {0, 1}


def test_a_block_names_its_parent_its_transactions_and_its_time(chain: Chain, accounts: Keys, build: Build) -> None:
    parent = chain.head
    for _ in range(3):
        chain.submit(build(chain, accounts[0], accounts[1].address))
    block = chain.produce()
    full = chain.store.full_block(block)
    assert block.header.parent_hash == parent.id
    assert block.header.tx_trie_root == merkle_root(full.transactions)
    assert block.id == full.block_id == block.number.to_bytes(8) + block.header.hash[8:]
    assert [transaction.result.name for transaction in full.transactions] == ["SUCCESS"] * 3
    assert chain.produce().header.tx_trie_root == bytes(32)


def test_blocks_stand_on_slots_and_never_go_back(chain: Chain, advance: Callable[[float], None]) -> None:
    start_ms = chain.produce().time_ms
    advance(13)
    assert chain.produce().time_ms == start_ms + 9_000
    assert chain.produce().time_ms == start_ms + 12_000
    assert chain.produce().time_ms == start_ms + 15_000
    advance(100)
    assert chain.produce().time_ms == start_ms + 108_000
    advance(-1_000)
    assert chain.produce().time_ms == start_ms + 111_000


def test_solid_is_so_many_blocks_behind_and_begins_at_0(make_chain: Callable[..., Chain]) -> None:
    for lag in (0, 3, 18):
        chain = make_chain(solid_lag=lag)
        for _ in range(25):
            chain.produce()
            assert chain.solid.number == max(0, chain.head.number - lag)


def test_solid_state_shows_balances_as_of_the_solid_block(
    make_chain: Callable[..., Chain], accounts: Keys, strangers: Keys, build: Build
) -> None:
    chain = make_chain(solid_lag=5)
    mine(chain, 5)
    payer, new = accounts[0].address.raw, strangers[0].address.raw
    chain.submit(build(chain, accounts[0], strangers[0].address, 7_000_000))
    chain.produce()
    for _ in range(4):
        solid = chain.solid_state
        before = solid.account(payer)
        assert before is not None
        assert before.balance_sun == 1_000_000_000_000
        assert solid.account(new) is None
        assert solid.counters.burnt_sun == 11_000_000
        chain.produce()
    chain.produce()
    after = chain.solid_state.account(new)
    assert after is not None
    assert after.balance_sun == 7_000_000
    assert chain.solid_state.counters.burnt_sun == 12_100_000
