"""Capabilities: nothing is claimed that is not live."""

from tests.support.rest.catalogue_app import Engines, capabilities


async def test_capabilities_of_a_whole_installation() -> None:
    shown = await capabilities(Engines(qualities={"ru": "weak", "ko": "robotic", "xx": "good"}))
    tts = shown["tts"]
    assert tts["available"]
    languages = tts["languages"]
    assert len(languages) == 30
    good = {"quality": "good", "engine": "scripted-voice", "reason": None}
    assert languages["de"] == good
    assert [languages[tag]["quality"] for tag in ("ru", "ko")] == ["weak", "robotic"]
    assert [(one["id"], one["clonedVoices"], one["emotion"]) for one in tts["models"]] == [
        ("blab-stable", True, False),
        ("blab-expressive", False, True),
    ]
    assert tts["delivery"] == ["verbatim", "natural", "expressive"]
    assert tts["tags"] == {
        "tr": ["<breath>", "<sigh>", "<laugh>", "<clear>"],
        "en": ["<laugh>", "<sigh>"],
    }
    assert (tts["polish"], tts["streaming"], tts["maxCharacters"]) == (True, True, 100_000)
    assert tts["speed"] == {"minimum": 0.25, "maximum": 4}
    assert shown["stt"]["models"] == ["scripted-file-ears"]
    assert shown["stt"]["exports"] == ["txt", "srt", "vtt", "json"]
    assert shown["llm"]["available"]
    cloning = shown["voiceCloning"]
    assert (cloning["available"], cloning["method"]) == (True, "style_match")
    assert len(cloning["languages"]) == 30
    assert set(shown["dubbing"]["targets"]) == {"de", "en", "pt"}  # those that are heard
    assert shown["dubbing"]["drafts"] == {}
    assert shown["batch"] == {"maxItems": 200}
    assert shown["realtime"] == {
        "available": True,
        "websocket": "/v1/realtime",
        "webrtc": "/v1/realtime/calls",
        "languages": {
            "en": {
                "available": True,
                "hearing": "scripted-ears",
                "speech": "scripted-voice",
                "wordErrorRate": None,
                "reason": None,
            }
        },
        "languageDetection": True,
    }
    assert shown["limits"] == {
        "maxUploadBytes": 1000,
        "maxMediaSeconds": 60,
        "maxTextCharacters": 100_000,
        "requestsPerMinute": 7,
    }


async def test_only_live_capabilities_are_claimed() -> None:
    ears = "scripted-file-ears"
    absent = frozenset({"verinova-stable", "cloner", "ja", "default", ears, "blab-expressive"})
    shown = await capabilities(Engines(absent=absent), calls=False)
    assert shown["llm"] == {
        "available": False,
        "reason": "no live engine serves 'verinova-stable'",
        "name": "verinova-stable",
        "model": None,
        "note": None,
    }
    assert shown["tts"]["delivery"] == ["verbatim"]
    assert shown["tts"]["languages"]["ja"] == {
        "quality": "none",
        "engine": None,
        "reason": "no live engine serves 'ja'",
    }
    stable, expressive = shown["tts"]["models"]
    assert (stable["available"], expressive["available"]) == (True, False)
    assert (shown["voiceCloning"]["available"], shown["voiceCloning"]["languages"]) == (False, [])
    assert "cloner" in shown["voiceCloning"]["reason"]
    assert (shown["stt"]["available"], shown["stt"]["models"]) == (False, [])
    dubbing = shown["dubbing"]
    assert (dubbing["available"], dubbing["targets"]) == (False, {})
    assert dubbing["reason"] == shown["stt"]["reason"]
    assert not shown["realtime"]["available"]


async def test_dubbing_needs_a_translation_and_a_voice() -> None:
    engines = Engines(absent=frozenset({"en-fr", "ja"}))
    dubbing = (await capabilities(engines))["dubbing"]
    assert "fr" in dubbing["targets"]["de"]
    assert not {"fr", "ja", "en"} & set(dubbing["targets"]["en"])
    assert (dubbing["available"], dubbing["drafts"]) == (True, {})
    engines.words.draft = True
    dubbing = (await capabilities(engines))["dubbing"]
    assert "fr" in dubbing["drafts"]["de"]
    assert not {"fr", "ja", "en"} & set(dubbing["drafts"]["en"])
    assert (dubbing["available"], dubbing["targets"]) == (False, {})
    assert "allowDraft" in dubbing["reason"]


async def test_cloned_voices_need_an_engine_that_speaks_with_them() -> None:
    shown = await capabilities(Engines(absent=frozenset({"cloned"})))
    cloning = shown["voiceCloning"]
    assert (cloning["available"], cloning["languages"]) == (False, [])
    assert cloning["reason"] == "No engine that is live speaks with cloned voices."
    assert not shown["tts"]["models"][0]["clonedVoices"]
