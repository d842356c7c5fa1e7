"""The TRC-20 ABI, with tronpy's coder as a second opinion."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tronpy.abi import trx_abi

from services.protocol import abi
from services.protocol.address import Address
from services.protocol.wire import ProtocolError

HOLDER = Address.parse("TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH")
OTHER = Address.parse("TSeJkUh4Qv67VNFwY8LaAxERygNdy6NQZK")
USDT = Address.parse("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t")

addresses = st.binary(min_size=20, max_size=20).map(Address.from_evm)
amounts = st.integers(0, abi.UINT256_MAX)


def test_selectors_and_topics_are_the_published_ones() -> None:
    assert abi.selector("transfer(address,uint256)").hex() == "a9059cbb"
    assert abi.selector("approve(address,uint256)").hex() == "095ea7b3"
    assert abi.selector("transferFrom(address,address,uint256)").hex() == "23b872dd"
    assert abi.selector("balanceOf(address)").hex() == "70a08231"
    assert abi.selector("allowance(address,address)").hex() == "dd62ed3e"
    assert abi.encode_is_blacklisted(HOLDER)[:4].hex() == "e47d6060"
    assert abi.TRANSFER_TOPIC.hex() == "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
    assert abi.APPROVAL_TOPIC.hex() == "8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925"


@given(addresses, addresses, amounts)
def test_calls_are_encoded_as_tronpy_does_and_read_back(first: Address, second: Address, amount: int) -> None:
    one, two = first.base58, second.base58
    cases: list[tuple[bytes, abi.Trc20Call, list[str], list[object]]] = [
        (abi.encode_transfer(first, amount), abi.TransferCall(first, amount), ["address", "uint256"], [one, amount]),
        (abi.encode_approve(first, amount), abi.ApproveCall(first, amount), ["address", "uint256"], [one, amount]),
        (
            abi.encode_transfer_from(first, second, amount),
            abi.TransferFromCall(first, second, amount),
            ["address", "address", "uint256"],
            [one, two, amount],
        ),
        (abi.encode_balance_of(first), abi.BalanceOfCall(first), ["address"], [one]),
        (abi.encode_allowance(first, second), abi.AllowanceCall(first, second), ["address", "address"], [one, two]),
    ]
    for data, call, types, values in cases:
        assert data[4:] == trx_abi.encode(types, values)
        assert abi.decode_call(data) == call


@given(st.binary(max_size=200))
def test_any_bytes_are_a_call_that_encodes_to_them_or_a_protocol_error(data: bytes) -> None:
    for prefix in (b"", abi.selector("transfer(address,uint256)"), abi.selector("balanceOf(address)")):
        try:
            call = abi.decode_call(prefix + data)
        except ProtocolError:
            continue
        assert isinstance(call, abi.TransferCall | abi.BalanceOfCall)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        abi.selector("mint(address,uint256)") + bytes(64),
        abi.encode_transfer(HOLDER, 1) + b"\x00",
        abi.encode_transfer(HOLDER, 1)[:-1],
        abi.encode_transfer(HOLDER, 1).replace(bytes(11), b"\x01" + bytes(10), 1),
    ],
)
def test_a_signer_is_told_of_calls_that_are_not_exactly_trc_20(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        abi.decode_call(data)


@pytest.mark.parametrize("amount", [-1, abi.UINT256_MAX + 1])
def test_amounts_must_fit_256_bits(amount: int) -> None:
    with pytest.raises(ProtocolError, match="uint256"):
        abi.encode_transfer(HOLDER, amount)


def test_an_approval_without_limit_is_all_ones() -> None:
    assert abi.encode_approve(HOLDER, abi.UINT256_MAX)[-32:] == b"\xff" * 32


@given(amounts, st.booleans(), st.text(max_size=200))
def test_answers_are_read_as_tronpy_writes_them(amount: int, flag: bool, text: str) -> None:
    assert abi.decode_uint256(trx_abi.encode_single("uint256", amount)) == amount
    assert abi.decode_bool(trx_abi.encode_single("bool", flag)) is flag
    assert abi.encode_bool(flag) == trx_abi.encode_single("bool", flag)
    assert abi.decode_string(trx_abi.encode(["string"], [text])) == text
    assert abi.encode_string(text) == trx_abi.encode(["string"], [text])


def test_old_tokens_answer_names_in_a_bare_word() -> None:
    assert abi.decode_string(b"USDT".ljust(32, b"\x00")) == "USDT"


@given(st.binary(max_size=300))
def test_a_string_answer_is_bounded_and_never_crashes(data: bytes) -> None:
    for prefix in (b"", abi.encode_uint256(32)):
        with suppress(ProtocolError):
            assert len(abi.decode_string(prefix + data)) <= len(prefix + data)


@pytest.mark.parametrize(
    "data",
    [
        abi.encode_uint256(32) + abi.encode_uint256(1 << 200) + bytes(32),
        abi.encode_uint256(32) + abi.encode_uint256(4097) + bytes(5000),
        abi.encode_uint256(64) + abi.encode_uint256(1) + b"A".ljust(32, b"\x00"),
        abi.encode_uint256(32) + abi.encode_uint256(1) + b"\xff".ljust(32, b"\x00"),
        b"US\x00DT".ljust(32, b"\x00"),
        b"",
    ],
)
def test_a_string_that_lies_about_itself_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        abi.decode_string(data)


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (abi.decode_bool, abi.encode_uint256(2)),
        (abi.decode_bool, b""),
        (abi.decode_uint256, bytes(31)),
        (abi.decode_address, b"\x41".rjust(12, b"\x00") + HOLDER.evm),
        (abi.decode_address, b""),
    ],
)
def test_a_word_must_be_what_it_should_be(read: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(data)


def test_the_reason_of_a_revert_is_read() -> None:
    data = abi.selector("Error(string)") + abi.encode_string("not enough tokens")
    assert abi.decode_revert(data) == "not enough tokens"
    for nothing in (b"", data[:40], data[:-32], b"\x4e\x48\x7b\x71" + abi.encode_uint256(17)):
        assert abi.decode_revert(nothing) is None


def test_transfers_and_approvals_are_read_from_logs() -> None:
    words = [abi.encode_address(HOLDER), abi.encode_address(OTHER)]
    amount = abi.encode_uint256(5_000_000)
    transfer = abi.decode_log(USDT, [abi.TRANSFER_TOPIC, *words], amount)
    approval = abi.decode_log(USDT, [abi.APPROVAL_TOPIC, *words], amount)
    assert transfer == abi.TransferEvent(USDT, source=HOLDER, to=OTHER, amount=5_000_000)
    assert approval == abi.ApprovalEvent(USDT, holder=HOLDER, spender=OTHER, amount=5_000_000)


def test_logs_that_are_something_else_prove_nothing() -> None:
    words = [abi.encode_address(HOLDER), abi.encode_address(OTHER)]
    amount = abi.encode_uint256(1)
    nft = [abi.TRANSFER_TOPIC, *words, amount]
    assert abi.decode_log(USDT, nft, b"") is None
    assert abi.decode_log(USDT, nft, amount) is None
    assert abi.decode_log(USDT, [], amount) is None
    assert abi.decode_log(USDT, [abi.event_topic("Issue(uint256)"), *words], amount) is None
    assert abi.decode_log(USDT, [abi.TRANSFER_TOPIC, *words], amount + amount) is None
    assert abi.decode_log(USDT, [abi.TRANSFER_TOPIC, words[0], b"\x01" * 32], amount) is None
    assert abi.decode_log(USDT, [abi.TRANSFER_TOPIC, *words], b"") is None
