"""The gate relative to the caller's own level: a television is not the caller."""

import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.formats import HEARING_RATE
from media.vad import SileroModel, VoiceDetector, level_of
from sessions.core.commands import CancelReply, PausePlayout, StartTranscription
from sessions.core.config import TurnMode, TurnTakingSettings
from sessions.core.events import VoiceWindow
from sessions.core.states import State
from sessions.core.turns.speech_gate import GATE_DB, CallerLevel
from tests.sessions.core.conftest import ShellFactory
from tests.support.paths import AUDIO
from tests.support.sessions.model_shell import WINDOW, ModelShell

CALLER = -20.0
TELEVISION = CALLER - 20.0


class Windows:
    """Feeds a CallerLevel; ``voice`` is what it makes of certain speech."""

    def __init__(self) -> None:
        self.level = CallerLevel()
        self.position = 0

    def voice(
        self,
        level: float | None,
        seconds: float,
        state: State = State.LISTENING,
        voice: float = 0.9,
    ) -> float:
        """The last window's voice."""
        heard = 0.0
        for _ in range(max(1, round(seconds * HEARING_RATE / WINDOW))):
            self.position += WINDOW
            heard = self.level.voice(VoiceWindow(self.position, voice, level), 0.5, state)
        return heard

    def silence(self, seconds: float, state: State = State.LISTENING) -> None:
        assert self.voice(-70.0, seconds, state, voice=0.01) == 0.01

    def turn(self, level: float, seconds: float = 1.0) -> None:
        """A turn with words at that level, and a pause behind it."""
        assert self.voice(level, seconds, State.USER_SPEAKING) == 0.9
        self.silence(0.5, State.ENDPOINTING)
        self.level.learn(self.level.take())
        self.silence(1.0)


@pytest.fixture
def windows() -> Windows:
    return Windows()


@pytest.fixture
def learnt(windows: Windows) -> Windows:
    """The caller has spoken at CALLER."""
    windows.turn(CALLER)
    assert windows.level.learnt == pytest.approx(CALLER, abs=0.1)
    return windows


def test_there_is_no_gate_before_the_first_words(windows: Windows) -> None:
    assert windows.voice(-60.0, 3) == 0.9
    assert windows.level.take() == pytest.approx(-60.0, abs=0.1)
    assert windows.voice(-80.0, 1) == 0.9, "noise without words changes no level"


def test_windows_without_a_level_pass(learnt: Windows) -> None:
    assert learnt.voice(None, 1) == 0.9


@pytest.mark.parametrize("state", State)
def test_speech_far_quieter_than_the_caller_is_silence(learnt: Windows, state: State) -> None:
    assert learnt.voice(CALLER - GATE_DB - 1, 0.1, state) == 0.0


@pytest.mark.parametrize("state", State)
def test_slightly_quieter_speech_is_the_caller(learnt: Windows, state: State) -> None:
    assert learnt.voice(CALLER - GATE_DB + 1, 0.3, state) == 0.9


def test_background_speech_is_silence_from_the_first_turn_on(
    windows: Windows,
) -> None:
    windows.voice(CALLER, 1, State.USER_SPEAKING)
    assert windows.voice(TELEVISION, 0.6, State.USER_SPEAKING) == 0.0


def test_a_quieter_caller_is_admitted_after_two_seconds_and_stays(learnt: Windows) -> None:
    assert learnt.voice(TELEVISION, 1.8) == 0.0
    learnt.silence(1)
    assert learnt.voice(TELEVISION, 0.4) == 0.9
    assert learnt.voice(TELEVISION - 8, 1, State.USER_SPEAKING) == 0.9, "heard like any caller"
    learnt.silence(1, State.ENDPOINTING)
    learnt.level.learn(learnt.level.take())
    assert learnt.voice(TELEVISION, 0.1) == 0.9
    learnt.turn(CALLER)
    assert learnt.level.lowered == 0
    assert learnt.voice(TELEVISION, 0.1) == 0.0


def test_a_loud_turn_restores_a_lowered_gate(learnt: Windows) -> None:
    learnt.voice(TELEVISION, 1)
    assert learnt.level.lowered == pytest.approx(3.0, abs=0.1)
    assert learnt.voice(CALLER, 1, State.USER_SPEAKING) == 0.9
    assert learnt.voice(TELEVISION + 4, 0.6, State.USER_SPEAKING) == 0.0


def test_nobody_is_locked_out_for_longer_than_five_seconds_of_speech(learnt: Windows) -> None:
    assert learnt.voice(CALLER - 29, 5.1) == 0.9


def test_a_caller_who_stays_softer_is_the_new_caller_after_three_turns(learnt: Windows) -> None:
    learnt.turn(CALLER)
    learnt.voice(CALLER - 18, 2.5)
    learnt.level.take()
    for _ in range(3):
        learnt.turn(CALLER - 18)
    assert learnt.level.learnt == pytest.approx(CALLER - 18, abs=0.5)
    assert learnt.level.lowered == 0


def test_a_much_louder_voice_is_the_caller_at_once(windows: Windows) -> None:
    for level in (TELEVISION, TELEVISION, TELEVISION, CALLER):
        windows.turn(level)
    assert windows.level.learnt == pytest.approx(CALLER, abs=0.1)


def test_a_television_that_talks_on_is_never_let_in(learnt: Windows) -> None:
    for state in (State.SPEAKING, State.LISTENING, State.THINKING, State.USING_TOOLS):
        assert learnt.voice(TELEVISION, 30, state) == 0.0
    assert learnt.level.lowered == 0


def test_a_television_heard_during_turns_is_admitted_late(learnt: Windows) -> None:
    learnt.voice(TELEVISION, 1, State.ENDPOINTING)
    for _ in range(5):
        learnt.silence(1)
        assert learnt.voice(TELEVISION, 2) == 0.0
    learnt.silence(6)
    assert learnt.voice(TELEVISION, 1) == 0.9, "it had stopped: this voice is somebody else"


def test_a_turn_too_short_to_measure_changes_no_level(learnt: Windows) -> None:
    learnt.voice(CALLER + 20, 0.2)
    learnt.level.learn(learnt.level.take())
    assert learnt.level.learnt == pytest.approx(CALLER, abs=0.1)


WINDOW_RUNS = st.lists(
    st.tuples(
        st.sampled_from(State), st.floats(0, 1), st.none() | st.floats(-100, 0), st.integers(1, 60)
    ),
    max_size=20,
)


@given(runs=WINDOW_RUNS, quiet=st.floats(-90, -5))
def test_a_caller_who_speaks_up_alone_is_always_heard(
    runs: list[tuple[State, float, float | None, int]], quiet: float
) -> None:
    windows = Windows()
    for state, voice, level, count in runs:
        heard = windows.voice(level, count * WINDOW / HEARING_RATE, state, voice)
        assert heard in (0.0, voice)
        if count % 3 == 0:
            windows.level.learn(windows.level.take())
    windows.voice(-100.0, 6, voice=0.01)
    windows.voice(quiet, 40)
    assert windows.voice(quiet, 0.1) == 0.9


# ---------------------------------------------------------------------------- whole calls


def test_a_television_neither_holds_the_floor_nor_opens_a_turn_nor_interrupts(
    call: ShellFactory,
) -> None:
    shell = call()
    shell.speak(640, level=CALLER)
    shell.speak(600, level=TELEVISION)
    shell.final("What is the capital of France?", 0.9)
    shell.speak(400, level=TELEVISION)
    assert shell.stands(State.THINKING)
    shell.clause("Paris is the capital of France. ", 2_000)
    shell.play(0.0)
    shell.speak(1_500, level=TELEVISION)
    assert shell.stands(State.SPEAKING)
    shell.generated()
    shell.speak(60_000, level=TELEVISION)
    assert shell.stands(State.LISTENING)
    assert len(shell.ordered(StartTranscription)) == 1
    assert not shell.ordered(
        PausePlayout,
    )
    assert not shell.ordered(CancelReply)
    shell.ask("And of Spain?", level=CALLER)
    assert shell.stands(State.THINKING)


def test_a_caller_who_became_softer_interrupts_and_is_answered(call: ShellFactory) -> None:
    shell = call()
    shell.ask("What is the capital of France?", level=CALLER)
    shell.clause("Paris.", 500)
    shell.generated()
    shell.silence(1_000)
    shell.speak(2_500, level=TELEVISION)
    assert shell.stands(State.USER_SPEAKING)


def test_push_to_talk_is_not_gated(call: ShellFactory) -> None:
    shell = call(mode=TurnMode.NONE)
    for level in (CALLER, TELEVISION):
        shell.speak(640, level=level)
        assert shell.core._turns._audio.gate.speaking


# ---------------------------------------------------------------------------- recordings


def recording(name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    with wave.open(str(AUDIO / name)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert isinstance(samples, np.ndarray)
    return samples.astype(np.float64)


def hear(shell: ModelShell, detector: VoiceDetector, samples: np.ndarray) -> None:
    for start in range(0, len(samples) - WINDOW + 1, WINDOW):
        pcm = samples[start : start + WINDOW].astype("<i2").tobytes()
        (voice,) = detector.windows(pcm)
        shell.hear(voice, level=level_of(pcm))


@pytest.mark.engines
def test_a_reader_in_the_background_of_recorded_turns(call: ShellFactory, models_dir: Path) -> None:
    detector = VoiceDetector(SileroModel(models_dir / "silero-vad" / "silero_vad.onnx"))
    reader = np.concatenate([recording(f"lv_{n}.wav") for n in ("0870", "0890", "0920", "0930")])
    turns = [recording(f"joe_q_{name}.wav") for name in ("hours", "book", "weather")]
    power = np.mean([np.mean(turn**2) for turn in turns]) / np.mean(reader**2)
    reader *= np.sqrt(power) / 10  # -20 dB
    shell, at = call(), 0
    for count, turn in enumerate(turns, 1):
        stretch = np.concatenate([turn, np.zeros(2 * HEARING_RATE)])
        hear(shell, detector, stretch[: len(turn)] + np.resize(np.roll(reader, -at), len(turn)))
        at += len(turn)
        for _ in range(60):
            if len(shell.asked) and shell.asked[-1].turn in shell.transcriptions:
                shell.final("What is it?", 0.9)
            if shell.stands(State.THINKING):
                break
            hear(shell, detector, np.resize(np.roll(reader, -at), WINDOW))
            at += WINDOW
        assert shell.stands(State.THINKING), f"turn {count} is over within 2 s"
        shell.clause("It is so.", 1_500)
        shell.generated()
        hear(shell, detector, np.resize(np.roll(reader, -at), 4 * HEARING_RATE))
        at += 4 * HEARING_RATE
        assert shell.stands(State.LISTENING)
    assert len(shell.ordered(StartTranscription)) == len(turns)
    assert not shell.ordered(PausePlayout)


def test_the_gate_can_be_switched_off(call: ShellFactory) -> None:
    shell = call(turn_taking=TurnTakingSettings(level_gate=False))
    for _ in range(2):
        shell.ask("hello", level=CALLER)
        shell.clause("Hi. ", 100)
        shell.generated()
        shell.silence(1_500)
    shell.speak(640, level=TELEVISION)
    assert shell.stands(State.USER_SPEAKING)
