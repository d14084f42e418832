"""One reply: what is known of it from the order to its heard end."""

from dataclasses import dataclass, field, replace

from sessions.core.config import SessionConfig
from sessions.core.events import RequestReply
from sessions.core.items import Message
from sessions.core.latency import Moments
from sessions.core.notices import Latency, ReplyCreated, ReplyItemAdded
from sessions.core.prompt import composed
from sessions.core.tools.tools import Tool
from sessions.core.transcript import Transcript

from .spoken_text import SpokenText


@dataclass(slots=True)
class Reply:
    """One attempt to answer. Positions in samples of the reply at ``spoken.rate``."""

    number: int
    turn: int
    user_text: str
    reply_id: str
    item_id: str
    config: SessionConfig
    moments: Moments
    progress: float
    """When it last came a step further."""
    script: str | None = None
    request: RequestReply | None = None
    """What the client asked for, where it did."""
    extra: tuple[Message, ...] = ()
    history: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()
    """What it may call."""
    tool_uses: list[tuple[str, str]] = field(default_factory=list)
    """(name, arguments) of each tool that it uses."""
    rounds: int = 0
    """How many replies in a row before it ended in calls."""
    announced: bool = False
    """Its message has been told of: it says something."""
    ordered: bool = False
    """StartReply has been ordered; before that it waits for the end of the reply before it."""
    released: bool = False
    audible: bool = False
    generated: bool = False
    """Nothing more will be generated: all of it was, or an engine failed."""
    truncated: bool = False
    begins_with_filler: bool = False
    """Its first piece was said because the answer was slow."""
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
    def in_conversation(self) -> bool:
        """Whether it becomes an item."""
        return self.request is None or not self.request.out_of_band

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


def created(reply: Reply) -> ReplyCreated:
    """The notice that it is let out."""
    config, request = reply.config, reply.request
    return ReplyCreated(
        reply.reply_id,
        reply.item_id,
        config.output_audio,
        config.max_output_tokens,
        config.voice,
        request.metadata if request else (),
        reply.in_conversation,
    )


def announcement(reply: Reply, previous_item_id: str | None) -> ReplyItemAdded:
    """The notice that it begins to say something."""
    return ReplyItemAdded(
        reply.reply_id,
        reply.item_id,
        previous_item_id,
        reply.config.output_audio,
        reply.in_conversation,
    )


def history_for(reply: Reply, transcript: Transcript) -> tuple[Message, ...]:
    """What the chat model is given: the client's own prompt, or the conversation.

    A written reply beside the conversation is a task of the client's (a summary, a label) and no
    speech of the agent's: its instructions are the client's alone."""
    beside = not reply.in_conversation and not reply.config.output_audio
    instructions = reply.config.instructions if beside else composed(reply.config)
    if reply.request is not None and reply.request.prompt is not None:
        return transcript.prompt(instructions, reply.request.prompt)
    return transcript.messages(instructions, reply.extra)


def overridden(config: SessionConfig, request: RequestReply | None) -> SessionConfig:
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
        voice=request.voice or config.voice,
        tools=config.tools if request.tools is None else request.tools,
        servers=(
            config.servers
            if request.servers is None
            else tuple(s for s in config.servers if s.fixed or s.label in request.servers)
        ),
        tool_choice=request.tool_choice or config.tool_choice,
    )
