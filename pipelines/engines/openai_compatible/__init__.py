"""Engines behind any HTTP server that speaks OpenAI's contracts
(https://platform.openai.com/docs/api-reference): ``client`` holds the connection, the errors and
the model list, ``chat`` and ``audio`` the engines.
"""

from .audio import (
    UpstreamFileTranscriber,
    UpstreamSpeaker,
    UpstreamTranscriber,
)
from .chat import UpstreamChat
from .client import UpstreamClient, UpstreamSettings

__all__ = [
    "UpstreamChat",
    "UpstreamClient",
    "UpstreamFileTranscriber",
    "UpstreamSettings",
    "UpstreamSpeaker",
    "UpstreamTranscriber",
]
