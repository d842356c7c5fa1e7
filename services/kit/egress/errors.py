"""The error of a call that got no answer: what went wrong, and whether anything of the request had left."""

from enum import StrEnum

from services.kit.errors import Unavailable
from services.kit.socks import PROXY_TROUBLE, Reason


class Fault(StrEnum):
    """What may go wrong once there is a connection; before that it is a `kit.socks.Reason`."""

    REFUSED = "refused"
    """Without Tor: nobody listens there."""
    TLS = "TLS"
    """The certificate is not the host's, or what comes is no TLS."""
    TIMEOUT = "timeout"
    """No whole answer in time."""
    BROKEN = "broken"
    """The connection ended before the answer did."""
    TOO_LARGE = "too large"
    """The answer is longer than asked for."""
    CLOSING = "closing"
    """This process is stopping."""


class EgressError(Unavailable):
    """A call did not get its answer."""

    code, title = "egress", "No answer from outside"

    def __init__(self, reason: Reason | Fault, message: str, *, sent: bool, cut_off: bool = False) -> None:
        """Say `message`.

        Args:
            reason: what went wrong.
            message: the same in words.
            sent: whether a part of the request may have left.
            cut_off: whether Tor reached nobody at all since this call began.
        """
        super().__init__(message, reason=reason.value)
        self.reason = reason
        self.sent = sent
        self.cut_off = cut_off

    @property
    def is_ours(self) -> bool:
        """Whether the SOCKS port is broken or this process stops: another circuit would not help."""
        return self.reason in PROXY_TROUBLE or self.reason is Fault.CLOSING

    @property
    def blames_nobody(self) -> bool:
        """Whether the endpoint was not asked, and is not to blame for that."""
        return not self.sent and (self.is_ours or self.cut_off)


def tls_error(error: BaseException, *, sent: bool = False) -> EgressError:
    """Say why there is no TLS connection, or why there is none any more.

    A single changed byte ends a connection that had been well, and by then the request may have arrived.
    """
    if sent:
        return EgressError(Fault.BROKEN, "the connection broke (what came was no TLS)", sent=True)
    cause = getattr(error, "certificate_error", error)
    detail = getattr(cause, "verify_message", "")
    words = f"its certificate is refused ({detail})" if detail else "it does not speak TLS there as it should"
    return EgressError(Fault.TLS, f"{words}: nothing was sent", sent=False)
