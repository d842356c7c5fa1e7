"""Activation and permissions: refusals in java-tron's order and words, effects, and multi-signature on a chain."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from services.devnet.chain import Chain
from services.devnet.genesis import KnownKey, witnesses
from services.devnet.incoming import Incoming
from services.devnet.parameters import AVAILABLE_OPERATIONS
from services.devnet.permissions import DEFAULT_OPERATIONS
from services.devnet.refusals import Refusal
from services.protocol.contracts import (
    AccountCreate,
    AccountPermissionUpdate,
    FreezeBalanceV2,
    Key,
    Permission,
    PermissionType,
    Resource,
    Transfer,
)
from services.protocol.signature import sign
from services.protocol.transaction import SignedTransaction

Keys = tuple[KnownKey, ...]
Build = Callable[..., Incoming]
TRX = 1_000_000
INVALID = "Contract validate error : "
INT64_MAX = (1 << 63) - 1


# --- activation ---


def test_activation_is_refused_in_java_trons_order(world: Any, accounts: Keys, strangers: Keys) -> None:
    def refusal(**values: Any) -> str:
        words: str = world.refusal(AccountCreate, **values)
        return words.removeprefix(INVALID)

    nobody = strangers[0].address
    owner, poor = world.add(accounts[0]), world.add(accounts[1], TRX - 1)
    assert refusal() == "Invalid ownerAddress"
    assert refusal(owner=nobody.raw) == f"Account[{nobody.hex}] not exists"
    assert refusal(owner=poor) == "Validate CreateAccountActuator error, insufficient fee."
    assert refusal(owner=owner) == "Invalid account address"
    assert refusal(owner=owner, account=poor) == "Account has existed"


def test_activation_burns_a_trx_and_gives_default_permissions(world: Any, accounts: Keys, strangers: Keys) -> None:
    owner, new = world.add(accounts[0], 5 * TRX), strangers[0].address.raw
    receipt = world.run(AccountCreate, owner=owner, account=new)
    assert receipt.contract_fee_sun == TRX
    assert world.account(owner).balance_sun == 4 * TRX
    account = world.account(new)
    assert (account.balance_sun, account.created_ms) == (0, world.context.head_ms)
    assert account.has_default_permissions
    assert not account.is_contract
    world.run(AccountCreate, owner=owner, account=strangers[1].address.raw, type=2)
    assert world.account(strangers[1].address.raw).is_contract


def test_activation_costs_a_tenth_of_a_trx_instead_of_free_bandwidth(
    chain: Chain, accounts: Keys, strangers: Keys, build: Build
) -> None:
    own, new = accounts[0], strangers[0].address
    transaction = build(chain, own, new, contract=AccountCreate(own.address, new))
    chain.submit(transaction)
    chain.produce()
    stored = chain.store.transaction(transaction.txid)
    assert stored is not None
    assert (stored.receipt.fee_sun, stored.receipt.net_fee_sun) == (1_100_000, 100_000)


# --- permissions ---


def permission(kind: int, *weights: tuple[bytes, int], **values: Any) -> dict[str, Any]:
    """A permission that is right but for what is given."""
    keys = [{"address": address, "weight": weight} for address, weight in weights]
    operations = AVAILABLE_OPERATIONS if kind == 2 else b""
    return {"type": kind, "threshold": 1, "keys": keys, "operations": operations} | values


def test_which_permissions_there_must_be(world: Any, accounts: Keys, strangers: Keys) -> None:
    def refusal(**values: Any) -> str:
        words: str = world.refusal(AccountPermissionUpdate, **values)
        return words.removeprefix(INVALID)

    owner, witness = world.add(accounts[0]), witnesses()[0].address.raw
    empty: dict[str, Any] = {}
    assert refusal() == "invalidate ownerAddress"
    assert refusal(owner=strangers[0].address.raw) == "ownerAddress account does not exist"
    assert refusal(owner=owner) == "owner permission is missed"
    assert refusal(owner=witness, owner_permission=empty) == "witness permission is missed"
    surplus = refusal(owner=owner, owner_permission=empty, witness_permission=empty)
    assert surplus == "account isn't witness can't set witness permission"
    assert refusal(owner=owner, owner_permission=empty) == "active permission is missed"
    assert refusal(owner=owner, owner_permission=empty, actives=[empty] * 9) == "active permission is too many"
    wrong = permission(2)
    assert refusal(owner=owner, owner_permission=wrong, actives=[empty]) == "owner permission type is error"
    right = permission(0, (owner, 1))
    assert refusal(owner=owner, owner_permission=right, actives=[empty]) == "active permission type is error"
    assert (
        refusal(owner=witness, owner_permission=right, witness_permission=right, actives=[empty])
        == "witness permission type is error"
    )


@pytest.mark.parametrize("kind", list(PermissionType))
def test_each_permission_is_checked_in_java_trons_order(
    world: Any, accounts: Keys, strangers: Keys, kind: PermissionType
) -> None:
    witness, a, b = witnesses()[0].address.raw, accounts[0].address.raw, accounts[1].address.raw
    right: dict[str, Any] = {
        "owner_permission": permission(0, (a, 1)),
        "witness_permission": permission(1, (a, 1)),
        "actives": [permission(2, (a, 1))],
    }

    def refusal(*weights: tuple[bytes, int], **values: Any) -> str:
        wrong = permission(kind, *weights, **values)
        parts: list[dict[str, Any]] = [
            {"owner_permission": wrong},
            {"witness_permission": wrong},
            {"actives": [wrong]},
        ]
        words: str = world.refusal(AccountPermissionUpdate, owner=witness, **(right | parts[kind]))
        return words.removeprefix(INVALID)

    zero = {"threshold": 0, "name": "n" * 33, "parent_id": 1}
    many = [(key.address.raw, 0) for key in strangers[:6]]
    assert refusal(*many, **zero) == "number of keys in permission should not be greater than 5"
    assert refusal(**zero) == "key's count should be greater than 0"
    if kind is PermissionType.Witness:
        assert refusal((a, 1), (b, 1), **zero) == "Witness permission's key count should be 1"
    assert refusal((b"", 0), **zero) == "permission's threshold should be greater than 0"
    assert refusal((b"", 0), **(zero | {"threshold": 1})) == "permission's name is too long"
    # A letter beyond the first plane counts twice in Java.
    assert refusal((b"", 0), threshold=1, name="𝕏" * 17) == "permission's name is too long"
    assert refusal((b"", 0), threshold=1, name="𝕏" * 16, parent_id=1) == "permission's parent should be owner"
    if kind is not PermissionType.Witness:
        assert refusal((a, 0), (a, 0)) == f"address should be distinct in permission {kind.name}"
        assert refusal((a, INT64_MAX), (b, 1)) == "long overflow"
    assert refusal((b"", 0)) == "key is not a validate address"
    assert refusal((a, 0)) == "key's weight should be greater than 0"
    short = f"sum of all key's weight should not be less than threshold in permission {kind.name}"
    assert refusal((a, 1), threshold=2) == short
    if kind is not PermissionType.Active:
        assert refusal((a, 1), operations=b"\x01") == f"{kind.name} permission needn't operations"
        return
    for operations in (b"", bytes(31), bytes(33)):
        assert refusal((a, 1), operations=operations) == "operations size must 32"
    for number in (7, 21, 40, 50, 60, 255):
        bits = bytearray(32)
        bits[number // 8] |= 1 << number % 8
        assert refusal((a, 1), operations=bytes(bits)) == f"{number} isn't a validate ContractType"


def test_the_fee_is_looked_for_when_everything_else_is_right(world: Any, accounts: Keys) -> None:
    owner = world.add(accounts[0], 100 * TRX - 1)
    right = {"owner_permission": permission(0, (owner, 1)), "actives": [permission(2, (owner, 1))]}
    assert world.refusal(AccountPermissionUpdate, owner=owner, **right) == (
        f"Contract execute error : {owner.hex()} insufficient balance, balance: 99999999, amount: 100000000"
    )
    world.state.change(owner).balance_sun += 1
    assert world.run(AccountPermissionUpdate, owner=owner, **right).contract_fee_sun == 100 * TRX
    assert world.account(owner).balance_sun == 0


def test_permissions_get_their_ids_from_the_network(world: Any, accounts: Keys) -> None:
    witness, a = witnesses()[0].address.raw, accounts[0].address.raw
    world.state.change(witness).balance_sun = 100 * TRX
    actives = [permission(2, (a, 1), id=77, name=name) for name in ("first", "second")]
    world.run(
        AccountPermissionUpdate,
        owner=witness,
        owner_permission=permission(0, (a, 3), id=9, threshold=2),
        witness_permission=permission(1, (a, 1)),
        actives=actives,
    )
    permissions = world.account(witness).permissions
    assert [active.id for active in permissions.actives] == [2, 3]
    assert [active.name for active in permissions.actives] == ["first", "second"]
    assert (permissions.owner.id, permissions.owner.threshold, permissions.owner.keys) == (0, 2, ((a, 3),))
    assert permissions.witness.id == 1


# --- multi-signature on a chain ---


def two_of_three(owner: KnownKey, keys: Keys, operations: bytes = DEFAULT_OPERATIONS) -> AccountPermissionUpdate:
    """Permissions of three keys, two of which have to sign."""
    three = tuple(Key(key.address, 1) for key in keys)
    return AccountPermissionUpdate(
        owner.address,
        Permission(PermissionType.Owner, "owner", 2, three),
        None,
        (Permission(PermissionType.Active, "pay", 2, three, operations),),
    )


def refused(chain: Chain, transaction: Incoming) -> str:
    with pytest.raises(Refusal) as caught:
        chain.submit(transaction)
    return caught.value.answer


@pytest.fixture
def shared(chain: Chain, accounts: Keys, build: Build) -> Chain:
    """A chain on which the first account belongs to three keys."""
    own = accounts[0]
    chain.submit(build(chain, own, own.address, contract=two_of_three(own, accounts[1:4])))
    chain.produce()
    return chain


def test_two_of_three_keys_pay_together(shared: Chain, accounts: Keys, build: Build) -> None:
    chain, (own, a, b, c, to) = shared, accounts[:5]
    for permission_id in (0, 2):
        alone = build(chain, own, to.address, 5, signers=(a,), permission_id=permission_id)
        assert refused(chain, alone) == "Validate signature error: sig error"
        twice = build(chain, own, to.address, 5, signers=(a, a), permission_id=permission_id)
        assert refused(chain, twice) == f"Validate signature error: {a.address.base58} has signed twice!"
        before = chain.pending.account(own.address.raw)
        together = build(chain, own, to.address, 5, signers=(c, b), permission_id=permission_id)
        chain.submit(together)
        chain.produce()
        stored, after = chain.store.transaction(together.txid), chain.pending.account(own.address.raw)
        assert stored is not None
        assert stored.receipt.multi_sign_fee_sun == TRX
        assert before is not None
        assert after is not None
        assert before.balance_sun - after.balance_sun == 5 + stored.receipt.fee_sun


def test_the_account_s_own_key_counts_no_more(shared: Chain, accounts: Keys, build: Build) -> None:
    own, a, to = accounts[0], accounts[1], accounts[4]
    answer = refused(shared, build(shared, own, to.address, 5, signers=(own, a)))
    assert answer.endswith(f"is signed by {own.address.base58} but it is not contained of permission.")
    wrong_id = build(shared, own, to.address, 5, signers=(a,), permission_id=3)
    assert refused(shared, wrong_id) == "Validate signature error: permission isn't exit"


def test_a_bitmap_says_what_an_active_permission_may_do(chain: Chain, accounts: Keys, build: Build) -> None:
    own, to = accounts[0], accounts[4]
    only_transfers = bytes([1 << Transfer.type_id]) + bytes(31)
    chain.submit(build(chain, own, own.address, contract=two_of_three(own, accounts[1:4], only_transfers)))
    chain.produce()
    signed = {"signers": accounts[1:3], "permission_id": 2}
    freeze = FreezeBalanceV2(own.address, TRX, Resource.ENERGY)
    denied = build(chain, own, to.address, contract=freeze, **signed)
    assert refused(chain, denied) == "Validate signature error: Permission denied"
    chain.submit(build(chain, own, to.address, 5, **signed))
    chain.submit(build(chain, own, to.address, contract=freeze, signers=accounts[1:3]))


def test_what_waits_with_too_few_signatures_for_new_permissions_is_dropped(
    chain: Chain, accounts: Keys, build: Build
) -> None:
    own, to = accounts[0], accounts[4]
    update = build(chain, own, own.address, contract=two_of_three(own, accounts[1:4]))
    transfer = build(chain, own, to.address, 5)
    chain.submit(transfer)
    chain.submit(update)
    # As if the update had come first: the block judges each by what stands when its turn comes.
    chain.pool = dict(reversed(chain.pool.items()))
    chain.produce()
    assert chain.store.has_transaction(update.txid)
    assert not chain.store.has_transaction(transfer.txid)


def test_nothing_of_an_account_stands_in_a_block_behind_an_update_of_its_permissions(
    chain: Chain, accounts: Keys, build: Build
) -> None:
    own, other, to = accounts[0], accounts[1], accounts[4]
    chain.produce()
    keys = (own, *accounts[2:4])
    update = two_of_three(own, keys)
    # One of its keys is enough for the owner permission.
    update = replace(update, owner_permission=replace(update.owner_permission, threshold=1))
    first, second, third = (build(chain, own, to.address, 5) for _ in range(3))
    elsewhere = build(chain, other, to.address, 5)
    for transaction in (first, build(chain, own, own.address, contract=update), second, third, elsewhere):
        chain.submit(transaction)
    block = chain.produce()
    assert [chain.store.has_transaction(each.txid) for each in (first, second, elsewhere)] == [True, False, True]
    assert list(chain.pool) == [second.txid, third.txid]
    assert block.transactions == 3
    chain.produce()
    assert chain.store.has_transaction(second.txid)
    assert chain.store.has_transaction(third.txid)


def test_unequal_weights(chain: Chain, accounts: Keys, build: Build) -> None:
    own, heavy, light, to = accounts[0], accounts[1], accounts[2], accounts[4]
    update = two_of_three(own, (heavy, light))
    keys = (Key(heavy.address, 2), Key(light.address, 1))
    update = replace(update, owner_permission=replace(update.owner_permission, keys=keys))
    chain.submit(build(chain, own, own.address, contract=update))
    chain.produce()
    chain.submit(build(chain, own, to.address, 5, signers=(heavy,)))
    assert refused(chain, build(chain, own, to.address, 6, signers=(light,))) == "Validate signature error: sig error"


def test_a_contract_that_is_said_to_be_another_has_no_owner_to_sign_for(
    chain: Chain, accounts: Keys, build: Build
) -> None:
    own, to = accounts[0], accounts[1]
    right = build(chain, own, to.address, 5)
    for name in (b"TransferContrast", b"VoteContract.Sun"):
        # Another name of the same length in the same place.
        raw = right.raw.replace(b"TransferContract", name)
        unsigned = Incoming.decode(SignedTransaction(raw, ()).encode())
        wrong = Incoming(unsigned.raw, (sign(unsigned.txid, own.private_key),), unsigned.fields)
        assert wrong.owner == b""
        assert refused(chain, wrong).endswith(
            f"is signed by {own.address.base58} but it is not contained of permission."
        )
