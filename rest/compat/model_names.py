"""ModelNames: which of this server's models an OpenAI client's model id means.

What cannot be served by any name is left for the engines to refuse, in their own words.
"""

from pipelines.engines.base import ChatModel, ModelUnavailable
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.engine import Role
from pipelines.engines.jobs import SpeechChoice
from pipelines.engines.stock_names import is_stock
from pipelines.speech.order import STABLE
from rest.resources.capabilities import CHAT, HEARING


class ModelNames:
    """Asks the engines; only ``chat`` may load one."""

    def __init__(self, engines: Catalogue) -> None:
        self._engines = engines

    def speech(self, model_id: str) -> str:
        """The model that speaks."""
        if not is_stock(Role.SPEECH, model_id):
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
            if not is_stock(Role.TRANSCRIPTION, model_id):
                raise
            self._engines.check_transcription(HEARING, language)
            return HEARING
        return model_id

    async def chat(self, model_id: str) -> tuple[str, ChatModel]:
        """The chat model and the name by which it is billed; raises ModelUnavailable."""
        if is_stock(Role.CHAT, model_id) and not self._engines.serves(Role.CHAT, model_id):
            model_id = CHAT
        return model_id, await self._engines.chat(model_id)
