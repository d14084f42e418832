"""UpstreamSpeaker: a voice behind ``POST /v1/audio/speech``, raw PCM streamed as it is made.

https://platform.openai.com/docs/api-reference/audio/createSpeech
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from media.formats import SAMPLE_BYTES
from pipelines.engines.base import EngineFailed

from .client import UpstreamClient

SLOWEST, FASTEST = 0.25, 4.0
INPUT_LIMIT = 4096
"""Characters the contract allows in one request."""


class UpstreamSpeaker:
    """A Speaker; the contract's ``pcm`` is 24 kHz mono PCM16 LE."""

    def __init__(
        self,
        model_id: str,
        client: UpstreamClient,
        upstream_model: str = "",
        *,
        default_voice: str = "alloy",
        sample_rate: int = 24_000,
    ) -> None:
        self.model_id = model_id
        self.sample_rate = sample_rate
        self.voices: tuple[str, ...] = ("default", default_voice)
        self._client = client
        self._model = upstream_model or model_id
        self._default = default_voice

    async def speak(
        self,
        text: str,
        *,
        voice: str = "default",
        speed: float = 1.0,
        language: str = "en",  # noqa: ARG002 - the contract has no language; models hear it in the text
    ) -> AsyncGenerator[bytes, None]:
        """Yield whole samples as they come; any voice name goes to the upstream as it is.

        Closing the generator closes the connection."""
        for part in _parts(text):
            request = {
                "model": self._model,
                "input": part,
                "voice": self._default if voice == "default" else voice,
                "response_format": "pcm",
                "speed": min(max(speed, SLOWEST), FASTEST),
            }
            opened = self._client.open("POST", "/audio/speech", model=self._model, json=request)
            async with opened as response:
                if response.content_type in ("application/json", "text/html", "audio/wav"):
                    raise EngineFailed(
                        f"the upstream sent {response.content_type} where raw PCM was asked for"
                    )
                rest = b""
                async with aclosing(self._client.pieces(response)) as pieces:
                    async for piece in pieces:
                        piece = rest + piece
                        whole = len(piece) // SAMPLE_BYTES * SAMPLE_BYTES
                        rest = piece[whole:]
                        if whole:
                            yield piece[:whole]


def _parts(text: str) -> list[str]:
    """``text`` in parts of INPUT_LIMIT characters at most, cut at spaces where there are any."""
    parts = []
    text = text.strip()
    while len(text) > INPUT_LIMIT:
        cut = text.rfind(" ", 1, INPUT_LIMIT)
        cut = cut if cut > 0 else INPUT_LIMIT
        parts.append(text[:cut])
        text = text[cut:].strip()
    return [*parts, text] if text else parts
