"""What a node's answer to a broadcast says about the money, and what it does not.

No answer proves that a transaction is in a block, or that it never will be. The codes are those of
`Return.response_code` in java-tron's `api/api.proto`; when each is returned: `Wallet.broadcastTransaction`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from services.tron.node import NodeError, clean


class Reading(StrEnum):
    """What an answer means, in words for the operator."""

    POOLED = "that node holds it for a block; it is not paid yet"
    KNOWN = "that node has seen it before; neither paid nor dead"
    NOT_POOLED = "that node did not take it; the same bytes are sent again"
    AMBIGUOUS = "nobody knows whether that node took it; the same bytes are sent again"
    REFUSED = "that node refused this call; it says nothing about earlier sends"
    OPINION = "one node's opinion; only the death proof makes it final"

    @classmethod
    def _missing_(cls, _value: object) -> "Reading":
        """Words that another version stored decide nothing."""
        return cls.AMBIGUOUS

    @property
    def held(self) -> bool:
        """Whether that node most likely passes it on, so that it need not get it again at once.

        DUP is no such word: a node that remembers ids before it judges them says it of what it never passed on.
        """
        return self is Reading.POOLED

    @property
    def may_land(self) -> bool:
        """Whether that node may have passed it on; if not, it said why, and an operator should read that."""
        return self not in {Reading.REFUSED, Reading.OPINION}


READINGS = {
    "SUCCESS": Reading.POOLED,
    "DUP_TRANSACTION_ERROR": Reading.KNOWN,
    "SERVER_BUSY": Reading.NOT_POOLED,
    "NO_CONNECTION": Reading.NOT_POOLED,
    "BLOCK_UNSOLIDIFIED": Reading.NOT_POOLED,
    # Returned after the node pooled it (java-tron, `Wallet.broadcastTransaction`): it may be on its way.
    "NOT_ENOUGH_EFFECTIVE_CONNECTION": Reading.AMBIGUOUS,
    "OTHER_ERROR": Reading.AMBIGUOUS,
    "SIGERROR": Reading.REFUSED,
    "CONTRACT_VALIDATE_ERROR": Reading.REFUSED,
    "CONTRACT_EXE_ERROR": Reading.REFUSED,
    "BANDWITH_ERROR": Reading.REFUSED,
    "TOO_BIG_TRANSACTION_ERROR": Reading.REFUSED,
    "TAPOS_ERROR": Reading.OPINION,
    "TRANSACTION_EXPIRATION_ERROR": Reading.OPINION,
}
"""Every broadcast code with its reading; a code that is not here is ambiguous."""


def read_answer(answer: Mapping[str, Any], txid: str) -> tuple[str, str, Reading]:
    """Return code, message and reading of a JSON answer to `broadcasthex`.

    A code counts only as it stands; an answer without one, about another txid, or with a code that contradicts its
    `result` is ambiguous.
    """
    message = clean(_plain(answer.get("message", "")))
    accepted = answer.get("result") is True
    code = clean(answer.get("code", "SUCCESS" if accepted else "no code"))
    if answer.get("txid", txid) != txid:
        return code, "it answered about another transaction", Reading.AMBIGUOUS
    if accepted != (code == "SUCCESS"):
        return code, message, Reading.AMBIGUOUS
    return code, message, READINGS.get(code, Reading.AMBIGUOUS)


def read_failure(error: NodeError) -> tuple[str, str, Reading]:
    """Return code, message and reading of a broadcast that got no answer to read.

    Even a refused connection is ambiguous here: another try of the same call may have got through before.
    """
    return error.label, error.message, Reading.AMBIGUOUS


def _plain(message: object) -> str:
    """The JSON calls write the message in hex, `broadcasthex` writes it as it is."""
    text = str(message)
    try:
        return bytes.fromhex(text).decode() if text else text
    except ValueError:
        return text
