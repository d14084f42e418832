"""Renders a call's events as a conversation that a person can read, with timings.

Two clocks stand in front of each line: seconds since the call began, and seconds since the
caller's latest end of speech (its last loud sample), which is what latency is counted from.
"""

from collections.abc import Callable
from typing import Any

from gateway.caller.caller import TimedEvent
from gateway.caller.microphone import Utterance

AUDIO_GAP_SECONDS = 0.5

TEXT_DELTAS = ("response.output_audio_transcript.delta", "response.output_text.delta")


class Narrator:
    """Feeds lines to ``write``; give every utterance to ``spoken`` when it is said."""

    def __init__(self, start: float, write: Callable[[str], None]) -> None:
        self._start = start
        self._write = write
        self._utterances: list[Utterance] = []
        self._told: set[int] = set()
        self._reply: dict[str, str] = {}
        self._partial: dict[str, str] = {}
        self._last_audio = float("-inf")

    def spoken(self, utterance: Utterance) -> None:
        """An utterance is being said from now on."""
        self._utterances.append(utterance)

    def audio(self, at: float) -> None:
        """Reply audio arrived; told once per stretch."""
        if at - self._last_audio > AUDIO_GAP_SECONDS:
            self._line(at, "agent's audio begins to arrive")
        self._last_audio = at

    def event(self, timed: TimedEvent) -> None:
        """Tell one server event."""
        text = self._render(timed.type, timed.event)
        if text:
            self._line(timed.at, text)

    def _line(self, at: float, text: str) -> None:
        ended = [u for u in self._utterances if u.end is not None and u.end <= at]
        for utterance in ended:
            if id(utterance) not in self._told and utterance.end is not None:
                self._told.add(id(utterance))
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
