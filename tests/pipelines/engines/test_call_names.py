"""Names in a call that nothing here serves, distinguished from those that are served."""

from dataclasses import replace
from typing import Any

import pytest

from pipelines.engines.call_names import MOST_LISTED, CallNames, listed
from tests.pipelines.engines.test_catalogue import House, Make, house, make, upstream
from tests.support.pipelines.upstream_server import Upstream

__all__ = ["house", "make", "upstream"]

SERVED = [
    {},
    {"model": "qwen", "transcription_model": "moonshine", "speech_model": "hibari"},
    {"model": "verinova-stable", "speech_model": "blab-stable"},
    {"transcription_model": "vosk"},
    {"voice": "heart"},
    {"voice": "alloy"},
    {"voice": "en-GB"},
    {"speech_model": "pico", "voice": "de-DE"},
    {"language": "en-GB"},
    {"language": "de", "hears": False},
]


@pytest.mark.parametrize("names", SERVED)
async def test_served_names_are_no_fault(make: Make, names: dict[str, Any]) -> None:
    engines = await make()
    assert engines.name_faults(CallNames(**names)) == ()


NOT_SERVED: list[tuple[dict[str, Any], str, str]] = [
    ({"model": "nope-1"}, "model", "'qwen'"),
    ({"transcription_model": "nope-stt"}, "transcription_model", "'vosk', 'moonshine'"),
    ({"transcription_model": "blab-stable"}, "transcription_model", "'moonshine'"),
    ({"speech_model": "nope-tts"}, "speech_model", "'blab-stable', 'hibari', 'pico'"),
    ({"speech_model": "blab-expressive"}, "speech_model", "'hibari', 'pico'"),
    ({"voice": "zorro"}, "voice", "'default', 'heart', 'en-GB', and OpenAI's"),
    ({"voice": "de-DE"}, "voice", "'heart'"),
    ({"language": "es"}, "language", "Accepted: 'en'."),
    ({"language": "es", "hears": False}, "language", "Accepted: 'de', 'en'."),
    ({"speech_model": "hibari", "language": "de", "hears": False}, "language", "'en'"),
    ({"voice": "heart", "language": "de", "hears": False}, "voice", "'de-DE'"),
]


@pytest.mark.parametrize(("names", "field", "accepted"), NOT_SERVED)
async def test_an_unserved_name_is_reported_with_the_accepted_ones(
    make: Make, names: dict[str, Any], field: str, accepted: str
) -> None:
    engines = await make()
    (fault,) = engines.name_faults(CallNames(**names))
    assert (fault.field, fault.name) == (field, getattr(CallNames(**names), field))
    assert repr(fault.name) in fault.message
    assert accepted in fault.message
    assert not fault.known


async def test_all_faults_are_named_and_captions_need_no_voice(make: Make) -> None:
    engines = await make()
    names = CallNames("a", "b", "c", "zorro", "xx")
    assert [fault.field for fault in engines.name_faults(names)] == [
        "model",
        "transcription_model",
        "speech_model",
    ]
    names = CallNames(voice="zorro", language="xx")
    assert [fault.field for fault in engines.name_faults(names)] == ["language"]
    assert engines.name_faults(replace(names, language="en", speaks=False)) == ()


async def test_a_model_that_failed_to_load_is_known(make: Make, house: House) -> None:
    house.broken = {"pico"}
    engines = await make()
    (fault,) = engines.name_faults(CallNames(speech_model="pico"))
    assert fault.known
    assert "no luck" in fault.message
    assert "'pico'" not in fault.message.partition("Accepted")[2]


async def test_an_upstreams_voices_are_its_own_business(make: Make, upstream: Upstream) -> None:
    engines = await make(upstream_url=upstream.url, speech_model="voice-1")
    assert engines.name_faults(CallNames(voice="zorro", language="es", hears=False)) == ()


def test_a_list_is_bounded() -> None:
    told = listed(f"m{n}" for n in range(MOST_LISTED + 5))
    assert told.endswith("and 5 more")
