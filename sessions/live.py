"""LiveSession: the asyncio shell around one conversation's core.

It feeds events into the core (audio, engine results, client messages, deadlines) and executes the
core's commands in order. It decides nothing itself.

Rules
- ``dispatch`` is the only way into the core. Events that are raised while commands are executed
  wait their turn, so the core is never re-entered.
- Every task belongs to the session's TaskGroup and is cancelled at its end, and so are the timers.
  After ``run`` nothing of the session is left, and later events are ignored.
- An unexpected fault ends this call only. One in an engine is raised by ``run`` after the core has
  ended the call; one in the core is logged, and the core receives no more events.
- Observers (journal, fan-out, log) never block: the audio path waits for nobody.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any, Protocol, assert_never

from pipelines.engines.catalogue import Catalogue
from pipelines.engines.fair_queue import FLOW
from sessions.core.checkpoint import Checkpoint, Moving
from sessions.core.commands import (
    CancelReply,
    CancelTool,
    CloseCall,
    Command,
    DetectLanguage,
    DropTranscription,
    FinishTranscription,
    ListTools,
    PausePlayout,
    PrepareReply,
    Publish,
    RecordTurn,
    ReleaseReply,
    RestartTranscription,
    ResumePlayout,
    RunTool,
    ScoreTurn,
    SpeakFiller,
    StartReply,
    StartTranscription,
    StopPlayout,
    TranscribeClip,
)
from sessions.core.config import SessionConfig
from sessions.core.conversation import Conversation
from sessions.core.events import (
    CallResumed,
    CallStarted,
    Event,
    HangUp,
    LanguagesFound,
    PlayoutPaused,
    PlayoutStopped,
    RequestCancel,
    Tick,
)
from sessions.core.notices import (
    Fault,
    LanguageChanged,
    LanguagesChanged,
    Notice,
    SessionChanged,
    SessionOpened,
)
from sessions.recording.recorder import CallRecorder
from sessions.speech.call_input import CallInput
from sessions.speech.listening import Listening
from sessions.speech.playout import Playout
from sessions.speech.replying import Replying
from sessions.speech.voice_activity import VoiceActivity

from .agent_config import names_of, with_languages
from .audio_tap import AudioTap
from .channel import Channel, ServerEvent, WireFormat
from .client_messages import Answer, ClientMessages
from .tools import ToolRunner, Tools

log = logging.getLogger(__name__)

INTERNAL_ERROR = "internal_error"
SERVER_SHUTDOWN = "server_shutdown"
PEER_LOST = "peer_lost"
"""The connection was lost, and the call waits for its caller."""
LOADED_EVERY_SECONDS = 1.0
"""Between two looks for engines of other languages that were still loading."""
RESUMED_ELSEWHERE = "resumed_elsewhere"
"""The call was resumed over another connection."""


class Observer(Protocol):
    """Follows a session and never blocks it."""

    def published(self, events: list[dict[str, Any]]) -> None:
        """Server events, as the client receives them."""
        ...

    def recorded(self, turn: RecordTurn) -> None:
        """A finished turn."""
        ...

    def stepped(self, event: Event, now: float, commands: list[Command]) -> None:
        """One step of the core."""
        ...


class LiveSession:
    """One call, from its first to its last sample."""

    def __init__(
        self,
        call_id: str,
        config: SessionConfig,
        channel: Channel,
        wire_format: WireFormat,
        engines: Catalogue,
        observer: Observer,
        tools: ToolRunner | None = None,
        voices: VoiceActivity | None = None,
        resumed: Checkpoint | None = None,
    ) -> None:
        """``voices`` is shared by the calls of the process. ``resumed``: the call goes on from
        there; ``config`` is its configuration."""
        self.call_id = call_id
        self._resumed = resumed
        self.resumable = False
        """A lost connection suspends the call instead of ending it."""
        self._suspended: Checkpoint | None = None
        self._config = config
        self._channel = channel
        self._wire_format = wire_format
        self._engines = engines
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._core = Conversation(call_id)
        self._listening = Listening(
            engines, self.dispatch, self._spawn, voices, self._core.next_position
        )
        self._input = CallInput(channel, self._listening, self.inject, self.dispatch)
        self._messages = ClientMessages(
            wire_format, engines.languages_for, self._listening.keep, self._send
        )
        self._playout = Playout(channel, self.dispatch, self._listening.echo)
        self._replying = Replying(engines, self._playout, self.dispatch, self._advance, self._spawn)
        self._tools = Tools(tools, self.dispatch, self._spawn)
        self._events: deque[tuple[float, Event]] = deque()
        """With the moments at which they happened."""
        self._busy = False
        self._alarm: asyncio.TimerHandle | None = None
        """Rings at the core's next deadline, or before it: at ``_alarm_at``."""
        self._alarm_at = 0.0
        self._pacer: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()
        self._over = False
        """The core receives no more events."""
        self._reason = "ended"
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.tap: AudioTap | None = None
        """Is shown the audio of both sides, while somebody listens in."""

    @property
    def state(self) -> str:
        """The state of the conversation."""
        return self._core.state.value

    @property
    def config(self) -> SessionConfig:
        """The configuration in force."""
        return self._config

    async def run(self) -> str:
        """Run the call to its end; returns the reason. The caller closes the channel."""
        otherwise = INTERNAL_ERROR
        FLOW.set(self.call_id)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self.dispatch(self._beginning())
                self._spawn(self._read())
                await self._ended.wait()
                for task in tuple(self._tasks):
                    task.cancel()
        except asyncio.CancelledError:
            otherwise = SERVER_SHUTDOWN
            raise
        finally:
            self._finish(otherwise)
        return self._reason

    def _beginning(self) -> Event:
        """The first event."""
        config, before = self._with_languages(), self._resumed
        if config.coming:
            self._spawn(self._await_languages())
        return CallResumed(replace(before, config=config)) if before else CallStarted(config)

    def _with_languages(self) -> SessionConfig:
        """The configuration with what the caller may speak now, and later."""
        config = with_languages(self._config, self._engines.languages_for)
        return replace(config, coming=self._engines.languages_coming(names_of(config)))

    async def _await_languages(self) -> None:
        """Have the core know of each language whose engines have been loaded."""
        coming = True
        while coming:
            await asyncio.sleep(LOADED_EVERY_SECONDS)
            found = self._with_languages()
            coming = bool(found.coming)
            if found.coming != self._config.coming:
                self.dispatch(LanguagesFound(found.languages, found.unspoken, found.coming))

    def checkpoint(self, *, lost: bool = False) -> Checkpoint:
        """What the call needs to go on elsewhere (``lost``: see Playout). Not within a command."""
        position = self._playout.position(self._now, lost=lost)
        return self._suspended or self._core.checkpoint(self._now, position)

    def moving(self) -> Moving:
        """The part of the checkpoint that changes while somebody speaks."""
        return self._core.moving(self._now, self._playout.position(self._now))

    def suspend(self, reason: str) -> None:
        """Stop without ending the call, which can go on elsewhere: ``run`` returns ``reason``."""
        if self._over or self._ended.is_set() or not self.resumable:
            return
        self._suspended = self.checkpoint(lost=True)
        self._channel.flush()
        self._over, self._reason = True, reason
        self._ended.set()

    def notify(self, notice: Notice) -> None:
        """Send a notice to the caller's program alone: not to observers, nor into any log."""
        self._send(list(self._wire_format.render(notice)))

    def _finish(self, reason: str) -> None:
        """However the call ended: record what was said, publish a fault, disarm the timers.

        ``reason`` applies if the core has not ended the call."""
        if not self._ended.is_set():
            self.dispatch(HangUp(reason))
        self._over = True
        self._disarm_pacer()
        if self._alarm is not None:
            self._alarm.cancel()
        if self._reason == INTERNAL_ERROR:
            self._publish(Fault(INTERNAL_ERROR, "An internal error ended this call.", server=True))

    def inject(self, message: Mapping[str, Any], answer: Answer | None = None) -> None:
        """Carry out a client message, whoever sent it; a faulty one is answered with an error.

        ``answer``: receives the error instead of the caller."""
        for read in self._messages.read(message, self._config, answer):
            if isinstance(read, Fault):
                self._publish(read)
            else:
                self.dispatch(read)

    def _send(self, events: list[ServerEvent]) -> None:
        """Send to the caller alone."""
        for event in events:
            self._channel.send(event)

    def describe(self, answer: Answer) -> None:
        """Send the current session to a late observer, as at the beginning of a call."""
        answer(list(self._wire_format.render(SessionOpened(self._config))))

    def hang_up(self, reason: str) -> None:
        """End the call."""
        self.dispatch(HangUp(reason))

    def dispatch(self, event: Event) -> None:
        """Feed an event into the core, and execute its commands."""
        if self._over:
            return
        self._note(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._events:
                self._step(*self._events.popleft())
        except Exception:  # the connection's edge: a fault ends this call only
            log.exception("call %s failed", self.call_id)
            self._events.clear()
            self._over = True
            self._reason = INTERNAL_ERROR
            self._ended.set()
        finally:
            self._busy = False
        self._set_alarm()

    def _note(self, event: Event) -> None:
        """Have the core take an event when it has taken those before; it happens now."""
        self._events.append((self._now, event))

    def _step(self, now: float, event: Event) -> None:
        commands = self._core.handle(event, now)
        self._observer.stepped(event, now, commands)
        for command in commands:
            self._execute(command)

    # ------------------------------------------------------------------ commands

    def _execute(self, command: Command) -> None:
        match command:
            case Publish(notice):
                self._publish(notice)
            case StartTranscription(turn, position):
                self._listening.start(turn, position)
            case TranscribeClip(turn, clip):
                self._listening.transcribe_clip(turn, clip)
            case FinishTranscription(turn, position):
                self._listening.finish(turn, position)
            case ScoreTurn(turn, position):
                self._listening.score(turn, position)
            case DetectLanguage():
                self._listening.detect_language(command)
            case RestartTranscription(turn, language):
                self._listening.restart(turn, language)
            case DropTranscription(turn):
                self._listening.drop(turn)
            case StartReply():
                self._replying.start(command, self._channel.output_rate)
            case SpeakFiller(reply, text):
                self._replying.speak_filler(reply, text)
            case PrepareReply():
                self._replying.prepare(command)
            case ListTools(server):
                self._tools.list(server)
            case RunTool():
                self._tools.run(command)
            case CancelTool(tool_use_id):
                self._tools.cancel(tool_use_id)
            case ReleaseReply(reply):
                self._playout.release(reply)
                self._advance()
            case CancelReply(reply):
                self._replying.cancel(reply)
            case PausePlayout(reply):
                self._note(PlayoutPaused(reply, *self._playout.pause(reply, self._now)))
            case ResumePlayout(reply):
                self._playout.resume(reply)
                self._advance()
            case StopPlayout(reply):
                self._note(PlayoutStopped(reply, *self._playout.stop(reply, self._now)))
            case RecordTurn():
                self._observer.recorded(command)
            case CloseCall(reason):
                self._reason = reason
                self._ended.set()
            case _:
                assert_never(command)

    def _publish(self, notice: Notice) -> None:
        if isinstance(notice, SessionOpened | SessionChanged | LanguageChanged | LanguagesChanged):
            self._take_over(notice.config)
        if isinstance(notice, Fault) and self._messages.answered(notice):
            return
        events = list(self._wire_format.render(notice))
        self._send(events)
        self._observer.published(events)

    def _take_over(self, config: SessionConfig) -> None:
        self._config = self._listening.config = config
        rate = self._channel.output_rate
        self._channel.configure(config)
        order = self._replying.current
        if order is None or self._channel.output_rate == rate or not order.config.output_audio:
            return
        if self._playout.sounding(order.reply):
            # The reply in progress was made for the old rate.
            self._note(RequestCancel(reformatted=True))

    # ------------------------------------------------------------------ time

    @property
    def _now(self) -> float:
        return self._loop.time()

    def _set_alarm(self) -> None:
        """Have the alarm ring at the next deadline. One that rings too early stays: while the
        caller speaks, each window of audio postpones a deadline."""
        deadline = self._core.next_deadline()
        if deadline is None or self._ended.is_set():
            return
        if self._alarm is not None:
            if self._alarm_at <= deadline:
                return
            self._alarm.cancel()
        self._alarm = self._loop.call_at(deadline, self._ring)
        self._alarm_at = deadline  # uvloop's handle for a moment that is past does not know it

    def _ring(self) -> None:
        self._alarm = None
        deadline = self._core.next_deadline()
        if deadline is not None and deadline <= self._now:
            self.dispatch(Tick())
        else:
            self._set_alarm()

    def _advance(self) -> None:
        """Send the audio that is due, and schedule the next round."""
        if self._over:
            return
        self._disarm_pacer()
        again = self._playout.advance(self._now)  # its events may have called this again
        if again is not None and not self._ended.is_set():
            self._disarm_pacer()
            self._pacer = self._loop.call_at(again, self._advance)

    def _disarm_pacer(self) -> None:
        if self._pacer is not None:
            self._pacer.cancel()
            self._pacer = None

    # ------------------------------------------------------------------ input

    async def _read(self) -> None:
        """Read what the peer sends until it is gone."""
        await self._input.read()
        if self.resumable and self._channel.dropped:
            self.suspend(PEER_LOST)
        else:
            self.dispatch(HangUp("peer_gone"))

    def listen_in(self, tap: AudioTap | None) -> None:
        """Show ``tap`` the audio of both sides from now on; None: nobody."""
        self.tap = self._input.tap = self._playout.tap = tap

    def record(self, recorder: CallRecorder) -> None:
        """Give ``recorder`` the audio of both sides; call it before ``run``."""
        self._listening.recorder = self._playout.recorder = recorder

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        if self._group is None:
            work.close()
            raise RuntimeError("the session is not running")
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
