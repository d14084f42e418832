"""What a call was like for the caller, from its two audio tracks and the script of what was said.

Pure: no clock, no file, no server. Time is counted in ticks of 20 ms, a track is PCM16 at 8 kHz.
The caller's track is what the mouth sent, the agent's what the ear heard, so that everything is
measured where a caller would.

Rules
- The agent is audible where two ticks in a row exceed ``AUDIBLE`` RMS.
- A turn is *cut off* when the agent is audible before the caller's last voiced tick. It has no gap.
- The gap runs from that tick to the agent's first audible one; ``MISSED`` seconds without an answer
  are a missed end. A turn that was never answered has the gap that was waited for.
- The agent has *stopped* where ``SILENT`` seconds of silence begin within ``REACTION`` after the
  onset of what was said over it; ``inf`` where it never did.
- What must not interrupt is compared with the same answer given undisturbed (``Undisturbed``): the
  answer is *lost* when less than ``WHOLE`` of it was heard, and was *held* for the longest silence
  that begins within ``REACTION``, where the undisturbed answer has none as long.
- Words are lost when the chat model was not given them.
"""

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

RATE = 8_000
TICK = 0.02
TICK_SAMPLES = 160

AUDIBLE = 250.0
"""RMS of a tick; the voices' breaths between two sentences stay under it."""
MISSED = 3.0
SILENT = 0.4
REACTION = 2.5
WHOLE = 0.75
AGAIN = 1.3
"""The answer was followed by another one where it is longer than the undisturbed by this factor."""

Samples = npt.NDArray[np.int16]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Span:
    """From the first voiced tick to the last, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """One turn of the script, as it was played; see ``scenarios`` for the kinds."""

    kind: str
    name: str
    asked: Span
    """What the caller said to be answered."""
    end: int
    """The tick at which the script went on to the next turn."""
    text: str = ""
    """What the recording says."""
    heard: str = ""
    """What the chat model was given as the caller's words."""
    requests: int = 0
    """Requests to the chat model: more than one where a system speculates."""
    pause: Span | None = None
    """The longest silence inside the turn, where it is a pause for thought."""
    over: Span | None = None
    """What was said, or made a noise, over the answer."""


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """The long answer as it is spoken when nobody interferes (seconds)."""

    spoken: float
    breath: float
    """Its longest silence."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one exchange was like; times in seconds, None where there is nothing to measure."""

    kind: str
    name: str
    gap: float | None = None
    cut: bool = False
    missed: bool = False
    after_pause: bool = False
    stopped: float | None = None
    answered: float | None = None
    """From the end of an interruption that stopped the agent to its next answer."""
    lost: bool = False
    held: float | None = None
    again: bool = False
    words: int = 0
    words_lost: int = 0
    requests: int = 0
    heard: str = ""
    why: str = ""
    """How a system explains it; see ``decisions``."""


def levels(track: Samples) -> npt.NDArray[np.float64]:
    """RMS of each whole tick."""
    ticks = track[: len(track) // TICK_SAMPLES * TICK_SAMPLES].astype(np.float64)
    rms: npt.NDArray[np.float64] = np.sqrt(np.mean(ticks.reshape(-1, TICK_SAMPLES) ** 2, axis=1))
    return rms


def audible(track: Samples) -> Flags:
    """For each tick whether something is audible: two loud ones in a row."""
    loud = levels(track) > AUDIBLE
    beside = np.zeros(len(loud), bool)
    beside[1:] |= loud[:-1]
    beside[:-1] |= loud[1:]
    return loud & beside


def first_audible(agent: Flags, after: int) -> int | None:
    """The first audible tick at or after ``after``."""
    found = np.flatnonzero(agent[max(after, 0) :])
    return max(after, 0) + int(found[0]) if len(found) else None


def silences(agent: Flags, begin: int, end: int) -> list[Span]:
    """The silent stretches between two ticks."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], ~agent[begin:end], [0])).astype(np.int8)))
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [Span(begin + int(first), begin + int(after) - 1) for first, after in pairs]


def seconds(span: Span) -> float:
    """How long it is."""
    return (span.last - span.first + 1) * TICK


def undisturbed(agent: Flags, exchange: Exchange) -> Undisturbed | None:
    """The measure for other answers; None where there was none."""
    heard = np.flatnonzero(agent[exchange.asked.last : exchange.end]) + exchange.asked.last
    if not len(heard):
        return None
    inside = silences(agent, int(heard[0]), int(heard[-1]) + 1)
    return Undisturbed(len(heard) * TICK, max(map(seconds, inside), default=0.0))


def verdict(agent: Flags, exchange: Exchange, answer: Undisturbed | None = None) -> Verdict:
    """What the exchange was like; ``answer`` where its long answer must not be interrupted."""
    asked = exchange.asked
    cut = bool(agent[asked.first : asked.last].any())
    begun = first_audible(agent[: exchange.end], asked.last)
    waited = (exchange.end if begun is None else begun) - asked.last
    gap = None if cut else waited * TICK
    stopped = _stopped(agent, exchange) if exchange.kind == "interruption" else None
    answered = None
    if exchange.over is not None and stopped is not None and math.isfinite(stopped):
        again_at = first_audible(agent[: exchange.end], exchange.over.last)
        answered = ((again_at or exchange.end) - exchange.over.last) * TICK
    lost = again = False
    held = None
    if answer is not None and begun is not None and exchange.kind != "interruption":
        spoken = float(agent[begun : exchange.end].sum()) * TICK
        lost, again = spoken < WHOLE * answer.spoken, spoken > AGAIN * answer.spoken
        from_tick = begun if exchange.over is None else exchange.over.first
        held = _held(agent, from_tick, exchange.end, answer) if not lost else None
    words, words_lost = lost_words(exchange.text, exchange.heard)
    return Verdict(
        kind=exchange.kind,
        name=exchange.name,
        gap=gap,
        cut=cut,
        missed=gap is not None and gap > MISSED,
        after_pause=exchange.pause is not None,
        stopped=stopped,
        answered=answered,
        lost=lost or (answer is not None and begun is None),
        held=held,
        again=again,
        words=words,
        words_lost=words_lost,
        requests=exchange.requests,
        heard=exchange.heard,
    )


def _stopped(agent: Flags, exchange: Exchange) -> float | None:
    """Seconds from the onset over the answer to the silence; None where there was no answer."""
    if exchange.over is None:
        return None
    onset = exchange.over.first
    end = min(exchange.end, onset + round((REACTION + SILENT) / TICK))
    for silence in silences(agent, onset, end):
        if seconds(silence) >= SILENT:
            return (silence.first - onset) * TICK
    return math.inf


def _held(agent: Flags, begin: int, end: int, answer: Undisturbed) -> float:
    """The longest silence of the disturbed answer that the undisturbed does not have."""
    last = np.flatnonzero(agent[begin:end])
    if not len(last):
        return 0.0
    within = silences(agent, begin, begin + int(last[-1]) + 1)
    longest = max(map(seconds, within), default=0.0)
    return longest if longest > answer.breath + 0.1 else 0.0


def lost_words(said: str, heard: str) -> tuple[int, int]:
    """(words said, words of them that were not heard); (0, 0) where figures are compared.

    Recognisers write numbers in words or in figures, which is no loss."""
    said_words, heard_words = (re.findall(r"[a-z']+|\d+", text.lower()) for text in (said, heard))
    if not said_words or any(word.isdigit() for word in heard_words):
        return 0, 0
    same = difflib.SequenceMatcher(None, said_words, heard_words, autojunk=False)
    kept = sum(block.size for block in same.get_matching_blocks())
    return len(said_words), len(said_words) - kept


DISTURBANCES = ("backchannel", "thump", "cough", "hiss", "echo", "television")


@dataclass(slots=True)
class Summary:
    """The figures of one system."""

    verdicts: list[Verdict] = field(default_factory=list)
    failed: int = 0
    """Calls that the agent's side ended."""

    def of(self, *kinds: str) -> list[Verdict]:
        """The verdicts of these kinds."""
        return [one for one in self.verdicts if one.kind in kinds]

    def gaps(self) -> list[float]:
        """Of all questions that were not cut off."""
        return [one.gap for one in self.of("question") if one.gap is not None]

    def rows(self) -> dict[str, str]:
        """What the table shows, by the row's name."""
        questions, stops = self.of("question"), self.of("interruption")
        turns = [one for one in self.verdicts if one.kind not in ("echo", "television")]
        times = [one.stopped for one in stops if one.stopped is not None]
        pauses = [one.gap for one in questions if one.after_pause and one.gap is not None]
        words = sum(one.words for one in questions)
        rows = {
            "turns, of which to measure the gap": f"{len(self.verdicts)}, {len(questions)}",
            "gap, p50 / p95 s": _two(self.gaps()),
            "… after a pause inside the turn, p50 / p95 s": _two(pauses),
            "cut off": _of(one.cut for one in turns),
            "ends missed (over 3 s)": _of(one.missed for one in questions),
            "silent after an interruption, p50 / p95 s": _two(times),
            "… answered after, p50 / p95 s": _two(
                [one.answered for one in stops if one.answered is not None]
            ),
            "… never silent": _of(math.isinf(time) for time in times),
        }
        for kind in DISTURBANCES:
            some = self.of(kind)
            held = [one.held for one in some if one.held]
            longest = f", {len(held)} held up to {max(held):.1f} s" if held else ""
            rows[f"answers lost to {kind}"] = f"{_of(one.lost for one in some)}{longest}"
        around = self.of("echo", "television")
        rows["gap under echo or television, p50 / p95 s"] = _two(
            [one.gap for one in around if one.gap is not None]
        )
        rows["… answers that nobody asked for"] = _of(one.again for one in around)
        lost = sum(one.words_lost for one in questions)
        rows["words lost"] = f"{lost / words:.0%} of {words}" if words else "–"
        asked = sum(one.requests for one in questions)
        rows["chat requests a turn"] = f"{asked / len(questions):.1f}" if questions else "–"
        rows["calls that broke off"] = str(self.failed)
        return rows


def _of(flags: Iterable[bool]) -> str:
    found = list(flags)
    return f"{sum(found)} of {len(found)}" if found else "–"


def _two(values: Sequence[float]) -> str:
    if not values:
        return "–"
    # "higher" is a value that was measured: nothing lies between a time and "never"
    p50, p95 = (float(np.percentile(values, q, method="higher")) for q in (50, 95))
    return " / ".join("never" if math.isinf(value) else f"{value:.2f}" for value in (p50, p95))
