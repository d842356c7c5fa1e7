"""The dashboard: the node, its services, the money, open payouts and alerts, on one screen."""

from textual.app import ComposeResult
from textual.containers import Horizontal

from lucid_tron_console.backend import SERVICES, Link
from lucid_tron_console.format import (
    Line,
    Span,
    Tone,
    age,
    chain_time,
    clean,
    columns,
    count,
    fit,
    line,
    money,
    payout_word,
    stale,
)
from lucid_tron_console.screens.base import ConsoleScreen
from lucid_tron_console.screens.rows import balance_span, service_row, wallet_state
from lucid_tron_console.widgets.chrome import tor_word
from lucid_tron_console.widgets.lines import Lines, Listing, set_title
from services.kit.money import Asset
from services.tron.api import EndpointState


class DashboardScreen(ConsoleScreen):
    """How the node is, at a glance; Enter on a row goes there."""

    NUMBER = 1

    def body(self) -> ComposeResult:
        """Five panels."""
        with Horizontal(classes="row top"):
            yield Lines(id="node", classes="panel")
            yield Lines(id="services", classes="panel")
        with Horizontal(classes="row middle"):
            yield Listing(id="money", classes="panel")
            yield Listing(id="open", classes="panel")
        yield Listing(id="alerts", classes="panel")

    def focus_body(self) -> None:
        """The alerts if there are any, else open payouts."""
        self.set_focus(self.query_one("#alerts" if self.lucid.alerts() else "#open"))

    def begin(self) -> None:
        """Name the panels."""
        for name, title in (("node", "Node"), ("services", "Services"), ("money", "Money")):
            set_title(self.query_one(f"#{name}"), title)
        super().begin()
        self.focus_body()

    def paint(self) -> None:
        """Fill the panels."""
        self.query_one("#node", Lines).show(self._node())
        now = self.backend.now()
        self.query_one("#services", Lines).show(
            [
                *(service_row(self.snapshot, name, now, self.lucid.utcnow(), wide=False) for name in SERVICES),
                self._tor_service(),
            ]
        )
        wallets = self.snapshot.wallets
        empty: Line = line(Span("no wallets yet: 2, then c" if wallets is not None else "not read yet", "dim"))
        self.query_one("#money", Listing).show(
            max(1, len(wallets or ())), lambda row, cells: self._wallet(row, cells) if wallets else empty
        )
        payouts = self.snapshot.open_payouts
        opened = self.query_one("#open", Listing)
        set_title(opened, f"Open payouts ({len(payouts)})")
        opened.show(max(1, len(payouts)), self._payout)
        found = self.lucid.alerts()
        listing = self.query_one("#alerts", Listing)
        set_title(listing, f"Alerts ({len(found)})")
        listing.show(max(1, len(found)), self._alert)

    def _node(self) -> list[Line]:
        now = self.backend.now()
        network = self.snapshot.network
        link = self.snapshot.chain(now)
        old = link is not Link.OK
        if network is None:
            return [line(Span("not read yet", "dim")), (), (), self._way_out()]
        head, solid = network.head, network.solid
        behind = f"-{head.number - solid.number}" if head and solid else "-"
        fine = sum(endpoint.state is EndpointState.OK for endpoint in network.endpoints)
        seen = self.snapshot.chain_age_s(now)
        tone: Tone = "ok" if fine == len(network.endpoints) else "warn"
        return [
            line(
                Span("height   ", "dim"),
                stale(count(head.number if head else None), old),
                Span("   solid ", "dim"),
                stale(behind, old),
            ),
            line(
                Span("block    ", "dim"),
                stale(chain_time(head.time_ms if head else None)[11:], old),
                Span(f"   {link.value} {age(seen)}" if old and seen is not None else "", "warn"),
            ),
            line(
                Span("nodes    ", "dim"),
                Span(f"{fine} of {len(network.endpoints)} ok", tone),
                Span(f"   {clean(network.chain_id)}", "dim"),
            ),
            self._way_out(),
        ]

    def _tor_service(self) -> Line:
        if self.snapshot.has_tor:
            return service_row(self.snapshot, "tor", self.backend.now(), self.lucid.utcnow(), wide=False)
        return line(Span("tor     off   6 says why", "dim"))

    def _way_out(self) -> Line:
        """How calls leave."""
        status = self.snapshot.tor.status
        word = tor_word(self.snapshot, self.backend.now())
        if self.snapshot.clear:
            more = "  calls show this node"
        elif not self.snapshot.has_tor:
            more = "  nothing leaves" if self.settings.network == "devnet" else ""
        elif status is None:
            more = ""
        elif not status.state.usable:
            more = "  6 says why"
        else:
            more = f"  circ {status.circuits.built}  guards {status.guards.up} of {status.guards.total}"
        return line(Span("tor      ", "dim"), word, Span(more, "bad" if self.snapshot.clear else "dim"))

    def _wallet(self, row: int, cells: int) -> Line:
        wallet = (self.snapshot.wallets or ())[row]
        balance = balance_span(self.snapshot, wallet.address, self.backend.now())
        name = max(9, cells - 34) if cells < 60 else 24
        state = wallet_state(wallet, self.lucid.utcnow())
        return columns([(clean(wallet.name), name), (balance, -18), (state, max(4, cells - name - 20))])

    def _payout(self, row: int, cells: int) -> Line:
        payouts = self.snapshot.open_payouts
        if row >= len(payouts):
            paid = (self.snapshot.payout_stats.paid_today if self.snapshot.payout_stats else {}).get(Asset.TRX.value)
            words = f"none; in 24 h {money(paid or 0)}" if self.snapshot.payouts_read else "not read yet"
            return line(Span(fit(words, cells), "dim"))
        payout = payouts[row]
        return columns(
            [(payout.id, 7), (payout_word(payout.state), 9), (money(payout.amount, payout.asset), -max(4, cells - 18))]
        )

    def _alert(self, row: int, cells: int) -> Line:
        found = self.lucid.alerts()
        if row >= len(found):
            return line(Span("nothing needs you", "dim"))
        alert = found[row]
        tone: Tone = "bad" if alert.level == "CRIT" else "warn"
        return columns([(Span(alert.level, tone), 4), (alert.text, cells - 14), (Span("Enter go", "dim"), 8)])

    def on_listing_chosen(self, event: Listing.Chosen) -> None:
        """Go to what the row is about."""
        match event.listing.id:
            case "money":
                wallets = self.snapshot.wallets or ()
                self.lucid.go(f"wallets/{wallets[event.row].name}" if event.row < len(wallets) else "wallets")
            case "open":
                payouts = self.snapshot.open_payouts
                self.lucid.go(f"payouts/{payouts[event.row].id}" if event.row < len(payouts) else "payouts")
            case "alerts":
                found = self.lucid.alerts()
                if event.row < len(found):
                    self.lucid.go(found[event.row].target)

    def show_alerts(self) -> None:
        """Put the cursor on the alerts."""
        self.set_focus(self.query_one("#alerts", Listing))

    def selected_text(self) -> str:
        """The wallet's address, the payout's id or the alert's words."""
        focused = self.focused
        if not isinstance(focused, Listing):
            return ""
        row = focused.cursor
        wallets, payouts, found = self.snapshot.wallets or (), self.snapshot.open_payouts, self.lucid.alerts()
        match focused.id:
            case "money" if row < len(wallets):
                return wallets[row].address
            case "open" if row < len(payouts):
                return payouts[row].id
            case "alerts" if row < len(found):
                return found[row].text
        return ""

    def export_rows(self) -> list[dict[str, object]]:
        """The alerts."""
        return [{"level": alert.level, "text": alert.text, "target": alert.target} for alert in self.lucid.alerts()]
