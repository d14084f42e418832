from datetime import UTC, datetime

import pytest

from sessions.agent_config import session_config
from store.tenants.agents import Agent


@pytest.mark.parametrize(("language", "spoken"), [("de", "de"), (None, "en")])
def test_an_agent_is_what_its_record_says(language: str | None, spoken: str) -> None:
    now = datetime.now(UTC)
    agent = Agent("agt_1", "ws_1", "Ann", "Be kind.", "m", "t", "nova", language, False, now, now)
    config = session_config(agent)
    assert (config.model, config.speech_model, config.voice) == ("m", "t", "nova")
    assert (config.instructions, config.language) == ("Be kind.", spoken)
