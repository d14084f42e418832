"""The system prompt: what every agent is told, around the instructions that the client gives.

Without it a model says that it is another company's, and writes lists that a voice then reads.

Rules
- The client's instructions follow verbatim and come last, so that they win: of two names the small
  models take the later one. The session object shows the client's instructions alone.
- It is a function of the configuration only, and so the same from turn to turn: the model reads it
  once a call, ahead of the first turn (Qwen2.5: 95 tokens, 60 of them beyond what its template
  would say of itself).
- Worded by trial with Qwen2.5-Coder 0.5B and 1.5B over a dozen everyday questions: both keep the
  name and the language and answer in a third fewer words; "say that you cannot look it up" stops
  the 1.5B from inventing the weather, "no clock" the time. Nothing stops the 0.5B.
"""

from .config import SessionConfig

DEFAULT_NAME = "Blab"
_MOST_NAME_CHARACTERS = 60

_SPOKEN = (
    "You are {name}, an AI voice assistant, not a human. Everything you say is read aloud, so"
    " answer like on the phone: one or two short sentences unless the caller wants more, no lists"
    " and no markup, in {language}."
)
_WRITTEN = "You are {name}, an AI assistant, not a human. Answer in {language}."
_NO_LIVE_DATA = (
    " You have no clock and no internet: if asked for the time, the weather or the news, say that"
    " you cannot look it up."
)
_LANGUAGES = {
    "de": "German",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "nl": "Dutch",
    "pt": "Portuguese",
}
"""By name where the session has one of these; English is the default and says nothing of the
caller."""


def composed(config: SessionConfig) -> str:
    """The instructions of a conversation's replies: Blab's own, then the client's."""
    language = _LANGUAGES.get(config.language.partition("-")[0].lower())
    words = _SPOKEN if config.output_audio else _WRITTEN
    own = words.format(
        name=" ".join(config.agent_name.split())[:_MOST_NAME_CHARACTERS] or DEFAULT_NAME,
        language=language
        or ("the caller's language" if config.output_audio else "the user's language"),
    )
    if not (config.tools or config.servers):
        own += _NO_LIVE_DATA
    return f"{own}\n\n{config.instructions}" if config.instructions.strip() else own
