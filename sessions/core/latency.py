"""The moments of one turn, and the waiting time they add up to."""

from dataclasses import dataclass

from .notices import Latency


@dataclass(slots=True)
class Moments:
    """When each stage of a turn was reached (seconds, the shell's clock); None: not yet."""

    speech_end: float | None = None
    turn_end: float | None = None
    transcript: float | None = None
    clause: float | None = None
    audio: float | None = None
    sent: float | None = None

    def restart(self) -> None:
        """Another reply is made for the turn: the stages of the one before do not count."""
        self.clause = self.audio = self.sent = None

    def latency(self, turn: int, reply_id: str) -> Latency | None:
        """The stages end to end; None where the turn had no speech or nothing was sent."""
        if self.speech_end is None or self.sent is None:
            return None
        reached = self.speech_end
        stages: list[int] = []
        for moment in (self.turn_end, self.transcript, self.clause, self.audio, self.sent):
            later = max(reached, moment if moment is not None else reached)
            stages.append(_milliseconds(later) - _milliseconds(reached))
            reached = later
        endpointing, stt, llm, tts, gateway = stages
        return Latency(
            turn,
            reply_id,
            endpointing_ms=endpointing,
            stt_ms=stt,
            llm_ms=llm,
            tts_ms=tts,
            gateway_ms=gateway,
            total_ms=sum(stages),
        )


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
