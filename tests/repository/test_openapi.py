"""Every daemon serves what its OpenAPI document says, and every bad request gets a 4xx that names the field."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from openapi_spec_validator import validate
from starlette.routing import Route

from services.kit import daemon
from services.payout import __main__ as payout
from services.payout.settings import PayoutSettings
from services.tron import __main__ as tron
from services.tron.settings import TronSettings
from services.wallet import __main__ as wallet
from services.wallet.settings import WalletSettings

if TYPE_CHECKING:
    from tests.repository.conftest import Answer, Daemon
else:
    Answer = Daemon = Any

STREAM = "/events"
"""Server-Sent Events, which the kit adds beside the table of routes."""

NAMES = {
    "name": "hot",
    "key": "payout:P-1:1",
    "address": "x",
    "txid": "0" * 64,
    "number": "x",
    "wallet": "x",
    "id": "P-1",
}
"""What stands for a parameter of a path."""

BAD_ADDRESSES = (
    "TJCnKsPa7y5okkXvQAidZBzqx3QyQ6sxMX",  # one character changed: the checksum is wrong
    "41" + "00" * 19,
    "0x5a523b449890854c8fc460ab602df9f31fe4293f",
    "bitcoin:1BoatSLRHtKNngkdXEeobR76b53LETtpyT",
    "",
)


Row = tuple[str, str, dict[str, Any]]
"""Method, path and description of an operation."""


class _Build(Protocol):
    def __call__(self, home: Path) -> daemon.Service: ...


BUILD: dict[str, _Build] = {
    "wallet": lambda home: wallet.build(WalletSettings(lucid_home=home, tron_network="devnet")),
    "tron": lambda home: tron.build(TronSettings(lucid_home=home, tron_network="devnet")),
    "payout": lambda home: payout.build(PayoutSettings(lucid_home=home, tron_network="devnet")),
}


def target(path: str) -> str:
    """A path with its parameters filled in."""
    return re.sub(r"{(\w+)}", lambda found: NAMES[found[1]], path)


def refused(answer: Answer, operation: dict[str, Any], *, naming: str | None = None) -> list[str]:
    """What is wrong with a refusal; empty when it is as promised."""
    wrong = []
    if not 400 <= answer.status < 500:
        return [f"status {answer.status} {answer.body[:200]!r}"]
    if str(answer.status) not in operation["responses"]:
        wrong.append(f"status {answer.status} is not documented")
    if answer.headers["content-type"] != "application/problem+json":
        return [*wrong, f"content type {answer.headers['content-type']}"]
    problem = answer.json
    if problem.get("status") != answer.status or not problem.get("detail") or not problem.get("code"):
        wrong.append(f"no problem details: {problem}")
    fields = {item["field"]: item["message"] for item in problem.get("fields", [])}
    if naming is not None and not any(name == naming or name.startswith(f"{naming}.") for name in fields):
        wrong.append(f"{naming} is not named in {problem}")
    if naming is not None and not all(fields.values()):
        wrong.append(f"no reason in {problem}")
    return wrong


def bodies(each: Daemon) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Operations that take a body, with its schema."""
    for row in each.operations():
        if schema := each.schema(row[2]):
            yield row, schema


def check(each: Daemon, row: Row, body: bytes | None, field: str | None = None, query: str = "") -> str:
    """Send a bad request; returns what is wrong with the answer, in one line, or nothing."""
    method, path, operation = row
    where = target(path) + query
    found = refused(each.ask(method, where, body), operation, naming=field)
    return f"{method} {where} {(body or b'')[:80]!r}: {'; '.join(found)}" if found else ""


def none_of(findings: Iterator[str]) -> None:
    """Fail with everything that was found."""
    found = [line for line in findings if line]
    assert not found, "\n".join(found)


def test_the_sweep_has_something_to_sweep(each: Daemon) -> None:
    assert len(list(bodies(each))) >= 3


def test_the_document_is_valid(each: Daemon) -> None:
    assert each.document["openapi"].startswith("3.1")
    validate(each.document)


def test_the_document_has_every_route_and_no_other(each: Daemon, tmp_path: Path) -> None:
    service = BUILD[each.name](tmp_path)
    rows = {(row.method, row.path) for row in daemon.table(service)}
    assert {(method, path) for method, path, _ in each.operations()} - {("GET", STREAM)} == rows
    served = {route.path for route in daemon.application(service).routes if isinstance(route, Route)}
    assert served == {path for _, path in rows} | {STREAM}


def test_what_is_documented_answers(each: Daemon) -> None:
    """A path that nobody serves would be a 404 that says so."""
    for method, path, _ in each.operations():
        if method == "GET" and path != STREAM:
            answer = each.ask(method, target(path))
            assert b"there is nothing at" not in answer.body, path
            assert answer.status != 405, path


def test_operation_ids_are_unique(each: Daemon) -> None:
    ids = [operation["operationId"] for _, _, operation in each.operations()]
    assert sorted(ids) == sorted(set(ids))


def test_every_operation_says_what_it_does(each: Daemon) -> None:
    assert [path for _, path, operation in each.operations() if not operation.get("summary")] == []


def test_an_empty_body_is_refused(each: Daemon) -> None:
    none_of(check(each, row, b"") for row, _ in bodies(each))


@pytest.mark.parametrize(
    "body",
    [b"amount=5", b"{", b'{"amount": }', b"\xff\xfe", b'{"a": 1}{"b": 2}', b"[" * 100_000],
    ids=["form", "cut", "no-value", "not-utf8", "two", "deep"],
)
def test_what_is_no_json_is_refused(each: Daemon, body: bytes) -> None:
    none_of(check(each, row, body) for row, _ in bodies(each))


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"5"])
def test_json_that_is_no_object_is_refused(each: Daemon, body: bytes) -> None:
    none_of(check(each, row, body) for row, _ in bodies(each))


def test_a_missing_field_is_named(each: Daemon) -> None:
    none_of(check(each, row, b"{}", name) for row, schema in bodies(each) for name in schema.get("required", []))


def test_an_unknown_field_is_named(each: Daemon) -> None:
    body = b'{"amuont": 5}'
    none_of(check(each, row, body, "amuont") for row, _ in bodies(each))


@pytest.mark.parametrize("value", [{"wrong": True}, [[]], None, True])
def test_a_wrong_type_is_named(each: Daemon, value: object) -> None:
    none_of(
        check(each, row, json.dumps({name: value}).encode(), name)
        for row, schema in bodies(each)
        for name, about in schema["properties"].items()
        if not takes(each.resolve(about), value)
    )


def kinds(about: dict[str, Any]) -> set[str]:
    """JSON types that a schema allows, as far as it names them."""
    return {option["type"] for option in about.get("anyOf", [about]) if "type" in option}


def takes(about: dict[str, Any], value: object) -> bool:
    """Whether a schema allows a null or a boolean."""
    return (value is None and "null" in kinds(about)) or (value is True and "boolean" in kinds(about))


@pytest.mark.parametrize("value", ["1", 1.5, -1, 0, 2**63, 1e400])
def test_an_amount_that_is_no_amount_is_named(each: Daemon, value: object) -> None:
    text = json.dumps(value).replace("Infinity", "1e400")
    none_of(
        check(each, row, f'{{"{name}": {text}}}'.encode(), name)
        for row, schema in bodies(each)
        for name in schema["properties"].keys() & {"amount", "amount_sun"}
    )


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_a_bad_address_is_named(each: Daemon, address: str) -> None:
    none_of(
        check(each, row, json.dumps({name: address}).encode(), name)
        for row, schema in bodies(each)
        if not row[1].endswith("validate-address")
        for name in schema["properties"].keys() & {"address", "owner", "to"}
    )


def test_a_bad_address_inside_an_order_is_named(daemons: dict[str, Daemon]) -> None:
    one = daemons["tron"]
    operation = one.document["paths"]["/api/v1/tron/orders"]["post"]
    for address in BAD_ADDRESSES:
        order = {"key": "k", "wallet": "hot", "contract": {"to": address, "amount_sun": 1}}
        answer = one.ask("POST", "/api/v1/tron/orders", json.dumps(order).encode())
        assert refused(answer, operation, naming="contract") == []


def test_a_huge_body_is_refused(each: Daemon) -> None:
    body = b'{"memo": "' + b"x" * (4 * 1024 * 1024) + b'"}'
    for (method, path, operation), _ in bodies(each):
        answer = each.ask(method, target(path), body)
        assert answer.status == 413, path
        assert refused(answer, operation) == []


def test_an_unknown_query_is_named(each: Daemon) -> None:
    none_of(
        check(each, row, b"{}" if each.schema(row[2]) else None, "amuont", query="?amuont=5")
        for row in each.operations()
        if row[1] != STREAM
    )


def test_a_query_of_a_wrong_type_is_named(each: Daemon) -> None:
    none_of(
        check(each, row, None, parameter["name"], query=f"?{parameter['name']}=x")
        for row in each.operations()
        for parameter in row[2]["parameters"]
        if parameter["in"] == "query" and kinds(parameter["schema"]) & {"integer", "boolean"}
    )


def test_a_bad_address_in_a_path_is_refused(daemons: dict[str, Daemon]) -> None:
    one = daemons["tron"]
    for path in ("account/{}", "account/{}/balance"):
        operation = one.document["paths"][f"/api/v1/tron/network/{path.format('{address}')}"]["get"]
        for address in BAD_ADDRESSES[:-1]:
            answer = one.ask("GET", f"/api/v1/tron/network/{path.format(address)}")
            assert refused(answer, operation, naming="address") == [], address


def test_another_method_is_refused(each: Daemon) -> None:
    for path in each.document["paths"]:
        answer = each.ask("DELETE", target(path))
        assert answer.status == 405, path
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_path_that_is_not_there_is_refused(each: Daemon) -> None:
    for path in ("/", "/api", "/api/v1/tron/", "/health/", "/%2e%2e/etc/passwd", "//health"):
        answer = each.ask("GET", path)
        assert answer.status == 404, path
        assert answer.headers["content-type"] == "application/problem+json", path


def test_a_daemon_still_works_after_all_that(each: Daemon) -> None:
    assert each.ask("GET", "/health/live").status == 200
