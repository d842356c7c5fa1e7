"""The calls that take a transaction: `broadcasttransaction`, `broadcasthex`, and their look-alikes that only check.

`broadcasttransaction` builds the transaction again from the JSON `raw_data` and looks at neither `txID` nor
`raw_data_hex`; `broadcasthex` takes the bytes. The message of the first is hex, that of the second plain text.
"""

from typing import Any

from services.devnet.answers import (
    JavaError,
    Json,
    null_pointer,
    permission_json,
    printed_transaction,
    shown_address,
    without_defaults,
)
from services.devnet.chain import Chain
from services.devnet.faults import FaultBoard, Kind
from services.devnet.incoming import Incoming
from services.devnet.permissions import OWNER_ID, Permission, check_operation, recover_signer, weigh
from services.devnet.processing import permissions_of
from services.devnet.refusals import (
    STOCK_MESSAGES,
    Code,
    Refusal,
    SignatureInvalid,
    SignatureTooShort,
    SignatureUnreadable,
)
from services.devnet.requests import Params, from_hex
from services.protocol.json import java_order, raw_from_json, transaction_to_json
from services.protocol.transaction import SignedTransaction
from services.protocol.wire import ProtocolError

_WORDS = {
    "Permission type is error": "Permission type is wrong!",
    "Permission denied": "Permission denied!",
}


class Broadcasts:
    """Takes transactions for one chain."""

    def __init__(self, chain: Chain, faults: FaultBoard) -> None:
        self._chain = chain
        self._faults = faults

    def from_json(self, params: Params, path: str, port: int | None) -> Json:
        """`broadcasttransaction`.

        Raises:
            JavaError: there is no transaction in the call.
        """
        transaction = transaction_of_json(params.values, visible=params.visible)
        code, message = self._take(transaction, path, port)
        answer = without_defaults({"result": code is Code.SUCCESS, "code": code.name if code else None})
        answer["txid"] = transaction.txid.hex()
        if message:
            answer["message"] = message if params.visible else message.encode().hex()
        return answer

    def from_hex(self, params: Params, path: str, port: int | None) -> Json:
        """`broadcasthex`.

        Raises:
            JavaError: the bytes are no transaction.
        """
        try:
            data = from_hex(params.text("transaction"))
        except ValueError as error:
            raise JavaError(
                "org.bouncycastle.util.encoders.DecoderException",
                "exception decoding Hex string: invalid characters encountered in Hex string",
            ) from error
        try:
            transaction = Incoming.decode(data)
        except ProtocolError as error:
            raise JavaError("com.google.protobuf.InvalidProtocolBufferException", str(error)) from error
        code, message = self._take(transaction, path, port)
        return {
            "result": code is Code.SUCCESS,
            "code": code.name,
            "txid": transaction.txid.hex(),
            "message": message,
            "transaction": printed_transaction(transaction),
        }

    def _take(self, transaction: Incoming, path: str, port: int | None) -> tuple[Code, str]:
        """Take it unless an injected fault answers first; returns the code and the message."""
        struck = self._faults.false_answer(path, port, transaction.raw)
        if struck is not None:
            kind, false_code = struck
            if kind is Kind.LAST_SLOT:
                self._chain.hold(transaction)
            return false_code, STOCK_MESSAGES[false_code]
        try:
            self._chain.submit(transaction)
        except Refusal as refusal:
            return refusal.code, refusal.answer
        return Code.SUCCESS, ""

    def sign_weight(self, params: Params) -> Json:
        """`getsignweight`: how far the signatures of a transaction reach.

        Raises:
            JavaError: there is no transaction in the call.
        """
        transaction = transaction_of_json(params.values, visible=params.visible)
        answer: Json = {"result": {}}
        try:
            self._weigh(transaction, answer, visible=params.visible)
        except SignatureTooShort as refusal:
            answer["result"] = {"code": "SIGNATURE_FORMAT_ERROR", "message": refusal.reason}
        except SignatureUnreadable as refusal:
            answer["result"] = {"code": "COMPUTE_ADDRESS_ERROR", "message": refusal.reason}
        except SignatureInvalid as refusal:
            answer["result"] = {"code": "PERMISSION_ERROR", "message": refusal.reason}
        answer["transaction"] = _extended(transaction, visible=params.visible)
        return _in_java_order(answer)

    def _weigh(self, transaction: Incoming, answer: Json, *, visible: bool) -> None:
        contract = transaction.contract
        if contract is None:
            answer["result"] = {"code": "OTHER_ERROR", "message": "Invalid transaction: no valid contract"}
            return
        account = self._chain.pending.account(transaction.owner)
        if account is None:
            raise SignatureInvalid("Account does not exist!")
        permission = permissions_of(transaction.owner, account).by_id(contract.permission_id)
        if permission is None:
            raise SignatureInvalid("Permission for this, does not exist!")
        if permission.id != OWNER_ID:
            _check_operation(permission, contract.type)
        answer["permission"] = _in_java_order(permission_json(permission, visible=visible))
        weight = 0
        if transaction.signatures:
            weight, signers = weigh(permission, transaction.txid, transaction.signatures)
            answer["approved_list"] = [shown_address(signer, visible=visible) for signer in signers]
            answer["current_weight"] = weight
        if weight < permission.threshold:
            answer["result"] = {"code": "NOT_ENOUGH_PERMISSION"}

    def approved_list(self, params: Params) -> Json:
        """`getapprovedlist`: who signed a transaction, whether they may or not.

        Raises:
            JavaError: there is no transaction in the call.
        """
        transaction = transaction_of_json(params.values, visible=params.visible)
        answer: Json = {"result": {}}
        if transaction.contract is None:
            answer["result"] = {"code": "OTHER_ERROR", "message": "Invalid transaction: no valid contract"}
        elif self._chain.pending.account(transaction.owner) is None:
            message = "class org.tron.core.exception.PermissionException : Account does not exist!"
            answer["result"] = {"code": "OTHER_ERROR", "message": message}
        else:
            try:
                signers = [recover_signer(transaction.txid, signature).raw for signature in transaction.signatures]
                if signers:
                    answer["approved_list"] = [shown_address(signer, visible=params.visible) for signer in signers]
            except SignatureTooShort as refusal:
                answer["result"] = {"code": "SIGNATURE_FORMAT_ERROR", "message": refusal.reason}
            except SignatureUnreadable as refusal:
                answer["result"] = {"code": "COMPUTE_ADDRESS_ERROR", "message": refusal.reason}
        answer["transaction"] = _extended(transaction, visible=params.visible)
        return _in_java_order(answer)


def _check_operation(permission: Permission, contract_type: int) -> None:
    """The check of a broadcast in the words of `getsignweight`, which java-tron has a second time."""
    try:
        check_operation(permission, contract_type)
    except SignatureInvalid as refusal:
        raise SignatureInvalid(_WORDS.get(refusal.reason, refusal.reason)) from refusal


def transaction_of_json(values: Any, *, visible: bool) -> Incoming:
    """The transaction of a JSON object, made from its `raw_data`; whatever contract makes no sense is left out.

    Raises:
        JavaError: there is no `raw_data`, or its own fields make no sense.
    """
    raw_data, signatures = values.get("raw_data"), values.get("signature") or []
    if not isinstance(raw_data, dict) or not isinstance(raw_data.get("contract"), list):
        raise null_pointer()
    try:
        signed = tuple(from_hex(signature) for signature in signatures)
        raw = raw_from_json(raw_data, visible).encode()
    except (ProtocolError, ValueError, TypeError, AttributeError) as error:
        return _without_contract(raw_data, signatures, error)
    return Incoming.decode(SignedTransaction(raw, signed).encode())


def _without_contract(raw_data: Json, signatures: Any, error: Exception) -> Incoming:
    """What java-tron makes of a transaction whose contract it could not read: one without a contract."""
    try:
        return Incoming.contractless(
            ref_block_bytes=from_hex(raw_data.get("ref_block_bytes", "")),
            ref_block_hash=from_hex(raw_data.get("ref_block_hash", "")),
            expiration_ms=int(raw_data.get("expiration", 0)),
            timestamp_ms=int(raw_data.get("timestamp", 0)),
            signatures=tuple(from_hex(signature) for signature in signatures),
        )
    except (ProtocolError, ValueError, TypeError, AttributeError):
        raise null_pointer() from error


def _extended(transaction: Incoming, *, visible: bool) -> Json:
    """A `TransactionExtention` around a transaction that is shown back to the caller."""
    try:
        shown = transaction_to_json(transaction.signed(), visible)
    except ProtocolError:
        shown = {"txID": transaction.txid.hex(), "raw_data": {}, "raw_data_hex": transaction.raw.hex()}
    return {"result": {"result": True}, "txid": transaction.txid.hex(), "transaction": shown}


def _in_java_order(message: Json) -> Json:
    return {key: message[key] for key in java_order(tuple(message))}
