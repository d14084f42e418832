from datetime import UTC, datetime

import pytest

from sessions.agent_config import session_config, with_languages
from sessions.core.config import SessionConfig
from store.tenants.agents import Agent


@pytest.mark.parametrize(("language", "spoken"), [("de", "de"), (None, "en")])
def test_an_agent_is_what_its_record_says(language: str | None, spoken: str) -> None:
    now = datetime.now(UTC)
    agent = Agent("agt_1", "ws_1", "Ann", "Be kind.", "m", "t", "nova", language, False, now, now)
    config = session_config(agent)
    assert (config.model, config.speech_model, config.voice) == ("m", "t", "nova")
    assert (config.instructions, config.language) == ("Be kind.", spoken)


@pytest.mark.parametrize(
    ("hints", "languages", "begins"),
    [
        ((), ("en", "de", "es"), "en"),
        (("es", "en"), ("en", "es"), "en"),
        (("es", "de"), ("de", "es"), "de"),
        (("ja",), (), "en"),
    ],
)
def test_hints_narrow_what_the_caller_may_speak(
    hints: tuple[str, ...], languages: tuple[str, ...], begins: str
) -> None:
    config = with_languages(SessionConfig(language_hints=hints), lambda _: ("en", "de", "es"))
    assert (config.languages, config.language) == (languages, begins)


def test_a_known_language_is_kept_while_it_may_be_spoken() -> None:
    known = SessionConfig(language="es", language_known=True)
    kept = with_languages(known, lambda _: ("en", "es"))
    assert (kept.language, kept.language_known) == ("es", True)
    lost = with_languages(known, lambda _: ("en", "de"))
    assert (lost.language, lost.language_known) == ("en", False)
