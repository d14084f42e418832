"""Engines that live behind any HTTP server which speaks OpenAI's contracts.

``client`` holds the connection, the errors and the discovery; ``chat``, ``speech``,
``transcription`` and ``files`` are one engine each. Contracts: https://platform.openai.com/docs/api-reference
"""

from .chat import UpstreamChat
from .client import UpstreamClient, UpstreamSettings
from .files import UpstreamFileTranscriber
from .speech import UpstreamSpeaker
from .transcription import UpstreamTranscriber

__all__ = [
    "UpstreamChat",
    "UpstreamClient",
    "UpstreamFileTranscriber",
    "UpstreamSettings",
    "UpstreamSpeaker",
    "UpstreamTranscriber",
]
