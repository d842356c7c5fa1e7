"""What java-tron makes of bytes that are not in its own form: it writes them again, and hashes that."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.devnet.canonical import RAW, TRANSACTION, canonical
from services.devnet.chain import Chain
from services.devnet.genesis import KnownKey
from services.devnet.incoming import Incoming
from services.protocol.signature import sign
from services.protocol.transaction import SignedTransaction
from services.protocol.wire import ProtocolError

Keys = tuple[KnownKey, ...]
Build = Callable[..., Incoming]


@pytest.mark.parametrize(
    ("sent", "written"),
    [
        ("", ""),
        ("0a020001", "0a020001"),
        ("4001 0a020001", "0a020001 4001"),  # out of order
        ("4000 0a00 5200", ""),  # defaults written out
        ("4001 4002", "4002"),  # the last scalar counts
        ("0a020001 0a0100", "0a0100"),  # and the last bytes
        ("4081808000", "4001"),  # a number in more bytes than needed
        ("f80105 0a020001", "0a020001 f80105"),  # an unknown field goes to the end
        ("f80106 980105 f80107", "980105 f80106 f80107"),  # unknown ones by number
        ("4203010203", "4203010203"),  # a known number with another wire type is unknown
        ("5a00 5a020801", "5a00 5a020801"),  # repeated messages stay apart
        ("5a04 2801 0801", "5a04 0801 2801"),  # and are straightened inside
        ("5a0a 12020a00 12041202 0102", "5a06 1204 12020102"),  # single messages merge
        ("4801", "4801"),  # auths are bytes, this is not
        ("0d01020304", "0d01020304"),  # fixed32 is kept
    ],
)
def test_raw_data_is_written_again(sent: str, written: str) -> None:
    assert canonical(RAW, bytes.fromhex(sent)).hex() == written.replace(" ", "")


@pytest.mark.parametrize("broken", ["0a", "0aff", "08", "00", "0b", "80" * 11, "0a0501", "4080", "5a020aff"])
def test_what_is_no_protobuf_is_refused(broken: str) -> None:
    with pytest.raises(ProtocolError):
        canonical(RAW, bytes.fromhex(broken))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_written_to_a_fixed_point(data: bytes) -> None:
    try:
        once = canonical(TRANSACTION, data)
    except ProtocolError:
        return
    assert canonical(TRANSACTION, once) == once


@given(st.binary(max_size=200))
def test_any_bytes_are_a_transaction_or_a_protocol_error(data: bytes) -> None:
    try:
        transaction = Incoming.decode(data)
    except ProtocolError:
        return
    assert len(transaction.txid) == 32


def test_canonical_bytes_stay_as_they_are(chain: Chain, accounts: Keys, build: Build) -> None:
    transaction = build(chain, accounts[0], accounts[1].address, 5, memo=b"m", fee_limit_sun=7, permission_id=2)
    data = transaction.signed().encode()
    assert canonical(TRANSACTION, data) == data
    assert Incoming.decode(data) == transaction


def test_the_id_of_other_bytes_is_the_one_that_a_node_computes(chain: Chain, accounts: Keys, build: Build) -> None:
    good = build(chain, accounts[0], accounts[1].address, 5)
    # An expiration of 1 before the real one: parsed, the last one counts.
    twisted = Incoming.decode(SignedTransaction(bytes.fromhex("4001") + good.raw, good.signatures).encode())
    assert twisted.txid == good.txid
    chain.submit(twisted)
    # An unknown field stays, so the id is another one; signed for that id it is taken and kept.
    unsigned = Incoming.decode(SignedTransaction(good.raw + bytes.fromhex("f80105"), ()).encode())
    assert unsigned.txid != good.txid
    chain.submit(Incoming(unsigned.raw, (sign(unsigned.txid, accounts[0].private_key),), unsigned.fields))
    assert chain.produce().transactions == 2
    assert chain.store.has_transaction(unsigned.txid)
