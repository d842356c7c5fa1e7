"""Signatures: made, recovered, and refused."""

from contextlib import suppress

import pytest
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tronpy.keys import PrivateKey as TronpyKey
from tronpy.keys import Signature

from services.protocol.signature import public_address, recover, sign
from services.protocol.wire import ProtocolError

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
KEY = bytes(31) + b"\x01"

keys = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32))
hashes = st.binary(min_size=32, max_size=32)


@given(keys, hashes)
def test_whoever_signed_is_recovered(key: bytes, txid: bytes) -> None:
    signature = sign(txid, key)
    assert len(signature) == 65
    assert signature[-1] in (27, 28)
    assert recover(txid, signature) == public_address(key)
    # Deterministic, and in the lower half of the curve's order, as every careful verifier wants it.
    assert signature == sign(txid, PrivateKey(key))
    assert int.from_bytes(signature[32:64]) <= ORDER // 2


@given(keys, hashes)
def test_tronpy_agrees_in_both_directions(key: bytes, txid: bytes) -> None:
    theirs = TronpyKey(key).sign_msg_hash(txid)
    assert recover(txid, bytes.fromhex(theirs.hex())) == public_address(key)
    ours = sign(txid, key)
    recovered = Signature(ours[:64] + bytes([ours[64] - 27])).recover_public_key_from_msg_hash(txid)
    assert recovered.to_base58check_address() == public_address(key).base58


def test_v_counts_from_0_or_from_27() -> None:
    signature = sign(bytes(32), KEY)
    assert recover(bytes(32), signature[:-1] + bytes([signature[-1] - 27])) == public_address(KEY)


@pytest.mark.parametrize("v", [2, 3, 26, 29, 44, 255])
def test_other_v_are_refused(v: int) -> None:
    with pytest.raises(ProtocolError, match=f"last byte is {v}"):
        recover(bytes(32), sign(bytes(32), KEY)[:-1] + bytes([v]))


@pytest.mark.parametrize("length", [0, 64, 66])
def test_a_signature_has_65_bytes(length: int) -> None:
    with pytest.raises(ProtocolError, match="65 bytes"):
        recover(bytes(32), bytes(length))


@given(st.binary(min_size=64, max_size=64), hashes)
def test_any_65_bytes_give_an_address_or_a_protocol_error(body: bytes, txid: bytes) -> None:
    with suppress(ProtocolError):
        recover(txid, body + b"\x1b")


@pytest.mark.parametrize("zeroed", [slice(0, 32), slice(32, 64)])
def test_r_or_s_of_zero_is_refused(zeroed: slice) -> None:
    signature = bytearray(sign(bytes(32), KEY))
    signature[zeroed] = bytes(32)
    with pytest.raises(ProtocolError, match="no key"):
        recover(bytes(32), bytes(signature))


@pytest.mark.parametrize("key", [b"", b"\x01", KEY[1:], KEY + b"\x00"])
def test_a_key_of_another_length_is_refused(key: bytes) -> None:
    with pytest.raises(ProtocolError, match="32 bytes"):
        sign(bytes(32), key)


@pytest.mark.parametrize("number", [0, ORDER, ORDER + 5])
def test_a_number_that_is_no_key_is_refused_and_not_repeated(number: int) -> None:
    key = number.to_bytes(32)
    with pytest.raises(ProtocolError) as caught:
        public_address(key)
    assert key.hex()[-8:] not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("length", [0, 31, 33])
def test_only_32_byte_hashes_are_signed(length: int) -> None:
    with pytest.raises(ProtocolError, match="32 bytes"):
        sign(bytes(length), KEY)
    with pytest.raises(ProtocolError, match="32 bytes"):
        recover(bytes(length), bytes(65))


@given(keys, hashes)
def test_a_signature_can_be_turned_over_so_it_names_nothing(key: bytes, txid: bytes) -> None:
    """n - s and the other v is as valid: whoever must know a transaction again asks for its id, never its signature."""
    ours = sign(txid, key)
    turned = ours[:32] + (ORDER - int.from_bytes(ours[32:64])).to_bytes(32) + bytes([55 - ours[64]])
    assert turned != ours
    assert recover(txid, turned) == recover(txid, ours)
