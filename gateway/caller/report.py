"""What happened in a call: line by line while it runs (``Narrator``), in figures when it is over
(``CallReport``).

The narrator prints two times before each line: seconds since the call began, and seconds since
the caller last stopped speaking (the last loud sample), from which latency is counted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.caller.audio import Player, Utterance
from gateway.caller.caller import Caller, TimedEvent

AUDIO_GAP_SECONDS = 0.5

TEXT_DELTAS = ("response.output_audio_transcript.delta", "response.output_text.delta")


class Narrator:
    """Passes lines to ``write``; every utterance must be given to ``spoken`` when it is said."""

    def __init__(self, start: float, write: Callable[[str], None]) -> None:
        self._start = start
        self._write = write
        self._utterances: list[Utterance] = []
        self._ended: set[int] = set()
        self._reply: dict[str, str] = {}
        self._partial: dict[str, str] = {}
        self._last_audio = float("-inf")

    def spoken(self, utterance: Utterance) -> None:
        """Record that an utterance is being said from now on."""
        self._utterances.append(utterance)

    def audio(self, at: float) -> None:
        """Reply audio arrived; reported once per stretch."""
        if at - self._last_audio > AUDIO_GAP_SECONDS:
            self._line(at, "agent's audio begins to arrive")
        self._last_audio = at

    def event(self, timed: TimedEvent) -> None:
        """Report one server event."""
        text = self._render(timed.type, timed.event)
        if text:
            self._line(timed.at, text)

    def _line(self, at: float, text: str) -> None:
        ended = [u for u in self._utterances if u.end is not None and u.end <= at]
        for utterance in ended:
            if id(utterance) not in self._ended and utterance.end is not None:
                self._ended.add(id(utterance))
                self._write(f"{utterance.end - self._start:8.3f} s {'':>10}  -- end of speech")
        since = max((u.end for u in ended if u.end is not None), default=None)
        relative = f"{at - since:+8.3f} s" if since is not None else ""
        self._write(f"{at - self._start:8.3f} s {relative:>10}  {text}")

    def _render(self, kind: str, event: dict[str, Any]) -> str:
        item = str(event.get("item_id", ""))
        if kind in TEXT_DELTAS:
            response = str(event.get("response_id", ""))
            self._reply[response] = self._reply.get(response, "") + str(event.get("delta", ""))
            return ""
        if kind == "conversation.item.input_audio_transcription.delta":
            self._partial[item] = self._partial.get(item, "") + str(event.get("delta", ""))
            return f"caller ... {self._partial[item].strip()}"
        if kind == "conversation.item.input_audio_transcription.completed":
            return f"caller: {event.get('transcript', '')}"
        if kind == "response.done":
            return self._reply_done(event.get("response", {}))
        if kind == "error":
            error = event.get("error", {})
            return f"ERROR {error.get('code')}: {error.get('message')}"
        return self._plain(kind, event)

    def _reply_done(self, response: dict[str, Any]) -> str:
        status = response.get("status")
        details = response.get("status_details") or {}
        reason = details.get("reason") or (details.get("error") or {}).get("message")
        ending = "" if status == "completed" else f"  [{status}{': ' + reason if reason else ''}]"
        return f"agent: {self._reply.pop(str(response.get('id')), '').strip()}{ending}"

    def _plain(self, kind: str, event: dict[str, Any]) -> str:
        match kind:
            case "session.created":
                return f"session {event.get('session', {}).get('id', '')} created"
            case "session.updated":
                blab = event.get("session", {}).get("blab", {})
                return _heard_now(blab) if blab.get("languages_loading") else ""
            case "blab.languages":
                return _heard_now(event)
            case "blab.session.resumption":
                return "the call goes on over another connection" if event.get("resumed") else ""
            case "input_audio_buffer.speech_started":
                return f"speech started at {event.get('audio_start_ms')} ms of the input"
            case "input_audio_buffer.speech_stopped":
                return f"speech stopped at {event.get('audio_end_ms')} ms of the input"
            case "input_audio_buffer.committed":
                return "turn ended"
            case "response.created":
                return "reply released"
            case "conversation.item.truncated":
                return f"reply cut after {event.get('audio_end_ms')} ms heard"
            case "output_audio_buffer.cleared":
                return "playout cleared"
            case "conversation.item.input_audio_transcription.failed":
                error = event.get("error", {})
                return f"transcription failed: {error.get('code')}: {error.get('message')}"
        if kind.startswith("blab."):
            details = ", ".join(
                f"{key} {value}"
                for key, value in event.items()
                if key not in ("type", "event_id") and not isinstance(value, dict | list)
            )
            return f"{kind}: {details}"
        return ""


def _heard_now(found: Mapping[str, Any]) -> str:
    """Which languages are heard, and which still load."""
    loading = ", ".join(found.get("languages_loading", ()))
    heard = f"heard now: {', '.join(found.get('languages', ()))}"
    return f"{heard}; still loading: {loading}" if loading else heard


@dataclass(frozen=True, slots=True)
class CallReport:
    """The outcome of a call, times in milliseconds. ``transcripts``: what the server understood."""

    transcripts: list[str]
    replies: list[str]
    statuses: list[str]
    first_audio_ms: int | None
    """From the end of the first utterance to the first audible reply sample after it."""
    heard_ms: int
    """How much of the reply was audible, including pauses within a stretch."""
    flushed_ms: int
    """Reply audio that arrived and was dropped unheard."""
    stopped_ms: int | None = None
    """From the onset of the interrupting speech to the last audible sample of the old reply."""
    errors: list[dict[str, Any]] = field(default_factory=list)
    latencies: list[dict[str, int]] = field(default_factory=list)
    """Where the waiting time of each turn went, as the server reports it."""

    @property
    def answered(self) -> bool:
        """Whether a reply was heard after the caller had spoken."""
        return self.first_audio_ms is not None

    @classmethod
    def of(
        cls, caller: Caller, said: Utterance, interruption: Utterance | None = None
    ) -> "CallReport":
        """The report of a call in which ``said`` and perhaps ``interruption`` was said."""
        player = caller.player
        first = player.audible_after(said.end) if said.end is not None else None
        begun = first - said.end if first is not None and said.end is not None else None
        stretches = player.stretches()
        return cls(
            transcripts=_texts(
                caller, "conversation.item.input_audio_transcription.completed", "transcript"
            ),
            replies=_replies(caller),
            statuses=[
                str(e.event.get("response", {}).get("status"))
                for e in caller.events
                if e.type == "response.done"
            ],
            first_audio_ms=None if begun is None else round(begun * 1000),
            heard_ms=round(sum(end - begin for begin, end in stretches) * 1000),
            flushed_ms=round(player.flushed_samples * 1000 / player.rate),
            stopped_ms=silenced_after(player, interruption),
            errors=[e.event.get("error", {}) for e in caller.events if e.type == "error"],
            latencies=[stages_of(e.event) for e in caller.events if e.type == "blab.latency"],
        )


def stages_of(latency: Mapping[str, Any]) -> dict[str, int]:
    """The stages of a ``blab.latency`` event in the order in which they pass, ms."""
    first_token = int(latency["first_token_ms"])
    stages = {
        "endpointing": latency["endpointing_ms"],
        "final text": latency["stt_ms"],
        "first token": first_token,
        "first clause": latency["llm_ms"] - first_token,
        "first audio": latency["tts_ms"],
        "sent": latency["gateway_ms"],
        "heard": latency["heard_ms"],
        "total": latency["total_ms"],
    }
    return {stage: int(value) for stage, value in stages.items() if value is not None}


def _texts(caller: Caller, kind: str, key: str) -> list[str]:
    return [str(e.event.get(key, "")) for e in caller.events if e.type == kind]


def _replies(caller: Caller) -> list[str]:
    texts: dict[str, str] = {}
    for timed in caller.events:
        if timed.type in (
            "response.output_audio_transcript.delta",
            "response.output_text.delta",
        ):
            response = str(timed.event.get("response_id"))
            texts[response] = texts.get(response, "") + str(timed.event.get("delta", ""))
    return [text.strip() for text in texts.values()]


def silenced_after(player: Player, interruption: Utterance | None) -> int | None:
    """From the onset of ``interruption`` to the last audible sample of the reply over which it was
    said (ms); None if nothing was audible at its onset."""
    if interruption is None or interruption.onset is None:
        return None
    onset = interruption.onset
    for begin, end in player.stretches(gap_s=0.3):
        if begin <= onset <= end:
            return round((end - onset) * 1000)
    return None
