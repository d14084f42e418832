"""Checks a recorded stream of server events: types and fields, order, ids.

What is checked
- Every event is one of the ``openai`` package's, with no field that its models do not know, or
  one of ours (``blab.*``). Event ids are never used twice.
- The session comes first. Items are added once, done once, and named only while they exist.
- Speech starts and stops in turn; a commit is followed by its item; a transcript that is complete
  gets no more words, and its deltas are its words.
- A response goes from ``created`` to ``done`` from the outside in and back: every output item and
  part is added in order, written, and done, its deltas add up to its final content, and nothing
  follows. One response of the conversation at a time.
- Of ours: playout of a response starts once, is paused and resumed in turn, and ends once, stopped
  or cleared; the heard text is reported after its ``done`` and is a prefix of the sent text; the
  stages of a latency add up.
A stream may stop anywhere: the call may be over.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, get_args

from openai.types.realtime import RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter

Event = dict[str, Any]

_UNION = get_args(RealtimeServerEvent)[0]
MODELS: dict[str, type[BaseModel]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(_UNION)
}
"""The package's model of each server event."""

_ADAPTERS = {kind: TypeAdapter(model) for kind, model in MODELS.items()}

_KEY_PRESSED = "input_audio_buffer.dtmf_event_received"
_SESSION_EXTRAS = {"id", "object", "expires_at", "blab", "prompt", "include"}
"""Fields of the session as it is sent, beyond those of its update."""


_PLAYOUT_AFTER: dict[str, tuple[str | None, ...]] = {
    "started": (None,),
    "held": ("started", "resumed"),
    "resumed": ("held",),
    "stopped": ("started", "resumed"),
    "cleared": ("started", "held", "resumed"),
}
"""Events of a response's playout, and what each may follow."""


class OutOfOrder(AssertionError):
    """The stream breaks the protocol; says where and how."""


@dataclass
class _Part:
    kind: str
    written: dict[str, str] = field(default_factory=dict)
    """Text so far, by the deltas' kind."""
    closed: set[str] = field(default_factory=set)
    done: bool = False


@dataclass
class _Output:
    item_id: str
    parts: list[_Part] = field(default_factory=list)
    arguments: str = ""
    done: bool = False


@dataclass
class _Response:
    conversation_id: str | None
    outputs: list[_Output] = field(default_factory=list)
    done: bool = False
    playout: str | None = None
    """What its playout did last, by ``blab.playout.*``."""
    heard: bool = False


class ProtocolValidator:
    """Takes the events of one call in their order; raises OutOfOrder.

    ``fields``: whether to check each against the package's model, too."""

    def __init__(self, *, fields: bool = True) -> None:
        self._fields = fields
        self._ids: set[str] = set()
        self._opened = self._manual = False
        self._items: dict[str, bool] = {}
        """Item id -> done, of the items that exist."""
        self._known: set[str] = set()
        """Ids of all items there ever were, and of speech that has begun."""
        self._speaking: str | None = None
        self._transcripts: dict[str, str] = {}
        self._transcribed: set[str] = set()
        self._responses: dict[str, _Response] = {}
        self._next: tuple[str, str | None] | None = None
        """Type and item id of the only event that may come now."""
        self._rules: dict[str, Callable[[Event], None]] = {
            "session.created": self._session_created,
            "conversation.item.added": self._item_added,
            "conversation.item.done": self._item_done,
            "conversation.item.deleted": self._item_deleted,
            "conversation.item.retrieved": lambda event: self._exists(event["item"]["id"]),
            "conversation.item.truncated": lambda event: self._exists(event["item_id"]),
            "input_audio_buffer.speech_started": self._speech_started,
            "input_audio_buffer.speech_stopped": self._speech_stopped,
            "input_audio_buffer.committed": self._committed,
            "input_audio_buffer.cleared": self._silenced,
            "session.updated": self._session_updated,
            "conversation.item.input_audio_transcription.delta": self._transcript_delta,
            "conversation.item.input_audio_transcription.completed": self._transcript_completed,
            "conversation.item.input_audio_transcription.failed": self._transcript_failed,
            "response.created": self._response_created,
            "response.output_item.added": self._output_added,
            "response.output_item.done": self._output_done,
            "response.content_part.added": self._part_added,
            "response.content_part.done": self._part_done,
            "response.output_text.delta": self._delta,
            "response.output_audio.delta": self._delta,
            "response.output_audio_transcript.delta": self._delta,
            "response.output_text.done": self._written,
            "response.output_audio.done": self._written,
            "response.output_audio_transcript.done": self._written,
            "response.function_call_arguments.delta": self._arguments_delta,
            "response.function_call_arguments.done": self._arguments_done,
            "response.done": self._response_done,
            "output_audio_buffer.started": self._of_response,
            "output_audio_buffer.stopped": self._of_response,
            "output_audio_buffer.cleared": self._of_response,
            **{f"blab.playout.{what}": self._playout for what in _PLAYOUT_AFTER},
            "blab.playout.truncated": lambda event: self._exists(event["item_id"]),
            "blab.playout.heard": self._heard,
            "blab.latency": self._latency,
            "blab.language": self._language,
            "blab.hearing.waiting": self._waiting,
        }

    def feed(self, event: Event) -> None:
        """Check the next event."""
        kind = event["type"]
        if self._fields:
            check_fields(event)
        self._check(bool(event["event_id"]) and event["event_id"] not in self._ids, event)
        self._ids.add(event["event_id"])
        if kind == "error":
            return
        self._check(self._opened or kind == "session.created", event)
        rule = self._rules.get(kind)
        if kind.startswith("blab."):
            if rule is not None:
                rule(event)
            return
        wanted, self._next = self._next, None
        named = event.get("item", {}).get("id") or event.get("item_id")
        self._check(wanted is None or wanted == (kind, named if wanted[1] else None), event)
        self._check(wanted is not None or kind != "rate_limits.updated", event)
        if rule is not None:
            rule(event)

    def resume(self) -> None:
        """The call goes on over another connection: the session comes again, and what the caller
        was saying is forgotten."""
        self._opened, self._speaking, self._next = False, None, None
        self._transcripts.clear()

    @staticmethod
    def _check(condition: bool, event: Event) -> None:
        if not condition:
            raise OutOfOrder(f"out of order, or of an unknown id: {event}")

    # ------------------------------------------------------------------ session, items

    def _session_created(self, event: Event) -> None:
        self._check(not self._opened, event)
        self._opened, self._manual = True, _is_manual(event)

    def _session_updated(self, event: Event) -> None:
        """Speech is forgotten where somebody else decides from now on when it ends."""
        if self._manual != _is_manual(event):
            self._speaking = None
        self._manual = _is_manual(event)

    def _exists(self, item_id: str) -> None:
        if item_id not in self._items:
            raise OutOfOrder(f"there is no item {item_id!r}")

    def _item_added(self, event: Event) -> None:
        item_id, previous = event["item"]["id"], event["previous_item_id"]
        self._check(item_id not in self._items, event)
        self._check(previous is None or previous in self._known, event)
        self._items[item_id] = False
        self._known.add(item_id)

    def _item_done(self, event: Event) -> None:
        self._check(self._items.get(event["item"]["id"]) is not True, event)
        if event["item"]["id"] in self._items:  # it may have been deleted meanwhile
            self._items[event["item"]["id"]] = True
        self._check(event["item"]["id"] in self._known, event)

    def _item_deleted(self, event: Event) -> None:
        """A client may give the id to another item."""
        item_id = event["item_id"]
        self._exists(item_id)
        del self._items[item_id]
        self._transcribed.discard(item_id)
        self._transcripts.pop(item_id, None)

    # ------------------------------------------------------------------ the caller

    def _speech_started(self, event: Event) -> None:
        self._check(self._speaking is None and event["item_id"] not in self._known, event)
        self._speaking = event["item_id"]
        self._known.add(event["item_id"])

    def _speech_stopped(self, event: Event) -> None:
        self._check(self._speaking == event["item_id"], event)
        self._speaking = None

    def _committed(self, event: Event) -> None:
        self._check(event["item_id"] not in self._items, event)
        self._check(self._speaking != event["item_id"], event)
        self._next = "conversation.item.added", event["item_id"]

    def _silenced(self, _event: Event) -> None:
        self._speaking = None

    def _transcript_delta(self, event: Event) -> None:
        item_id = event["item_id"]
        self._check(item_id not in self._transcribed, event)
        self._transcripts[item_id] = self._transcripts.get(item_id, "") + event["delta"]

    def _transcript_completed(self, event: Event) -> None:
        self._transcript_failed(event)
        told = self._transcripts.get(event["item_id"], "").split()
        words = event["transcript"].split()
        self._check(told == words or words[: len(told)] != told[: len(words)], event)

    def _transcript_failed(self, event: Event) -> None:
        self._exists(event["item_id"])
        self._check(event["item_id"] not in self._transcribed, event)
        self._transcribed.add(event["item_id"])

    def _language(self, event: Event) -> None:
        self._check(self._manual or event["item_id"] in self._known, event)
        self._check(bool(event["language"]) and 0.0 <= event["probability"] <= 1.0, event)

    def _waiting(self, event: Event) -> None:
        self._check(self._manual or event["item_id"] in self._known, event)
        self._check(event["item_id"] not in self._transcribed and event["ahead"] >= 0, event)

    # ------------------------------------------------------------------ responses

    def _response_created(self, event: Event) -> None:
        response = event["response"]
        conversation = response["conversation_id"]
        running = [r for r in self._responses.values() if r.conversation_id and not r.done]
        self._check(response["id"] not in self._responses, event)
        self._check(response["status"] == "in_progress" and not response["output"], event)
        self._check(conversation is None or not running, event)
        self._responses[response["id"]] = _Response(conversation)
        self._next = "rate_limits.updated", None

    def _of_response(self, event: Event) -> None:
        self._check(event["response_id"] in self._responses, event)

    def _open(self, event: Event) -> _Response:
        response = self._responses.get(event["response_id"])
        if response is None or response.done:
            raise OutOfOrder(f"no such response in progress: {event}")
        return response

    def _output(self, event: Event) -> _Output:
        outputs, index = self._open(event).outputs, event["output_index"]
        item_id = event["item_id"] if "item_id" in event else event["item"]["id"]
        if index >= len(outputs) or outputs[index].item_id != item_id or outputs[index].done:
            raise OutOfOrder(f"no such output item in progress: {event}")
        return outputs[index]

    def _part(self, event: Event) -> _Part:
        parts, index = self._output(event).parts, event["content_index"]
        if index >= len(parts) or parts[index].done:
            raise OutOfOrder(f"no such part in progress: {event}")
        return parts[index]

    def _output_added(self, event: Event) -> None:
        response = self._open(event)
        self._check(event["output_index"] == len(response.outputs), event)
        self._check(all(output.done for output in response.outputs), event)
        response.outputs.append(_Output(event["item"]["id"]))
        if response.conversation_id is not None:
            self._next = "conversation.item.added", event["item"]["id"]

    def _output_done(self, event: Event) -> None:
        output = self._output(event)
        self._check(all(part.done for part in output.parts), event)
        output.done = True

    def _part_added(self, event: Event) -> None:
        output = self._output(event)
        self._check(event["content_index"] == len(output.parts), event)
        self._check(all(part.done for part in output.parts), event)
        output.parts.append(_Part(event["part"]["type"]))

    def _part_done(self, event: Event) -> None:
        part = self._part(event)
        audio = part.kind == "audio"
        kinds = {"output_audio", "output_audio_transcript"} if audio else {"output_text"}
        self._check(part.closed == kinds, event)
        text = event["part"]["transcript" if audio else "text"]
        written = part.written.get("output_audio_transcript" if audio else "output_text", "")
        self._check(event["part"]["type"] == part.kind and text == written, event)
        part.done = True

    def _delta(self, event: Event) -> None:
        part, kind = self._part(event), event["type"].split(".")[1]
        self._check(kind not in part.closed, event)
        self._check((part.kind == "text") == (kind == "output_text"), event)
        if kind != "output_audio":
            part.written[kind] = part.written.get(kind, "") + event["delta"]

    def _written(self, event: Event) -> None:
        part, kind = self._part(event), event["type"].split(".")[1]
        self._check(kind not in part.closed, event)
        whole = event.get("text", event.get("transcript", ""))
        self._check(whole == part.written.get(kind, ""), event)
        part.closed.add(kind)

    def _arguments_delta(self, event: Event) -> None:
        self._output(event).arguments += event["delta"]

    def _arguments_done(self, event: Event) -> None:
        self._check(self._output(event).arguments == event["arguments"], event)

    def _response_done(self, event: Event) -> None:
        response = event["response"]
        known = self._responses.get(response["id"])
        if known is None or known.done:
            raise OutOfOrder(f"no such response in progress: {event}")
        self._check(all(output.done for output in known.outputs), event)
        told = [item["id"] for item in response["output"]]
        self._check(told == [output.item_id for output in known.outputs], event)
        self._check(response["conversation_id"] == known.conversation_id, event)
        status, details, usage = response["status"], response["status_details"], response["usage"]
        self._check(status != "in_progress", event)
        self._check((details or {"type": "completed"})["type"] == status, event)
        tokens = usage["input_tokens"] + usage["output_tokens"]
        self._check(usage["total_tokens"] == tokens, event)
        known.done = True

    # ------------------------------------------------------------------ Blab's own

    def _playout(self, event: Event) -> None:
        self._of_response(event)
        response, what = self._responses[event["response_id"]], event["type"].split(".")[-1]
        self._check(response.playout in _PLAYOUT_AFTER[what], event)
        self._check(event["item_id"] in [output.item_id for output in response.outputs], event)
        response.playout = what

    def _heard(self, event: Event) -> None:
        self._of_response(event)
        response = self._responses[event["response_id"]]
        self._check(response.done and not response.heard, event)
        self._check(event["text"].startswith(event["heard"]), event)
        response.heard = True

    def _latency(self, event: Event) -> None:
        stages = [event[f"{stage}_ms"] for stage in ("endpointing", "stt", "llm", "tts", "gateway")]
        self._check(min(stages) >= 0 and sum(stages) == event["total_ms"], event)
        self._check(0 <= event["first_token_ms"] <= event["llm_ms"], event)
        self._check(event["heard_ms"] is None or event["heard_ms"] >= 0, event)


def _is_manual(event: Event) -> bool:
    return event["session"]["audio"]["input"]["turn_detection"] is None


def check_stream(events: Iterable[Event]) -> None:
    """Check the events of one call; raises OutOfOrder."""
    validator = ProtocolValidator()
    for event in events:
        validator.feed(event)


def check_fields(event: Event) -> None:
    """Check one event against the package's model of its type; raises OutOfOrder."""
    kind = event["type"]
    if kind.startswith("blab."):
        return
    if kind not in MODELS:
        raise OutOfOrder(f"the openai package knows no event {kind!r}")
    strange = unknown_fields(_ADAPTERS[kind].validate_python(_at_openais_rate(event)))
    if kind == _KEY_PRESSED:  # the one event whose model has no field for its id
        strange.remove(".event_id")
    if strange:
        raise OutOfOrder(f"fields that the openai package does not know: {strange} of {event}")


def _at_openais_rate(value: Any) -> Any:
    """The event as if PCM had OpenAI's rate: others are ours, and set only where asked for."""
    if isinstance(value, list):
        return [_at_openais_rate(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "audio/pcm":
        return {"type": "audio/pcm", "rate": 24_000}
    return {name: _at_openais_rate(each) for name, each in value.items()}


def unknown_fields(value: Any, path: str = "") -> list[str]:
    """Paths of what no model has a field for, in a parsed event."""
    if isinstance(value, list):
        return [name for each in value for name in unknown_fields(each, path)]
    if not isinstance(value, BaseModel):
        return []
    extra = set(value.model_extra or ())
    if path == ".session":
        extra -= _SESSION_EXTRAS
    strange = [f"{path}.{name}" for name in sorted(extra)]
    for name in value.model_fields_set - set(value.model_extra or ()):
        strange += unknown_fields(getattr(value, name), f"{path}.{name}")
    return strange
