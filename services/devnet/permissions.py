"""Who may sign for an account: permissions, their weights, and the check of a transaction's signatures.

An account that never set its permissions has two of its own key: `owner` (id 0), which may do everything, and
`active` (id 2), which may do the operations of its bitmap. A transaction names the permission it is signed with.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from services.devnet.parameters import MAX_SIGNATURES
from services.devnet.refusals import SignatureInvalid, SignatureTooShort, SignatureUnreadable
from services.protocol.address import Address
from services.protocol.signature import SIGNATURE_BYTES, recover
from services.protocol.wire import ProtocolError

OWNER_ID = 0
"""The permission that may do everything, change permissions included."""

WITNESS_ID = 1
"""The permission that signs blocks and nothing else."""

FIRST_ACTIVE_ID = 2
"""Ids from here on are active permissions."""

DEFAULT_OPERATIONS = bytes.fromhex("7fff1fc0033ef30f").ljust(32, b"\0")
"""Contract types that a default active permission may do: bit n of the bytes stands for type n. It is java-tron's
`ACTIVE_DEFAULT_OPERATIONS` with the types that the devnet's parameters switch on (48, 49 and 52 to 59)."""

_OPERATION_BYTES = 32
_JAVA_EXCEPTION = "java.security.SignatureException"


@dataclass(frozen=True, slots=True)
class Permission:
    """One permission of an account."""

    id: int
    """0 owner, 1 witness, 2 and more active."""

    name: str
    """What people call it."""

    threshold: int
    """The weight that signatures must reach together."""

    keys: tuple[tuple[bytes, int], ...]
    """Addresses and their weights."""

    operations: bytes = b""
    """For active permissions: the bitmap of contract types."""

    def weight(self, address: bytes) -> int:
        """The weight of a key, 0 if the permission does not hold it."""
        return next((weight for key, weight in self.keys if key == address), 0)

    def dump(self) -> list[Any]:
        """What the store keeps."""
        keys = [[key.hex(), weight] for key, weight in self.keys]
        return [self.id, self.name, self.threshold, keys, self.operations.hex()]

    @classmethod
    def load(cls, values: list[Any]) -> Self:
        """The permission that `dump` wrote."""
        number, name, threshold, keys, operations = values
        weighed = tuple((bytes.fromhex(key), weight) for key, weight in keys)
        return cls(number, name, threshold, weighed, bytes.fromhex(operations))


@dataclass(frozen=True, slots=True)
class Permissions:
    """All permissions of an account."""

    owner: Permission
    """Id 0."""

    witness: Permission | None
    """Id 1, for witnesses only."""

    actives: tuple[Permission, ...]
    """Ids from 2 on."""

    def by_id(self, permission_id: int) -> Permission | None:
        """The permission of that id, None if there is none."""
        known = (self.owner, *((self.witness,) if self.witness else ()), *self.actives)
        return next((permission for permission in known if permission.id == permission_id), None)

    def dump(self) -> dict[str, Any]:
        """What the store keeps."""
        return {
            "owner": self.owner.dump(),
            "witness": self.witness.dump() if self.witness else None,
            "actives": [active.dump() for active in self.actives],
        }

    @classmethod
    def load(cls, values: dict[str, Any]) -> Self:
        """The permissions that `dump` wrote."""
        witness = values["witness"]
        return cls(
            Permission.load(values["owner"]),
            Permission.load(witness) if witness else None,
            tuple(Permission.load(active) for active in values["actives"]),
        )


def default_permissions(address: bytes) -> Permissions:
    """The permissions that an account starts with: its own key, for everything."""
    keys = ((address, 1),)
    active = Permission(FIRST_ACTIVE_ID, "active", 1, keys, DEFAULT_OPERATIONS)
    return Permissions(Permission(OWNER_ID, "owner", 1, keys), None, (active,))


def check_signatures(
    permissions: Permissions, permission_id: int, contract_type: int, txid: bytes, signatures: Sequence[bytes]
) -> None:
    """Check that the signatures reach the threshold of the permission that the transaction names.

    Raises:
        SignatureInvalid: they do not; the reason is java-tron's.
    """
    if not signatures:
        raise SignatureInvalid("miss sig or contract")
    if len(signatures) > MAX_SIGNATURES:
        raise SignatureInvalid("too many signatures")
    permission = permissions.by_id(permission_id)
    if permission is None:
        raise SignatureInvalid("permission isn't exit")
    if permission_id != OWNER_ID:
        check_operation(permission, contract_type)
    weight, _ = weigh(permission, txid, signatures)
    if weight < permission.threshold:
        raise SignatureInvalid("sig error")


def check_operation(permission: Permission, contract_type: int) -> None:
    """Check that a permission other than the owner's may do contracts of that type.

    Raises:
        SignatureInvalid: it is not an active one, or its bitmap says no.
    """
    if permission.id < FIRST_ACTIVE_ID:
        raise SignatureInvalid("Permission type is error")
    if len(permission.operations) != _OPERATION_BYTES:
        raise SignatureInvalid("operations size must be 32")
    if not permission.operations[contract_type // 8] & 1 << contract_type % 8:
        raise SignatureInvalid("Permission denied")


def weigh(permission: Permission, txid: bytes, signatures: Sequence[bytes]) -> tuple[int, list[bytes]]:
    """The weight that signatures have together, and who signed, in their order.

    Raises:
        SignatureInvalid: more signatures than keys, a malformed one, a stranger's, or one key twice.
    """
    if len(signatures) > len(permission.keys):
        raise SignatureInvalid(
            f"Signature count is {len(signatures)} more than key counts of permission : {len(permission.keys)}"
        )
    total, signers = 0, list[bytes]()
    for signature in signatures:
        signer = recover_signer(txid, signature)
        weight = permission.weight(signer.raw)
        if weight == 0:
            raise SignatureInvalid(
                f"{signature.hex()} is signed by {signer.base58} but it is not contained of permission."
            )
        if signer.raw in signers:
            raise SignatureInvalid(f"{signer.base58} has signed twice!")
        signers.append(signer.raw)
        total += weight
    return total, signers


def recover_signer(txid: bytes, signature: bytes) -> Address:
    """Who signed a transaction id; bytes behind the 65th are ignored, as java-tron does.

    Raises:
        SignatureTooShort: fewer than 65 bytes.
        SignatureUnreadable: no key can be recovered.
    """
    if len(signature) < SIGNATURE_BYTES:
        raise SignatureTooShort(f"Signature size is {len(signature)}")
    # Java reads v as a signed byte and adds 27 to whatever is below that.
    v = signature[64] - 256 if signature[64] > 127 else signature[64]
    header = v + 27 if v < 27 else v
    if not 27 <= header <= 34:
        raise SignatureUnreadable(f"{_JAVA_EXCEPTION}: Header byte out of range: {header}")
    try:
        return recover(txid, signature[:64] + bytes([27 + (header - 27) % 4]))
    except ProtocolError as error:
        raise SignatureUnreadable(f"{_JAVA_EXCEPTION}: Could not recover public key from signature") from error
