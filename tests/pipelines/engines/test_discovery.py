"""Engines of other packages, by their entry points."""

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from pipelines.engines.discovery import BUILT_IN, GROUP, Installed, Plugin, discover
from pipelines.engines.engine import Engine, EngineSettings, Role


async def load(_settings: EngineSettings) -> object:
    raise AssertionError("nobody asked for it")


TALKER = Engine(role=Role.CHAT, id="talker", load=load)
SINGER = Engine(role=Role.SPEECH, id="singer", load=load)
BOTH = [TALKER, SINGER]
TWICE = [TALKER, TALKER]
THIEF = Engine(role=Role.SPEECH, id="hibari", load=load)
NONSENSE = 5
MIXED = [TALKER, "singer"]


class Distribution:
    def __init__(self, name: str) -> None:
        self.name = name


def point(distribution: str, value: str, module: str = __name__) -> EntryPoint:
    made = EntryPoint(value.lower(), f"{module}:{value}", GROUP)
    vars(made).update(dist=Distribution(distribution))
    return made


def added(found: Installed) -> list[Engine]:
    assert found.engines[: len(BUILT_IN)] == BUILT_IN
    return list(found.engines[len(BUILT_IN) :])


def test_an_entry_point_names_an_engine_or_several() -> None:
    assert added(discover([point("one", "TALKER")])) == [TALKER]
    found = discover([point("two", "BOTH")])
    assert added(found) == [TALKER, SINGER]
    assert found.plugins == (Plugin("two", "both", ("talker", "singer")),)
    assert discover([]) == Installed(BUILT_IN, ())


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("THIEF", "the engine id 'hibari' of other is already that of blab"),
        ("TWICE", "other declares chat 'talker' twice"),
        ("NONSENSE", "is a int, not an Engine"),
        ("MIXED", "holds a str, not only Engines"),
        ("ABSENT", "AttributeError"),
    ],
)
def test_a_broken_package_is_left_out_with_its_reason(
    caplog: pytest.LogCaptureFixture, value: str, reason: str
) -> None:
    found = discover([point("other", value), point("sound", "SINGER")])
    assert added(found) == [SINGER]
    (plugin,) = (plugin for plugin in found.plugins if plugin.distribution == "other")
    assert plugin.engines == ()
    assert reason in plugin.reason
    assert reason in caplog.text
    assert "the engines of other" in caplog.text


def test_an_id_belongs_to_the_first_package_that_declares_it() -> None:
    found = discover([point("zebra", "TALKER"), point("ant", "BOTH")])
    assert added(found) == [TALKER, SINGER]
    reasons = {plugin.distribution: plugin.reason for plugin in found.plugins}
    assert reasons == {
        "ant": "",
        "zebra": "the engine id 'talker' of zebra is already that of ant",
    }


@pytest.mark.parametrize("model_id", ["", "default", "two words"])
def test_an_id_is_one_word_and_not_default(model_id: str) -> None:
    options: dict[str, Any] = {"role": Role.CHAT, "id": model_id, "load": load}
    with pytest.raises(ValueError, match="cannot be an engine's id"):
        Engine(**options)
