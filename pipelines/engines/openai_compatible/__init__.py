"""Engines that live behind any HTTP server which speaks OpenAI's contracts.

``client`` holds the connection, the errors and the discovery; ``chat``, ``speech`` and
``transcription`` are one engine each. Contracts: https://platform.openai.com/docs/api-reference
"""

from .chat import UpstreamChat
from .client import UpstreamClient, UpstreamSettings
from .speech import UpstreamSpeaker
from .transcription import UpstreamTranscriber

__all__ = [
    "UpstreamChat",
    "UpstreamClient",
    "UpstreamSettings",
    "UpstreamSpeaker",
    "UpstreamTranscriber",
]
