"""The error of a call that got no answer: what went wrong, and whether anything of the request had left."""

from enum import StrEnum

from services.kit.errors import Unavailable
from services.kit.socks import PROXY_TROUBLE, Reason


class Fault(StrEnum):
    """What may go wrong once there is a connection; before that it is a `kit.socks.Reason`."""

    REFUSED = "refused"
    """Without Tor: nobody listens there."""
    TLS = "TLS"
    """The certificate is not the host's, or it is no TLS at all: nothing of the request was sent."""
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

    def __init__(self, reason: Reason | Fault, message: str, *, sent: bool) -> None:
        """Say `message`; `sent`: a part of the request may have left."""
        super().__init__(message, reason=reason.value)
        self.reason = reason
        self.sent = sent

    @property
    def is_ours(self) -> bool:
        """Whether our own way out is broken, so that the endpoint is not to blame."""
        return self.reason in PROXY_TROUBLE or self.reason is Fault.CLOSING


def tls_error(error: BaseException) -> EgressError:
    """Say why there is no TLS connection."""
    cause = getattr(error, "certificate_error", error)
    detail = getattr(cause, "verify_message", "")
    words = f"its certificate is refused ({detail})" if detail else "it does not speak TLS there as it should"
    return EgressError(Fault.TLS, f"{words}: nothing was sent", sent=False)
