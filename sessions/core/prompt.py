"""The system prompt: what every agent is told, around the instructions that the client gives.

Without it a model says that it is another company's, and writes lists that a voice then reads.

Rules
- The client's instructions follow verbatim and come last, so that they win: of two names the small
  models take the later one. The session object shows the client's instructions alone.
- It is a function of the configuration only, and so the same from turn to turn: the model reads it
  once a call, ahead of the first turn (about 102 tokens of Qwen2.5, 70 beyond what its template
  says without one).
- Worded by trial on bench/brain.py's 40 questions (temperature 0), beside its plain "answer in one
  or two short spoken sentences, without lists, markup or emoji": Qwen2.5-Coder 1.5B passes 35
  instead of 33 (it knows its name and that it cannot know the weather), the 0.5B 23 instead of 25
  (it knows its name, and still writes lists of steps). A shorter prompt (73 tokens) gave the 0.5B
  26, but had the 1.5B invent the weather and the time again. With the facts that sums are given
  (``pipelines.engines.chat.sums``), and those of the clock allowed for, they pass 37 and 27.
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
    " you cannot look it up, unless a fact says it."
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
