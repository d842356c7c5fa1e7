"""`lucid-tron tor onion`: local services that can be reached from outside by an onion address."""

import click

from lucid_tron_console import output
from lucid_tron_console.cli.framework import Group, Session, Word, pass_session
from lucid_tron_console.cli.requests import build
from lucid_tron_console.cli.tor_ask import ask_tor
from services.tor.api import CreateOnion, Onion, RemoveOnion

ONION = Word("onion service", r"[a-z0-9][a-z0-9-]{0,31}", "names are up to 32 lower-case letters, digits and dashes")


@click.group("onion", cls=Group)
def onion() -> None:
    """Make, publish, withdraw and remove onion services; their keys are kept encrypted."""


def _show(session: Session, one: Onion) -> None:
    lines = output.facts(
        [
            ("name", one.name),
            ("address", f"{one.address}:{one.port}"),
            ("leads to", one.target),
            ("state", f"{one.state}: {one.detail}" if one.detail else one.state),
            ("descriptors", one.descriptors),
            ("sealed with", one.sealed_with),
        ]
    )
    output.data(session.output, one.model_dump(mode="json"), lines)


@onion.command("list", examples=["tor onion list -o json"])
@pass_session
def list_(session: Session) -> None:
    """List all onion services."""
    found = ask_tor(session, lambda client: client.onions())
    rows = [(one.name, one.state, f"{one.address}:{one.port}", one.target) for one in found.items]
    lines = output.table(("name", "state", "address", "leads to"), rows)
    output.data(session.output, found.model_dump(mode="json"), lines)


@onion.command("create", examples=["tor onion create gateway --target 127.0.0.1:8097 --port 80"])
@click.argument("name")
@click.option("--target", required=True, help="unix:/path/of.sock, or a port on loopback such as 127.0.0.1:8097.")
@click.option("--port", type=click.IntRange(1, 65_535), default=80, show_default=True, help="That callers use.")
@pass_session
def create(session: Session, name: str, target: str, port: int) -> None:
    """Make the onion service NAME with a new key, and publish it."""
    body = build(CreateOnion, name=name, target=target, port=port)
    _show(session, ask_tor(session, lambda client: client.create_onion(body)))


@onion.command("show", examples=["tor onion show gateway"])
@click.argument("name", type=ONION)
@pass_session
def show(session: Session, name: str) -> None:
    """Show the onion service NAME."""
    _show(session, ask_tor(session, lambda client: client.onion(name)))


@onion.command("publish", examples=["tor onion publish gateway"])
@click.argument("name", type=ONION)
@pass_session
def publish(session: Session, name: str) -> None:
    """Publish NAME again under the same address."""
    _show(session, ask_tor(session, lambda client: client.publish_onion(name)))


@onion.command("withdraw", examples=["tor onion withdraw gateway"])
@click.argument("name", type=ONION)
@pass_session
def withdraw(session: Session, name: str) -> None:
    """Take NAME off the network; the key stays, and with it the address."""
    _show(session, ask_tor(session, lambda client: client.withdraw_onion(name)))


@onion.command("remove", examples=["tor onion remove gateway --address abc...xyz.onion"])
@click.argument("name", type=ONION)
@click.option("--address", required=True, help="Its address, to be sure: it is lost for ever.")
@pass_session
def remove(session: Session, name: str, address: str) -> None:
    """Take NAME off the network and destroy its key."""
    build(RemoveOnion, address=address)
    gone = ask_tor(session, lambda client: client.remove_onion(name, address))
    output.data(session.output, gone.model_dump(mode="json"), [f"removed {gone.name}: {gone.address} is gone for ever"])
