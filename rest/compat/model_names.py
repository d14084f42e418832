"""ModelNames: which of this server's models an OpenAI client's model id means.

What cannot be served by any name is left for the engines to refuse, in their own words.
"""

from pipelines.engines.base import ChatModel, ModelUnavailable
from pipelines.engines.jobs import JobEngines, SpeechChoice
from pipelines.speech.order import STABLE
from rest.resources.capabilities import CHAT, HEARING

from . import stock_names


class ModelNames:
    """Asks the engines; loads none."""

    def __init__(self, engines: JobEngines) -> None:
        self._engines = engines

    def speech(self, model_id: str) -> str:
        """The model that speaks."""
        if stock_names.SPEECH.fullmatch(model_id) is None:
            return model_id
        try:
            self._engines.check_speech(SpeechChoice(model_id))
        except ModelUnavailable:
            return STABLE
        return model_id

    def transcription(self, model_id: str, language: str | None) -> str:
        """The model that hears recordings; raises ModelUnavailable."""
        try:
            self._engines.check_transcription(model_id, language)
        except ModelUnavailable:
            if "diarize" in model_id:
                raise ModelUnavailable(
                    f"{model_id!r} is not served: speakers are not told apart here"
                ) from None
            if stock_names.TRANSCRIPTION.fullmatch(model_id) is None:
                raise
            self._engines.check_transcription(HEARING, language)
            return HEARING
        return model_id

    def chat(self, model_id: str) -> tuple[str, ChatModel]:
        """The chat model and the name by which it is billed; raises ModelUnavailable."""
        try:
            return model_id, self._engines.chat(model_id)
        except ModelUnavailable:
            known = (stock_names.CHAT, stock_names.REALTIME)
            if not any(pattern.fullmatch(model_id) for pattern in known):
                raise
            return CHAT, self._engines.chat(CHAT)
