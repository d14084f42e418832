"""What the callers say: recordings of the tests, varied, and what is not meant for the agent.

A call is one caller in one room: a voice and a variant. Half of the turns, chosen by a hash of
recording and variant, is for tuning on; the other half is reported. Sounds are made with fixed
seeds, so that every run plays the same.

Kinds of turns
- ``question``: anything to be answered, statements too; some have a pause for thought inside.
- ``undisturbed``: a long answer that is listened to, the measure for what follows.
- ``interruption``: words over a long answer, which must stop it.
- ``backchannel``, ``thump``, ``cough``, ``hiss``: what must not.
- ``echo``, ``television``: a long answer in a room with its own echo, or with other voices.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bench.conversation.caller import Clip, Room, Telephone
from bench.conversation.chat_model import ChatModel
from bench.conversation.judge import RATE, TICK, Exchange, Samples, Span, levels, seconds
from gateway.caller import Recording
from tests.support.paths import AUDIO

Floats = npt.NDArray[np.float64]

VOICED = 350.0
"""RMS of a tick of a recording; its last tick above is the end of the turn."""
PAUSE = 0.6
"""Seconds of silence inside a recording that are a pause for thought."""
SPEEDS = {"slow": 0.9, "quick": 1.1}
"""By resampling: another speed and another voice, which nothing was tuned on."""
VARIANTS = ("clean", "noise", "soft", *SPEEDS)
SOFT_DB = -12.0
NOISE_DB = -15.0
TELEVISION_DB = -20.0
ECHOES_DB = (-12.0, -18.0, -24.0, -30.0)

INTERRUPTIONS = ("joe_stop", "joe_q_hours", "joe_number", "lv_0930")
BACKCHANNELS = ("joe_mhm", "joe_okay")
ANSWERED_LONG = ("joe_q_weather", "joe_q_internet", "joe_q_help", "joe_q_slow")
NOT_QUESTIONS = {*BACKCHANNELS, "joe_yes", "joe_stop"}
INTO_THE_ANSWER = (50, 90, 130)
"""Ticks of the answer that are heard before something comes over it, in turn."""
TURNS_A_CALL = 6

WAIT = round(8 / TICK)
ANSWER_OVER = round(1.2 / TICK)
"""Silence after which a short answer is over."""
LONG_OVER = round(3 / TICK)
"""A long one that was held may go on after two seconds (LiveKit)."""
LONGEST = round(30 / TICK)


@dataclass(frozen=True, slots=True)
class Turn:
    """``over`` comes ``into`` ticks after the answer's first audible one."""

    kind: str
    asked: Clip
    over: Clip | None = None
    into: int = 0

    @property
    def name(self) -> str:
        """Of what the turn is about: recording and variant."""
        return self.asked.name if self.over is None else self.over.name


@dataclass(frozen=True, slots=True)
class Call:
    """One caller in one room."""

    name: str
    room: Room
    turns: tuple[Turn, ...]


@cache
def clip(name: str, variant: str = "clean") -> Clip:
    """A recording of the tests in a variant; ``noise`` is the room's affair."""
    texts = {one["file"]: one["text"] for one in json.loads((AUDIO / "manifest.json").read_text())}
    source = Recording.read(AUDIO / f"{name}.wav", 16_000).samples.astype(np.float64)
    samples = _resampled(source, 0.5 / SPEEDS.get(variant, 1.0))
    gain = 10 ** (SOFT_DB / 20) if variant == "soft" else 1.0
    return _clip(f"{name}/{variant}", samples, texts[f"{name}.wav"], gain)


def _clip(name: str, samples: Floats, text: str = "", gain: float = 1.0) -> Clip:
    voiced = np.flatnonzero(levels(_pcm(samples)) > VOICED)
    gaps = [Span(int(a) + 1, int(b) - 1) for a, b in pairwise(voiced)]
    pause = max(gaps, key=seconds)
    return Clip(
        name=name,
        samples=_pcm(samples * gain),
        voiced=Span(int(voiced[0]), int(voiced[-1])),
        text=text,
        pause=pause if seconds(pause) >= PAUSE else None,
    )


def _pcm(samples: Floats) -> Samples:
    return np.clip(np.rint(samples), -32768, 32767).astype(np.int16)


def _resampled(samples: Floats, ratio: float) -> Floats:
    """As many samples times ``ratio``, by cutting or widening the spectrum of the whole."""
    length = round(len(samples) * ratio)
    found: Floats = np.fft.irfft(np.fft.rfft(samples), length) * ratio
    return found


def _shaped_noise(seed: int, length: float, low: float, high: float) -> Floats:
    """Noise of RMS 1 between two frequencies (Hz)."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=round(length * RATE)))
    frequencies = np.fft.rfftfreq(round(length * RATE), 1 / RATE)
    spectrum[(frequencies < low) | (frequencies > high)] = 0
    noise = np.fft.irfft(spectrum, round(length * RATE))
    shaped: Floats = noise / np.sqrt(np.mean(noise**2))
    return shaped


def noise_clip(kind: str, seed: int) -> Clip:
    """A thump on the table, two bursts of a cough, or two seconds of hiss; as loud as speech."""
    match kind:
        case "thump":
            sound = _shaped_noise(seed, 0.25, 40, 300) * 9_000
            sound *= np.exp(-np.arange(len(sound)) / RATE / 0.05)
        case "cough":
            burst = _shaped_noise(seed, 0.5, 200, 3_000) * 5_000
            time = np.arange(len(burst)) / RATE
            sound = burst * (np.exp(-time / 0.06) + np.exp(-np.abs(time - 0.28) / 0.06))
        case "hiss":
            sound = _shaped_noise(seed, 2.0, 1_500, 3_800) * 1_500
        case _:
            raise ValueError(f"no sound named {kind!r}")
    return _clip(f"{kind}/{seed}", sound)


def speech_level() -> float:
    """The median question's level, which levels of the room are relative to: a few are 12 dB
    louder."""
    return float(np.median([_voiced_level(clip(name).samples) for name in questions()]))


def _voiced_level(samples: Samples) -> float:
    """RMS of the voiced ticks."""
    ticks = levels(samples)
    return float(np.sqrt(np.mean(ticks[ticks > VOICED] ** 2)))


def _at_level(samples: Samples, decibels: float) -> Floats:
    """A recording, so much louder than the callers, however loud it was."""
    gain = speech_level() * 10 ** (decibels / 20) / _voiced_level(samples)
    scaled: Floats = samples.astype(np.float64) * gain
    return scaled


def questions() -> list[str]:
    """Names of the recordings that are turns of their own."""
    return [path.stem for path in sorted(AUDIO.glob("*.wav")) if path.stem not in NOT_QUESTIONS]


def room_of(variant: str, *, voice: str = "") -> Room:
    """``noise``, ``television`` (the voice that is not the caller's), ``echo-12`` …, or quiet."""
    match variant.split("-")[0]:
        case "noise":
            level = speech_level() * 10 ** (NOISE_DB / 20)
            return Room(background=_pcm(_shaped_noise(1, 7.3, 80, 3_400) * level))
        case "television":
            names = [name for name in questions() if not name.startswith((voice, "lang"))]
            others = [_at_level(clip(name, "quick").samples, TELEVISION_DB) for name in names]
            return Room(background=_pcm(np.concatenate(others)))
        case "echo":
            return Room(echo=float(variant.removeprefix("echo")))
        case _:
            return Room()


def is_held(name: str) -> bool:
    """Whether a turn is for reporting; by recording and variant, so that it never changes."""
    return hashlib.sha256(name.encode()).digest()[0] % 2 == 1


def calls(half: str, most_turns: int | None = None) -> list[Call]:
    """The calls of the ``tuned`` half, the ``held`` half, or of ``all``.

    ``most_turns``: so many questions, and other turns in proportion."""
    wanted = [
        (variant, turn)
        for variant, turn in _all_turns()
        if half == "all" or is_held(f"{variant}:{turn.name}") == (half == "held")
    ]
    if most_turns is not None:
        asked = sum(turn.kind == "question" for _, turn in wanted)
        step = max(1.0, asked / most_turns)
        wanted = _thinned(wanted, step)
    rooms: dict[tuple[str, str], list[Turn]] = defaultdict(list)
    for variant, turn in wanted:
        rooms[variant, turn.asked.name.split("_")[0]].append(turn)
    made = [Call("undisturbed", Room(), (Turn("undisturbed", clip(ANSWERED_LONG[0])),) * 2)]
    for (variant, voice), turns in rooms.items():
        for begin in range(0, len(turns), TURNS_A_CALL):
            some = tuple(turns[begin : begin + TURNS_A_CALL])
            made.append(Call(f"{voice} {variant}", room_of(variant, voice=voice), some))
    return made


def _thinned(turns: list[tuple[str, Turn]], step: float) -> list[tuple[str, Turn]]:
    """Every ``step``-th turn of each kind."""
    seen: dict[str, int] = defaultdict(int)
    kept = []
    for variant, turn in turns:
        number = seen[turn.kind]
        seen[turn.kind] += 1
        if int((number + 1) / step) > int(number / step) or number == 0:
            kept.append((variant, turn))
    return kept


def _all_turns() -> Iterator[tuple[str, Turn]]:
    """(variant, turn); the variant names the room."""
    for variant in VARIANTS:
        for name in questions():
            yield variant, Turn("question", clip(name, variant))
    number = 0
    for variant in VARIANTS:
        for name in INTERRUPTIONS + BACKCHANNELS:
            kind = "backchannel" if name in BACKCHANNELS else "interruption"
            yield variant, _over(number, kind, clip(name, variant), variant)
            number += 1
    for kind in ("thump", "cough", "hiss"):
        for seed in range(6):
            yield "clean", _over(number, kind, noise_clip(kind, seed), "clean")
            number += 1
    for name in ANSWERED_LONG:
        for db in ECHOES_DB:
            yield f"echo{db:.0f}", Turn("echo", clip(name))
        for variant in ("clean", *SPEEDS):
            yield "television", Turn("television", clip(name, variant))


def _over(number: int, kind: str, over: Clip, variant: str) -> Turn:
    asked = clip(ANSWERED_LONG[number % len(ANSWERED_LONG)], variant)
    return Turn(kind, asked, over, INTO_THE_ANSWER[number % len(INTO_THE_ANSWER)])


async def play(telephone: Telephone, call: Call, chat: ChatModel) -> list[Exchange]:
    """Speak and listen through the call; returns its script as it was played."""
    played = []
    await telephone.listen(round(1 / TICK))
    for turn in call.turns:
        chat.take()
        chat.long = turn.kind != "question"
        begin = telephone.tick
        asked = telephone.say(turn.asked)
        await telephone.listen(asked.last + 1 - telephone.tick)
        answered = await telephone.hears(asked.last, within=WAIT)
        chat.long = False
        heard, requests = chat.take()
        over = None
        if answered and turn.over is not None:
            await telephone.listen(turn.into)
            over = telephone.say(turn.over)
            await telephone.listen(over.last + 1 - telephone.tick)
            if turn.kind == "interruption":
                await telephone.hears(over.last, within=WAIT)
        if answered:
            silence = ANSWER_OVER if turn.kind in ("question", "interruption") else LONG_OVER
            await telephone.hears_nothing(silence, within=LONGEST)
        pause = turn.asked.pause
        played.append(
            Exchange(
                kind=turn.kind,
                name=turn.name,
                asked=asked,
                end=telephone.tick,
                text=turn.asked.text,
                heard=heard,
                requests=requests,
                pause=None if pause is None else Span(begin + pause.first, begin + pause.last),
                over=over,
            )
        )
    return played
