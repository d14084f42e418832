"""What a client offers in Sec-WebSocket-Protocol: the vocabulary it speaks and, in browsers, a key.

``realtime`` is JSON with base64 audio; ``blab.binary.v1`` the same with raw binary audio frames.
``openai-insecure-api-key.<key>`` carries the key of a client that cannot set headers;
``openai-*`` names beside it (``openai-agents-sdk.<version>``, ``openai-beta.realtime-v1``,
organisation, project) are taken and ignored. A key is never echoed.
"""

from dataclasses import dataclass, field

REALTIME = "realtime"
BINARY = "blab.binary.v1"
_KEY = "openai-insecure-api-key."
_IGNORED = "openai-"


class UnknownSubprotocol(ValueError):
    """Subprotocols were offered and none of them is spoken here."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What was offered. ``chosen``: to be echoed, None where nothing was offered."""

    chosen: str | None = None
    key: str | None = field(default=None, repr=False)

    @property
    def binary(self) -> bool:
        """Whether audio goes as binary frames."""
        return self.chosen == BINARY


def read_offer(header: str | None) -> Offer:
    """The offer in the header's value; raises UnknownSubprotocol."""
    names = [name.strip() for name in (header or "").split(",") if name.strip()]
    if not names:
        return Offer()
    key = next((name.removeprefix(_KEY) for name in names if name.startswith(_KEY)), None)
    for protocol in (BINARY, REALTIME):
        if protocol in names:
            return Offer(protocol, key)
    raise UnknownSubprotocol(
        f"None of the subprotocols offered is spoken here: offer '{REALTIME}' or '{BINARY}'."
    )
