"""What a client offers in Sec-WebSocket-Protocol: its wire format and, in browsers, a key.

``realtime`` is JSON with base64 audio; ``blab.binary.v1`` the same with raw binary audio frames.
``openai-insecure-api-key.<key>`` carries the key of a client that cannot set headers;
``openai-beta.realtime-v1`` asks for the beta's names of events; other ``openai-*`` names
(``openai-agents-sdk.<version>``, organisation, project) are taken and ignored. A key is never
echoed.
"""

from dataclasses import dataclass, field

REALTIME = "realtime"
BINARY = "blab.binary.v1"
_KEY = "openai-insecure-api-key."
_BETA = "openai-beta.realtime-v1"


class UnknownSubprotocol(ValueError):
    """Subprotocols were offered and none of them is spoken here."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What was offered. ``chosen``: to be echoed, None where nothing was offered."""

    chosen: str | None = None
    key: str | None = field(default=None, repr=False)
    beta: bool = False
    """It knows events by the beta's names (``openai-beta.realtime-v1``, or the header
    ``OpenAI-Beta: realtime=v1``)."""

    @property
    def binary(self) -> bool:
        """Whether audio goes as binary frames."""
        return self.chosen == BINARY


def read_offer(header: str | None, beta: str | None = None) -> Offer:
    """The offer in the header's value, and in that of OpenAI-Beta; raises UnknownSubprotocol."""
    names = [name.strip() for name in (header or "").split(",") if name.strip()]
    old = _BETA in names or "realtime=v1" in [name.strip() for name in (beta or "").split(",")]
    if not names:
        return Offer(beta=old)
    key = next((name.removeprefix(_KEY) for name in names if name.startswith(_KEY)), None)
    for protocol in (BINARY, REALTIME):
        if protocol in names:
            return Offer(protocol, key, old)
    raise UnknownSubprotocol(
        f"None of the subprotocols offered is spoken here: offer '{REALTIME}' or '{BINARY}'."
    )
