"""The voice activity network as an engine (``media.vad``)."""

from pathlib import Path

from media.vad import SileroModel
from pipelines.engines.engine import Engine, EngineSettings, Role
from pipelines.engines.executor import EngineExecutor
from pipelines.weights.manifest import MODELS

MODEL_ID = "silero-vad"
LOAD_DEADLINE = 30.0


def silero_file(models_dir: Path) -> Path:
    """The network's file."""
    return models_dir / MODEL_ID / "silero_vad.onnx"


async def _load(settings: EngineSettings) -> SileroModel:
    loader = EngineExecutor(f"{MODEL_ID} loader", 1, 0)
    try:
        path = silero_file(settings.models_dir)
        return await loader.run(SileroModel, path, deadline=LOAD_DEADLINE)
    finally:
        await loader.close()


ENGINE = Engine(role=Role.VAD, id=MODEL_ID, weights=(MODELS[MODEL_ID],), load=_load)
