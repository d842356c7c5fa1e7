"""The devnet's two tokens: USDT with all the habits of mainnet's, and one without."""

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

from services.devnet.chain import Chain
from services.devnet.deployed import PLAIN_SUPPLY, PLAIN_TOKEN, USDT, USDT_SUPPLY
from services.devnet.genesis import KnownKey, faucet
from services.devnet.receipt import Receipt
from services.protocol import abi
from services.protocol.abi import ApprovalEvent, TransferEvent
from services.protocol.address import Address
from services.protocol.hashes import sha256
from services.protocol.networks import NETWORKS

Keys = tuple[KnownKey, ...]
Call = Callable[..., Receipt]
Look = Callable[..., bytes]
USDT_UNIT = 1_000_000
MAX = (1 << 256) - 1
REVERT = "REVERT opcode executed"


def data(signature: str, *arguments: Address | int) -> bytes:
    words = (abi.encode_address(item) if isinstance(item, Address) else item.to_bytes(32) for item in arguments)
    return abi.selector(signature) + b"".join(words)


def events(receipt: Receipt) -> list[Any]:
    found = []
    for address, topics, words in receipt.logs:
        contract = Address.from_evm(bytes.fromhex(address))
        event = abi.decode_log(contract, [bytes.fromhex(topic) for topic in topics], bytes.fromhex(words))
        found.append(event or (topics[0], topics[1:], words))
    return found


def topic(signature: str) -> str:
    return abi.event_topic(signature).hex()


class Token:
    """One of the tokens on a chain."""

    def __init__(self, chain: Chain, call: Call, look: Look, contract: Address = USDT) -> None:
        self.chain, self._call, self._look, self.contract = chain, call, look, contract

    def send(self, sender: KnownKey, signature: str, *arguments: Address | int) -> Receipt:
        return self._call(self.chain, sender, self.contract, data(signature, *arguments))

    def do(self, sender: KnownKey, signature: str, *arguments: Address | int) -> Receipt:
        receipt = self.send(sender, signature, *arguments)
        assert (receipt.result, receipt.message) == ("SUCCESS", "")
        return receipt

    def fails(self, sender: KnownKey, signature: str, *arguments: Address | int) -> Receipt:
        receipt = self.send(sender, signature, *arguments)
        assert (receipt.result, receipt.message, receipt.logs) == ("REVERT", REVERT, ())
        return receipt

    def ask(self, signature: str, *arguments: Address | int) -> int:
        return int.from_bytes(self._look(self.chain, self.contract, data(signature, *arguments)))

    def balance(self, holder: KnownKey) -> int:
        return self.ask("balanceOf(address)", holder.address)

    def transfer(self, sender: KnownKey, to: KnownKey, amount: int) -> Receipt:
        return self.do(sender, "transfer(address,uint256)", to.address, amount)


@pytest.fixture
def usdt(chain: Chain, call: Call, look: Look) -> Token:
    return Token(chain, call, look)


@pytest.fixture
def plain(chain: Chain, call: Call, look: Look) -> Token:
    return Token(chain, call, look, PLAIN_TOKEN)


@pytest.mark.parametrize("name", ["UsdtToken", "PlainToken"])
def test_what_runs_was_compiled_from_the_source_beside_it(name: str) -> None:
    folder = files("services.devnet.tokens")
    made = json.loads((folder / f"{name}.json").read_text())
    assert made["source"] == sha256((folder / f"{name}.sol").read_bytes()).hex(), "run compile.mjs there"


def test_usdt_is_where_the_devnet_says_it_is(usdt: Token, look: Look) -> None:
    assert NETWORKS["devnet"].usdt == USDT
    assert abi.decode_string(look(usdt.chain, USDT, data("name()"))) == "Tether USD"
    assert abi.decode_string(look(usdt.chain, USDT, data("symbol()"))) == "USDT"
    assert usdt.ask("decimals()") == NETWORKS["devnet"].usdt_decimals
    assert usdt.ask("totalSupply()") == usdt.balance(faucet()) == USDT_SUPPLY
    assert usdt.ask("owner()") == usdt.ask("getOwner()") == int.from_bytes(faucet().address.evm)


def test_a_transfer_succeeds_returns_false_and_says_so_in_an_event(usdt: Token, accounts: Keys) -> None:
    receipt = usdt.transfer(faucet(), accounts[0], 5 * USDT_UNIT)
    assert receipt.returned == bytes(32).hex()
    assert events(receipt) == [TransferEvent(USDT, faucet().address, accounts[0].address, 5 * USDT_UNIT)]
    assert usdt.balance(accounts[0]) == 5 * USDT_UNIT
    assert usdt.balance(faucet()) == USDT_SUPPLY - 5 * USDT_UNIT


def test_energy_of_a_transfer_is_that_of_the_real_one(usdt: Token, accounts: Keys) -> None:
    one, two = accounts[:2]
    assert usdt.transfer(faucet(), one, 1_000).energy_total == 29_383
    assert usdt.transfer(faucet(), one, 1_000).energy_total == 14_383
    # To a new holder again, and all that the sender had.
    assert usdt.transfer(one, two, 2_000).energy_total == 29_383
    assert usdt.transfer(faucet(), one, 1).energy_total == 29_383
    # To oneself.
    assert usdt.transfer(one, one, 1).energy_total == 14_383


def test_nobody_sends_more_than_he_has_or_to_nobody(usdt: Token, accounts: Keys) -> None:
    receipt = usdt.fails(accounts[0], "transfer(address,uint256)", accounts[1].address, 1)
    assert 1_000 < receipt.energy_total < 3_000
    usdt.transfer(faucet(), accounts[0], 5)
    usdt.fails(accounts[0], "transfer(address,uint256)", accounts[1].address, 6)
    usdt.fails(accounts[0], "transfer(address,uint256)", accounts[1].address, MAX)
    usdt.fails(accounts[0], "transfer(address,uint256)", Address.from_evm(bytes(20)), 1)
    assert usdt.balance(accounts[0]) == 5


def test_an_unknown_function_and_trx_are_refused(usdt: Token, accounts: Keys, call: Call) -> None:
    usdt.fails(accounts[0], "mint(address,uint256)", accounts[0].address, 1)
    receipt = call(usdt.chain, accounts[0], USDT, data("totalSupply()"), value_sun=7)
    assert receipt.result == "REVERT"
    account = usdt.chain.pending.account(USDT.raw)
    assert account is not None
    assert (account.balance_sun, account.is_contract) == (0, True)


def test_allowances(usdt: Token, accounts: Keys) -> None:
    owner, spender, to = accounts[:3]
    usdt.transfer(faucet(), owner, 100)
    receipt = usdt.do(owner, "approve(address,uint256)", spender.address, 60)
    assert receipt.returned == bytes(32).hex()
    assert events(receipt) == [ApprovalEvent(USDT, owner.address, spender.address, 60)]
    allowance = ("allowance(address,address)", owner.address, spender.address)
    assert usdt.ask(*allowance) == 60
    receipt = usdt.do(spender, "transferFrom(address,address,uint256)", owner.address, to.address, 40)
    assert receipt.returned == bytes(32).hex()
    assert events(receipt) == [TransferEvent(USDT, owner.address, to.address, 40)]
    assert (usdt.ask(*allowance), usdt.balance(owner), usdt.balance(to)) == (20, 60, 40)
    usdt.fails(spender, "transferFrom(address,address,uint256)", owner.address, to.address, 21)
    usdt.fails(to, "transferFrom(address,address,uint256)", owner.address, to.address, 1)


def test_an_allowance_is_changed_by_way_of_zero(usdt: Token, accounts: Keys) -> None:
    owner, spender = accounts[:2]
    approve = "approve(address,uint256)"
    usdt.do(owner, approve, spender.address, 60)
    usdt.fails(owner, approve, spender.address, 70)
    usdt.fails(owner, approve, spender.address, 60)
    usdt.do(owner, approve, spender.address, 0)
    usdt.do(owner, approve, spender.address, 70)
    usdt.do(owner, "increaseApproval(address,uint256)", spender.address, 5)
    assert usdt.ask("allowance(address,address)", owner.address, spender.address) == 75
    usdt.do(owner, "decreaseApproval(address,uint256)", spender.address, 80)
    assert usdt.ask("allowance(address,address)", owner.address, spender.address) == 0


def test_the_greatest_allowance_is_never_used_up(usdt: Token, accounts: Keys) -> None:
    owner, spender = accounts[:2]
    usdt.transfer(faucet(), owner, 100)
    usdt.do(owner, "approve(address,uint256)", spender.address, MAX)
    usdt.do(spender, "transferFrom(address,address,uint256)", owner.address, spender.address, 40)
    assert usdt.ask("allowance(address,address)", owner.address, spender.address) == MAX


def test_the_blacklist_stops_senders_only_and_their_funds_can_be_destroyed(usdt: Token, accounts: Keys) -> None:
    evil, good = accounts[:2]
    usdt.transfer(faucet(), evil, 100)
    usdt.fails(good, "addBlackList(address)", evil.address)
    receipt = usdt.do(faucet(), "addBlackList(address)", evil.address)
    assert receipt.logs[0][1] == [topic("AddedBlackList(address)"), evil.address.evm.rjust(32, b"\0").hex()]
    assert (
        usdt.ask("isBlackListed(address)", evil.address) == usdt.ask("getBlackListStatus(address)", evil.address) == 1
    )
    usdt.fails(evil, "transfer(address,uint256)", good.address, 1)
    usdt.do(evil, "approve(address,uint256)", good.address, 50)
    usdt.fails(good, "transferFrom(address,address,uint256)", evil.address, good.address, 1)
    usdt.transfer(faucet(), evil, 1)
    usdt.fails(good, "destroyBlackFunds(address)", evil.address)
    usdt.fails(faucet(), "destroyBlackFunds(address)", good.address)
    receipt = usdt.do(faucet(), "destroyBlackFunds(address)", evil.address)
    assert receipt.logs[0][1][0] == topic("DestroyedBlackFunds(address,uint256)")
    assert int(receipt.logs[0][2], 16) == 101
    assert (usdt.balance(evil), usdt.ask("totalSupply()")) == (0, USDT_SUPPLY - 101)
    usdt.do(faucet(), "removeBlackList(address)", evil.address)
    usdt.transfer(faucet(), evil, 1)
    usdt.transfer(evil, good, 1)


def test_the_owner_can_pause_it(usdt: Token, accounts: Keys) -> None:
    one, two = accounts[:2]
    usdt.transfer(faucet(), one, 100)
    usdt.fails(one, "pause()")
    usdt.do(faucet(), "pause()")
    usdt.fails(faucet(), "pause()")
    assert usdt.ask("paused()") == 1
    usdt.fails(one, "transfer(address,uint256)", two.address, 1)
    usdt.fails(one, "approve(address,uint256)", two.address, 1)
    usdt.fails(two, "transferFrom(address,address,uint256)", one.address, two.address, 0)
    usdt.do(faucet(), "unpause()")
    usdt.fails(faucet(), "unpause()")
    usdt.transfer(one, two, 1)


def test_a_fee_goes_to_the_owner_in_an_event_of_its_own(usdt: Token, accounts: Keys) -> None:
    one, two = accounts[:2]
    usdt.transfer(faucet(), one, 200_000 * USDT_UNIT)
    usdt.fails(one, "setParams(uint256,uint256)", 10, 10)
    usdt.fails(faucet(), "setParams(uint256,uint256)", 20, 10)
    usdt.fails(faucet(), "setParams(uint256,uint256)", 10, 50)
    usdt.do(faucet(), "setParams(uint256,uint256)", 10, 10)
    assert (usdt.ask("basisPointsRate()"), usdt.ask("maximumFee()")) == (10, 10 * USDT_UNIT)
    receipt = usdt.transfer(one, two, 1_000 * USDT_UNIT)
    assert events(receipt) == [
        TransferEvent(USDT, one.address, two.address, 999 * USDT_UNIT),
        TransferEvent(USDT, one.address, faucet().address, USDT_UNIT),
    ]
    assert receipt.energy_total > 29_383
    # At most so much.
    usdt.transfer(one, two, 100_000 * USDT_UNIT)
    assert usdt.balance(two) == (999 + 99_990) * USDT_UNIT
    # A ten-thousandth of little is nothing.
    assert len(usdt.transfer(one, two, 999).logs) == 1
    usdt.do(one, "approve(address,uint256)", two.address, 1_000 * USDT_UNIT)
    receipt = usdt.do(two, "transferFrom(address,address,uint256)", one.address, two.address, 1_000 * USDT_UNIT)
    assert [event.amount for event in events(receipt)] == [999 * USDT_UNIT, USDT_UNIT]
    assert usdt.ask("allowance(address,address)", one.address, two.address) == 0


def test_the_owner_issues_redeems_and_hands_over(usdt: Token, accounts: Keys) -> None:
    heir = accounts[0]
    nobody = Address.from_evm(bytes(20))
    usdt.fails(heir, "issue(uint256)", 1)
    receipt = usdt.do(faucet(), "issue(uint256)", 500)
    assert events(receipt)[1] == TransferEvent(USDT, nobody, faucet().address, 500)
    assert usdt.ask("totalSupply()") == usdt.balance(faucet()) == USDT_SUPPLY + 500
    receipt = usdt.do(faucet(), "redeem(uint256)", 600)
    assert events(receipt)[1] == TransferEvent(USDT, faucet().address, nobody, 600)
    assert usdt.ask("totalSupply()") == usdt.balance(faucet()) == USDT_SUPPLY - 100
    usdt.fails(faucet(), "redeem(uint256)", USDT_SUPPLY)
    usdt.fails(faucet(), "transferOwnership(address)", nobody)
    usdt.do(faucet(), "transferOwnership(address)", heir.address)
    usdt.fails(faucet(), "pause()")
    usdt.do(heir, "pause()")


def test_after_its_deprecation_nothing_moves(usdt: Token, accounts: Keys) -> None:
    usdt.fails(faucet(), "deprecate(address)", Address.from_evm(bytes(20)))
    usdt.do(faucet(), "deprecate(address)", PLAIN_TOKEN)
    usdt.fails(faucet(), "transfer(address,uint256)", accounts[0].address, 1)
    assert usdt.ask("upgradedAddress()") == int.from_bytes(PLAIN_TOKEN.evm)


def test_the_plain_token_returns_true_and_says_why_it_reverts(plain: Token, accounts: Keys) -> None:
    one, two = accounts[:2]
    assert (plain.ask("decimals()"), plain.ask("totalSupply()")) == (18, PLAIN_SUPPLY)
    receipt = plain.transfer(faucet(), one, 10**18)
    assert int(receipt.returned, 16) == 1
    assert events(receipt) == [TransferEvent(PLAIN_TOKEN, faucet().address, one.address, 10**18)]
    failed = plain.fails(one, "transfer(address,uint256)", two.address, 2 * 10**18)
    assert abi.decode_revert(bytes.fromhex(failed.returned)) == "PlainToken: transfer amount exceeds balance"
    # No detour by way of zero here.
    plain.do(one, "approve(address,uint256)", two.address, 5)
    plain.do(one, "approve(address,uint256)", two.address, 6)
    plain.do(two, "transferFrom(address,address,uint256)", one.address, two.address, 6)
    failed = plain.fails(two, "transferFrom(address,address,uint256)", one.address, two.address, 1)
    assert abi.decode_revert(bytes.fromhex(failed.returned)) == "PlainToken: insufficient allowance"
    assert plain.balance(two) == 6
