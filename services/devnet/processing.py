"""What a transaction has to pass, in the order in which java-tron asks (`Manager.processTransaction`)."""

from dataclasses import replace
from typing import Protocol

from services.devnet import bandwidth
from services.devnet.incoming import Incoming
from services.devnet.parameters import MEMO_FEE_SUN, MULTI_SIGN_FEE_SUN
from services.devnet.permissions import Permissions, check_signatures, default_permissions
from services.devnet.receipt import Receipt
from services.devnet.refusals import (
    ContractInvalid,
    Duplicate,
    Expired,
    OtherError,
    RefBlockUnknown,
    SignatureInvalid,
    TooBig,
)
from services.devnet.rules import Context, rule_for
from services.devnet.state import Account, State
from services.protocol.address import ADDRESS_BYTES, Address
from services.protocol.transaction import MAX_TRANSACTION_BYTES, RESULT_RESERVE_BYTES

MAX_LIFETIME_MS = 24 * 3600 * 1000
"""How far behind the head block an expiration may lie (java-tron, `MAXIMUM_TIME_UNTIL_EXPIRATION`)."""


class History(Protocol):
    """What the checks need to know about blocks and transactions so far."""

    def ref_hash(self, ref_block_bytes: bytes) -> bytes | None:
        """Bytes 8 to 16 of the id of the newest block whose number ends in those two bytes."""

    def has_transaction(self, txid: bytes) -> bool:
        """Whether a block or the pool holds it."""


def check_arrival(transaction: Incoming, state: State, context: Context) -> None:
    """The checks that a broadcast makes before anything of the chain's state is touched: slot and signatures.

    Raises:
        Refusal: one fails.
    """
    if transaction.contract is None:
        raise ContractInvalid("No contract!")
    check_next_slot(transaction, context)
    verify_signatures(transaction, state)


def process(transaction: Incoming, state: State, context: Context, history: History) -> Receipt:
    """Check a transaction and apply it to a layer of its own, which the caller drops when this raises.

    Raises:
        Refusal: the transaction cannot be part of the next block.
    """
    contracts = transaction.fields.contracts
    if len(contracts) != 1:
        raise OtherError(
            f"tx {transaction.txid.hex()} contract size should be exactly 1, this is extend feature ,actual :"
            f"{len(contracts)}"
        )
    _check_ref_block(transaction, history)
    _check_size(transaction)
    _check_expiration(transaction, context)
    if history.has_transaction(transaction.txid):
        raise Duplicate(f"dup trans : {transaction.txid.hex()}")
    receipt = _charge(transaction, state, context)
    contract = contracts[0]
    rule = rule_for(contract.type)
    context = replace(
        context, owner=transaction.owner, txid=transaction.txid, fee_limit_sun=transaction.fields.fee_limit_sun
    )
    rule.validate(state, contract.value, context)
    rule.execute(state, contract.value, context, receipt)
    return receipt


def check_next_slot(transaction: Incoming, context: Context) -> None:
    """Check that the transaction will still be valid in the next slot.

    Raises:
        Expired: it will not.
    """
    if transaction.fields.expiration_ms < context.next_slot_ms:
        raise Expired(
            f"Transaction expiration time is {transaction.fields.expiration_ms}, "
            f"but next slot time is {context.next_slot_ms}"
        )


def verify_signatures(transaction: Incoming, state: State) -> None:
    """Check the signatures against the permission that the transaction names.

    Raises:
        SignatureInvalid: they do not suffice.
    """
    contract = transaction.contract
    if contract is None:
        raise SignatureInvalid("miss sig or contract")
    permissions = permissions_of(transaction.owner, state.account(transaction.owner))
    check_signatures(permissions, contract.permission_id, contract.type, transaction.txid, transaction.signatures)


def permissions_of(address: bytes, account: Account | None) -> Permissions:
    """The permissions of an account; those of one that was never activated are the default ones.

    An account of block 0 or a contract has the default owner permission and no other.
    """
    if account is not None and account.permissions is not None:
        return account.permissions
    known = default_permissions(address)
    return known if account is None or account.has_default_permissions else replace(known, actives=())


def _check_ref_block(transaction: Incoming, history: History) -> None:
    fields = transaction.fields
    known = history.ref_hash(fields.ref_block_bytes)
    if known is None:
        raise RefBlockUnknown(f"Tapos failed, block not found, ref block {fields.ref_block_bytes.hex()}")
    if known != fields.ref_block_hash:
        raise RefBlockUnknown(f"Tapos failed, different block hash, {fields.ref_block_hash.hex()}, {known.hex()}")


def _check_size(transaction: Incoming) -> None:
    # Room for the result twice: once as bandwidth counts it, once for what the result may become.
    size = transaction.size + 2 * RESULT_RESERVE_BYTES
    if size > MAX_TRANSACTION_BYTES:
        raise TooBig(
            f"Too big transaction with result, TxId {transaction.txid.hex()}, the size is {size} bytes, "
            f"maxTxSize {MAX_TRANSACTION_BYTES}"
        )


def _check_expiration(transaction: Incoming, context: Context) -> None:
    if not context.head_ms < transaction.fields.expiration_ms <= context.head_ms + MAX_LIFETIME_MS:
        raise Expired(
            f"Transaction expiration, transaction expiration time is {transaction.fields.expiration_ms}, "
            f"but headBlockTime is {context.head_ms}"
        )


def _charge(transaction: Incoming, state: State, context: Context) -> Receipt:
    """Take bandwidth and flat fees from the owner: before the contract is validated, as java-tron does."""
    contract = transaction.contract
    if contract is None or state.account(transaction.owner) is None:
        raise ContractInvalid(f"account [{_shown(transaction.owner)}] does not exist")
    activates = rule_for(contract.type).activates(state, contract.value)
    signatures = len(transaction.signatures)
    receipt = bandwidth.charge(state, transaction, context, activates=activates)
    account = state.change(transaction.owner)
    if signatures > 1:
        bandwidth.burn_fee(state, account, MULTI_SIGN_FEE_SUN, "multiSign")
        receipt.multi_sign_fee_sun = MULTI_SIGN_FEE_SUN
    if transaction.fields.memo:
        bandwidth.burn_fee(state, account, MEMO_FEE_SUN, "memo fee")
        receipt.memo_fee_sun = MEMO_FEE_SUN
    return receipt


def _shown(address: bytes) -> str:
    return Address(address).base58 if len(address) == ADDRESS_BYTES and address[0] == 0x41 else address.hex()
