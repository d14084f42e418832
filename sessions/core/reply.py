"""One reply: what is known of it from the order to its heard end."""

from dataclasses import dataclass, field, replace

from .config import SessionConfig
from .events import RequestResponse
from .items import Message
from .latency import Moments
from .notices import Latency
from .spoken_text import SpokenText


@dataclass(slots=True)
class Reply:
    """One attempt to answer. Positions in samples of the reply at ``spoken.rate``."""

    number: int
    turn: int
    user_text: str
    response_id: str
    item_id: str
    config: SessionConfig
    moments: Moments
    progress: float
    """When it last came a step further."""
    script: str | None = None
    extra: tuple[Message, ...] = ()
    history: tuple[Message, ...] = ()
    ordered: bool = False
    """StartReply has been ordered; before that it waits for the end of the reply before it."""
    released: bool = False
    audible: bool = False
    generated: bool = False
    """Nothing more will be generated: all of it was, or an engine failed."""
    truncated: bool = False
    told: int = 0
    """Pieces whose text ReplyText has told."""
    pieces: list[str] = field(default_factory=list)
    spoken: SpokenText = field(default_factory=SpokenText)
    usage: tuple[int, int] = (0, 0)
    paused: int | None = None
    """Samples heard when playout was paused for the present overlap."""
    limit: int | None = None
    """Samples the client says it played at most."""
    reason: str | None = None
    message: str | None = None
    latency: Latency | None = None

    @property
    def told_text(self) -> str:
        """What ReplyText has told."""
        return "".join(self.pieces[: self.told])

    @property
    def playing(self) -> str:
        """The text up to about what is being heard, one second to spare: what can echo."""
        if self.paused is None:
            return self.told_text
        return self.spoken.heard(self.paused + self.spoken.rate)

    @property
    def seconds(self) -> float:
        """Length of the audio generated so far."""
        return self.spoken.samples / self.spoken.rate if self.spoken.rate else 0.0


def overridden(config: SessionConfig, request: RequestResponse | None) -> SessionConfig:
    """The configuration of one reply: the session's, with the request's own wishes."""
    if request is None:
        return config
    return replace(
        config,
        instructions=(
            config.instructions if request.instructions is None else request.instructions
        ),
        output_audio=(
            config.output_audio if request.output_audio is None else request.output_audio
        ),
        max_output_tokens=request.max_output_tokens or config.max_output_tokens,
    )
