from pathlib import Path

from gateway.engines import engine_settings, wanted_models
from gateway.settings import Settings


def test_the_settings_reach_the_engines(tmp_path: Path) -> None:
    settings = Settings.read(
        {
            "BLAB_MODELS_DIR": str(tmp_path),
            "BLAB_PROFILE": "full",
            "BLAB_MAX_CALLS": "3",
            "BLAB_UPSTREAM_URL": "http://127.0.0.1:9/v1",
            "BLAB_UPSTREAM_KEY": "sk",
            "BLAB_SPEECH_MODEL": "tts",
        }
    )
    engines = engine_settings(settings)
    assert (engines.models_dir, engines.profile, engines.calls) == (tmp_path, "full", 3)
    assert (engines.upstream_url, engines.upstream_key) == ("http://127.0.0.1:9/v1", "sk")
    assert (engines.chat_model, engines.speech_model) == (None, "tts")


def test_only_the_weights_that_are_used_are_wanted() -> None:
    def wanted(**environ: str) -> list[str]:
        settings = Settings.read({"BLAB_PROFILE": "small", **environ})
        return [model.name for model in wanted_models(settings)]

    assert "qwen2.5-0.5b" in wanted()
    assert not [name for name in wanted(BLAB_CHAT_MODEL="gpt-4o") if name.startswith("qwen")]
    larger = wanted(BLAB_CHAT_MODEL="qwen2.5-1.5b")
    assert [name for name in larger if name.startswith("qwen")] == ["qwen2.5-1.5b"]
