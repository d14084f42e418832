"""Notices to server events.

A delta of the caller's transcript holds only words that can never be retracted: two consecutive
partials agree on them and on all words before them.

The renderer keeps what the wire needs to remember: the configuration in force, the growing
transcripts, and the items that have been announced and not finished. Events come out without
their event_id; the wire format numbers them.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import assert_never

from media.formats import HEARING_RATE, milliseconds_of
from sessions.core.config import Extension, SessionConfig
from sessions.core.notices import (
    Fault,
    HearingWaits,
    IdleTimeout,
    InputCleared,
    InputCommitted,
    ItemAdded,
    ItemDeleted,
    ItemRetrieved,
    ItemTruncated,
    KeyReceived,
    LanguageChanged,
    LanguagesChanged,
    LanguageUnspoken,
    Latency,
    Notice,
    PlayoutBegan,
    PlayoutCleared,
    PlayoutEnded,
    PlayoutHeld,
    PlayoutResumed,
    Pong,
    ReplyCreated,
    ReplyDone,
    ReplyItemAdded,
    ReplyText,
    ResumptionHandle,
    SessionChanged,
    SessionOpened,
    SpeechStarted,
    SpeechStopped,
    ToolBegun,
    ToolEnded,
    ToolListing,
    TranscriptFailed,
    TranscriptFinal,
    TranscriptPartial,
)

from .items import heard_message, is_open, render_item
from .replies import (
    Body,
    reply_created,
    reply_done,
    reply_item_added,
    reply_text,
    tool_begun,
    tool_ended,
    tool_listing,
)
from .session_object import render_session

_MOST_TRANSCRIPTS = 32
"""Transcripts growing at once; the oldest is forgotten beyond that (it never got a final)."""

_PlayoutNotice = PlayoutBegan | PlayoutHeld | PlayoutResumed | PlayoutEnded | PlayoutCleared


class Renderer:
    """Server events of one call; ``playout_events``: send OpenAI's output_audio_buffer.*.

    ``rate_limits``: those of the call at the moment, as rate_limits.updated has them."""

    def __init__(
        self, session_id: str, *, playout_events: bool, rate_limits: Callable[[], list[Body]]
    ) -> None:
        self._session_id = session_id
        self._conversation_id = f"conv_{session_id.rpartition('_')[2]}"
        self._rate_limits = rate_limits
        self._playout_events = playout_events
        self._config = SessionConfig()
        self._transcripts: dict[str, StablePrefix] = {}
        self._replies: dict[str, ReplyCreated] = {}
        """By the id of its item, until it is done."""
        self._messages: dict[str, ReplyItemAdded] = {}
        self._announced: str | None = None
        self._heard_seconds = 0.0
        """Of the caller's speech since the last reply."""
        self._idle_timeouts = 0

    def render(self, notice: Notice) -> list[Body]:
        """The server events of ``notice``, in protocol order."""
        match notice:
            case SessionOpened():
                for reply in notice.begun:
                    self._replies[reply.created.item_id] = reply.created
                    if reply.added is not None:
                        self._messages[reply.created.item_id] = reply.added
                return self._session("created", notice.config)
            case SessionChanged():
                return self._session("updated", notice.config)
            case LanguageChanged():
                return self._language_changed(notice)
            case LanguageUnspoken():
                return self._language(
                    notice.item_id, notice.language, notice.probability, spoken=False
                )
            case LanguagesChanged():
                return self._languages_changed(notice)
            case HearingWaits():
                return self._if_asked(Extension.HEARING, "blab.hearing.waiting", asdict(notice))
            case SpeechStarted():
                return self._speech_started(notice)
            case SpeechStopped():
                return self._speech_stopped(notice)
            case InputCommitted():
                return self._input_committed(notice)
            case InputCleared():
                return [{"type": "input_audio_buffer.cleared"}]
            case TranscriptPartial():
                return self._transcript_partial(notice)
            case TranscriptFinal():
                return self._transcript_final(notice)
            case TranscriptFailed():
                return self._transcript_failed(notice)
            case ItemAdded():
                return self._item_added(notice)
            case ItemRetrieved():
                item = render_item(notice.item)
                return [{"type": "conversation.item.retrieved", "item": item}]
            case ItemDeleted():
                return [{"type": "conversation.item.deleted", "item_id": notice.item_id}]
            case ItemTruncated():
                return self._item_truncated(notice)
            case ReplyCreated():
                return self._reply_created(notice)
            case ReplyItemAdded():
                return self._reply_item_added(notice)
            case ReplyText():
                return reply_text(notice)
            case ReplyDone():
                return self._reply_done(notice)
            case ToolBegun():
                return tool_begun(notice)
            case ToolEnded():
                return tool_ended(notice)
            case ToolListing():
                return tool_listing(notice)
            case KeyReceived():
                return self._key_received(notice)
            case IdleTimeout():
                return self._idle_timeout(notice)
            case Pong():
                return [{"type": "blab.pong", "ping_id": notice.ping_id}]
            case Latency():
                return self._if_asked(Extension.LATENCY, "blab.latency", _fields(notice))
            case ResumptionHandle():
                kind = "blab.session.resumption"
                return self._if_asked(Extension.RESUMPTION, kind, asdict(notice))
            case Fault():
                return [fault_body(notice)]
            case _:
                return self._playout(notice)

    def _session(self, what: str, config: SessionConfig) -> list[Body]:
        self._config = config
        session = render_session(config, self._session_id)
        return [{"type": f"session.{what}", "session": session}]

    def _language_changed(self, notice: LanguageChanged) -> list[Body]:
        self._config = notice.config
        language = notice.config.language
        return self._language(notice.item_id, language, notice.probability, spoken=True)

    def _language(
        self, item_id: str, language: str, probability: float, *, spoken: bool
    ) -> list[Body]:
        found: Body = {
            "item_id": item_id,
            "language": language,
            "probability": round(probability, 3),
            "spoken": spoken,
        }
        return self._if_asked(Extension.LANGUAGE, "blab.language", found)

    def _languages_changed(self, notice: LanguagesChanged) -> list[Body]:
        self._config = config = notice.config
        found: Body = {"languages": config.languages, "languages_loading": config.coming}
        return self._if_asked(Extension.LANGUAGE, "blab.languages", found)

    def _speech_started(self, notice: SpeechStarted) -> list[Body]:
        start = milliseconds_of(notice.position, HEARING_RATE)
        return [
            {
                "type": "input_audio_buffer.speech_started",
                "audio_start_ms": start,
                "item_id": notice.item_id,
            }
        ]

    def _speech_stopped(self, notice: SpeechStopped) -> list[Body]:
        end = milliseconds_of(notice.position, HEARING_RATE)
        return [
            {
                "type": "input_audio_buffer.speech_stopped",
                "audio_end_ms": end,
                "item_id": notice.item_id,
            }
        ]

    def _input_committed(self, notice: InputCommitted) -> list[Body]:
        previous = notice.previous_item_id
        item = heard_message(notice.item_id)
        self._announced = notice.item_id
        return [
            {
                "type": "input_audio_buffer.committed",
                "previous_item_id": previous,
                "item_id": notice.item_id,
            },
            *_added_and_done(item, previous),
        ]

    def _transcript_partial(self, notice: TranscriptPartial) -> list[Body]:
        prefix = self._transcripts.get(notice.item_id)
        if prefix is None:
            if len(self._transcripts) >= _MOST_TRANSCRIPTS:
                del self._transcripts[next(iter(self._transcripts))]
            prefix = self._transcripts[notice.item_id] = StablePrefix()
        delta = prefix.advance(notice.text)
        published = self._config.publishes_transcripts
        partial = {"item_id": notice.item_id, "text": notice.text}
        kind = "blab.transcript.partial"
        return [
            *(_transcript_delta(notice.item_id, delta) if published else ()),
            *self._if_asked(Extension.TRANSCRIPT_PARTIAL, kind, partial),
        ]

    def _transcript_final(self, notice: TranscriptFinal) -> list[Body]:
        prefix = self._transcripts.pop(notice.item_id, None) or StablePrefix()
        self._heard_seconds += notice.seconds
        if not self._config.publishes_transcripts:
            return []
        return [
            *_transcript_delta(notice.item_id, prefix.finish(notice.text)),
            {
                "type": "conversation.item.input_audio_transcription.completed",
                "item_id": notice.item_id,
                "content_index": 0,
                "transcript": notice.text,
                "usage": {"type": "duration", "seconds": notice.seconds},
            },
        ]

    def _transcript_failed(self, notice: TranscriptFailed) -> list[Body]:
        self._transcripts.pop(notice.item_id, None)
        if not self._config.publishes_transcripts:
            return []
        return [
            {
                "type": "conversation.item.input_audio_transcription.failed",
                "item_id": notice.item_id,
                "content_index": 0,
                "error": {
                    "type": "server_error",
                    "code": notice.code,
                    "message": notice.message,
                    "param": None,
                },
            }
        ]

    def _item_added(self, notice: ItemAdded) -> list[Body]:
        """A committed turn and a reply have been announced by events of their own."""
        item_id = notice.item.item_id
        if item_id == self._announced or item_id in self._replies:
            return []
        events = _added_and_done(render_item(notice.item), notice.previous_item_id)
        return events[:1] if is_open(notice.item) else events

    def _item_truncated(self, notice: ItemTruncated) -> list[Body]:
        address = {"item_id": notice.item_id, "audio_end_ms": notice.audio_end_ms}
        truncated: Body = {"type": "conversation.item.truncated", "content_index": 0} | address
        heard = {"heard": notice.heard} | address
        return [truncated, *self._if_asked(Extension.PLAYOUT, "blab.playout.truncated", heard)]

    def _reply_created(self, notice: ReplyCreated) -> list[Body]:
        self._replies[notice.item_id] = notice
        return reply_created(notice, self._config, self._conversation_id, self._rate_limits())

    def _reply_item_added(self, notice: ReplyItemAdded) -> list[Body]:
        self._messages[notice.item_id] = notice
        return reply_item_added(notice)

    def _reply_done(self, notice: ReplyDone) -> list[Body]:
        created = self._replies.pop(notice.item_id)
        heard_seconds, self._heard_seconds = self._heard_seconds, 0.0
        added = self._messages.pop(notice.item_id, None)
        heard: Body = {
            "response_id": notice.reply_id,
            "item_id": notice.item_id,
            "text": notice.text,
            "heard": notice.heard,
        }
        return [
            *reply_done(notice, created, added, self._config, self._conversation_id, heard_seconds),
            *self._if_asked(Extension.PLAYOUT, "blab.playout.heard", heard),
        ]

    def _playout(self, notice: _PlayoutNotice) -> list[Body]:
        match notice:
            case PlayoutBegan():
                standard, own = "started", "started"
            case PlayoutHeld():
                standard, own = "", "held"
            case PlayoutResumed():
                standard, own = "", "resumed"
            case PlayoutEnded():
                standard, own = "stopped", "stopped"
            case PlayoutCleared():
                standard, own = "cleared", "cleared"
            case _:
                assert_never(notice)
        events: list[Body] = []
        if standard and self._playout_events:
            kind = f"output_audio_buffer.{standard}"
            events.append({"type": kind, "response_id": notice.reply_id})
        return events + self._if_asked(Extension.PLAYOUT, f"blab.playout.{own}", _fields(notice))

    def _key_received(self, notice: KeyReceived) -> list[Body]:
        kind = "input_audio_buffer.dtmf_event_received"
        return [{"type": kind, "event": notice.digit, "received_at": notice.at}]

    def _idle_timeout(self, notice: IdleTimeout) -> list[Body]:
        """OpenAI names the empty item of the silence; Blab's history holds none."""
        self._idle_timeouts += 1
        return [
            {
                "type": "input_audio_buffer.timeout_triggered",
                "audio_start_ms": notice.start_ms,
                "audio_end_ms": notice.end_ms,
                "item_id": f"item_idle_{self._idle_timeouts}",
            }
        ]

    def _if_asked(self, extension: Extension, kind: str, fields: Body) -> list[Body]:
        return [{"type": kind} | fields] if extension in self._config.extensions else []


def _fields(notice: _PlayoutNotice | Latency) -> Body:
    """The notice's fields under the names that they have on the wire."""
    fields = asdict(notice)
    return {"response_id": fields.pop("reply_id")} | fields


def fault_body(fault: Fault) -> Body:
    """The ``error`` event."""
    return {
        "type": "error",
        "error": {
            "type": "server_error" if fault.server else "invalid_request_error",
            "code": fault.code,
            "message": fault.message,
            "param": fault.param,
            "event_id": fault.event_id,
        },
    }


def _added_and_done(item: Body, previous_item_id: str | None) -> list[Body]:
    return [
        {"type": f"conversation.item.{what}", "previous_item_id": previous_item_id, "item": item}
        for what in ("added", "done")
    ]


def _transcript_delta(item_id: str, delta: str) -> list[Body]:
    if not delta:
        return []
    return [
        {
            "type": "conversation.item.input_audio_transcription.delta",
            "item_id": item_id,
            "content_index": 0,
            "delta": delta,
        }
    ]


class StablePrefix:
    """The deltas of one item's transcription."""

    def __init__(self) -> None:
        self._sent: list[str] = []
        self._previous: list[str] = []

    def advance(self, partial: str) -> str:
        """The delta that this partial makes safe to send; often empty."""
        words = partial.split()
        agreed = _common(self._previous, words)
        self._previous = words
        sent = len(self._sent)
        if agreed <= sent or words[:sent] != self._sent:
            return ""
        return self._send(words[sent:agreed])

    def finish(self, final: str) -> str:
        """What is left of the final text to send; empty where it differs from what was sent."""
        words = final.split()
        sent = len(self._sent)
        return self._send(words[sent:]) if words[:sent] == self._sent else ""

    def _send(self, words: list[str]) -> str:
        delta = " ".join(words)
        if self._sent and delta:
            delta = " " + delta
        self._sent += words
        return delta


def _common(first: list[str], second: list[str]) -> int:
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))
