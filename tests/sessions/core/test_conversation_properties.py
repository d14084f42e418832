"""Any order of legal shell behaviour and arbitrary client requests keeps the core's promises.

The model shell checks every command as it carries it out; the machine only decides what
happens. Late results, results of dead turns and replies, and silence of all engines are part
of what may happen.
"""

from dataclasses import fields, replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.channels.wire.wire_format import RealtimeWireFormat
from sessions.core.config import (
    Eagerness,
    Extension,
    ListedTool,
    SessionConfig,
    SessionKind,
    Tool,
    ToolKind,
    ToolServer,
    TurnDetection,
    TurnMode,
    TurnTakingSettings,
)
from sessions.core.events import (
    AddItem,
    AddToolOutput,
    AddToolUse,
    AnswerApproval,
    ClauseReady,
    ClauseStarted,
    ClearInput,
    ClearOutput,
    CommitInput,
    ConfigureSession,
    DeleteItem,
    Event,
    FinalTranscript,
    HangUp,
    InputEnded,
    KeyPressed,
    LanguageDetected,
    PartialTranscript,
    PlayoutFinished,
    PlayoutPaused,
    PlayoutStopped,
    ReplyClause,
    ReplyGenerated,
    RequestCancel,
    RequestReply,
    RetrieveItem,
    SilenceHeard,
    Tick,
    ToolListFailed,
    ToolReturned,
    ToolsListed,
    TranscriptionFailed,
    TranscriptionWaits,
    TruncateItem,
    TurnScored,
)
from sessions.core.items import PromptLine
from sessions.core.notices import ItemAdded, LanguageChanged, Notice, ReplyCreated, ReplyDone
from sessions.core.states import State
from tests.support.examples import examples
from tests.support.gateway.protocol_validator import ProtocolValidator
from tests.support.sessions.model_shell import WINDOW, ModelReply, ModelShell

WORDS = st.sampled_from(
    (
        "",
        "  ",
        "mhm",
        "okay",
        "stop",
        "Yes.",
        "what is the capital of france",
        "a flight to",
        "and um",
        "five five",
        "the capital",
        "paris is the capital",
        "and so he was",
        "What is the capital of France,",
        "my booking code is four seven two",
    )
)
CLAUSES = st.sampled_from(["Paris is the capital. ", "It is late, ", "and so on", "", "Ok. "])
DETECTIONS = st.builds(
    TurnDetection,
    mode=st.sampled_from([*TurnMode, TurnMode.SEMANTIC_VAD, TurnMode.SEMANTIC_VAD]),
    eagerness=st.sampled_from(Eagerness),
    create_response=st.sampled_from([True, True, True, False]),
    interrupt_response=st.sampled_from([True, True, True, False]),
    idle_timeout_ms=st.sampled_from([None, None, 5_000]),
)
SWITCHES = st.builds(
    TurnTakingSettings, **{field.name: st.booleans() for field in fields(TurnTakingSettings)}
)
TOOLS = (
    Tool("get_weather"),
    Tool("look_up", kind=ToolKind.HTTP, url="https://example.com/", timeout_ms=3_000),
)
SERVERS = (ToolServer("shop", "https://example.com/mcp", ask=False, asked=("buy",)),)
LISTED = (ListedTool("find", "", "{}"), ListedTool("buy", "", "{}"))
NAMES = st.sampled_from(["get_weather", "look_up", "find", "buy", "unknown"])
CONFIGS = st.builds(
    SessionConfig,
    kind=st.sampled_from([*[SessionKind.REALTIME] * 7, SessionKind.TRANSCRIPTION]),
    turn_detection=DETECTIONS,
    turn_taking=SWITCHES | st.just(TurnTakingSettings()),
    output_audio=st.sampled_from([True, True, True, False]),
    instructions=st.sampled_from(["", "Be brief."]),
    tools=st.sampled_from([(), TOOLS]),
    servers=st.sampled_from([(), SERVERS]),
    tool_choice=st.sampled_from(["auto", "auto", "required", "none"]),
    max_call_ms=st.sampled_from([3_600_000, 3_600_000, 20_000]),
    detects_language=st.sampled_from([True, True, True, False]),
    languages=st.sampled_from([(), ("en",), ("en", "es"), ("en", "de", "es")]),
    unspoken=st.sampled_from([(), ("pt",)]),
    extensions=st.sampled_from([frozenset(), frozenset(Extension)]),
)
LINES = (PromptLine("user", "Sum up."), PromptLine(item_id="x"))
LEVELS = st.sampled_from((-20.0, -20.0, -30.0, -45.0))
"""dBFS: the caller, the caller a little softer, a television."""
NUMBERS = st.integers(0, 12)


def check_told(notices: list[Notice], resumed_at: list[int]) -> None:
    """The notices about them keep to the protocol."""
    wire_format, validator = RealtimeWireFormat("c"), ProtocolValidator(fields=False)
    for number, notice in enumerate(notices):
        if number in resumed_at:
            wire_format = RealtimeWireFormat("c")
            validator.resume()
        for event in wire_format.render(notice):
            validator.feed(event)


class Calls(RuleBasedStateMachine):
    """One call with everything that can happen to it."""

    shell: ModelShell

    @initialize(config=CONFIGS)
    def start(self, config: SessionConfig) -> None:
        self.shell = ModelShell(config)

    # ------------------------------------------------------------------ the caller

    @rule(windows=st.integers(1, 12))
    def speak(self, windows: int) -> None:
        self.shell.hear(0.9, windows)

    @rule(windows=st.integers(4, 40), words=WORDS)
    def say(self, windows: int, words: str) -> None:
        self.shell.hear(0.9, windows)
        if self.shell.transcriptions:
            self.shell.partial(words)

    @rule(windows=st.integers(1, 12), level=LEVELS)
    def speak_at(self, windows: int, level: float) -> None:
        self.shell.hear(0.9, windows, level)

    @rule(windows=st.integers(4, 40), level=LEVELS, words=WORDS)
    def ask_at(self, windows: int, level: float, words: str) -> None:
        """A question with its level, so that the caller's is learnt."""
        self.shell.hear(0.9, windows, level)
        self.shell.hear(0.0, 4, -70.0)
        if self.shell.asked:
            self.shell.final(words, 0.9)
        self.shell.hear(0.0, 20, -70.0)

    @rule(windows=st.integers(1, 30))
    def be_silent(self, windows: int) -> None:
        self.shell.hear(0.0, windows)

    @rule(sooner=st.integers(-600, 600))
    def hear_part_of_a_window(self, sooner: int) -> None:
        """Silence up to the position that the core awaits, or thereabouts."""
        shell = self.shell
        awaited = shell.core.next_position() or shell.position
        shell.feed(SilenceHeard(min(awaited - sooner, shell.position + WINDOW - 1)))

    @rule(pattern=st.lists(st.booleans(), min_size=1, max_size=16))
    def crackle(self, pattern: list[bool]) -> None:
        for voice in pattern:
            self.shell.hear(0.9 if voice else 0.1)

    @rule(words=WORDS, probability=st.sampled_from([None, 0.05, 0.3, 0.9]))
    def ask_and_wait(self, words: str, probability: float | None) -> None:
        """A whole question with a prompt recogniser: the usual way into a reply."""
        self.shell.hear(0.9, 10)
        self.shell.hear(0.0, 4)
        if self.shell.asked:
            self.shell.final(words, probability)
        self.shell.hear(0.0, 20)

    @precondition(lambda self: self.shell.core.state is State.LISTENING)
    @rule(
        pieces=st.lists(st.sampled_from([300, 3_000]), min_size=1, max_size=3), whole=st.booleans()
    )
    def have_the_agent_speak(self, pieces: list[int], whole: bool) -> None:
        """The usual way into an audible reply."""
        self.ask_and_wait("what is the capital of france", 0.9)
        if self._living() is None:
            self.shell.feed(RequestReply())
        for milliseconds in pieces:
            if self._living() is not None:
                self.shell.clause("Paris is the capital. ", milliseconds)
        self.shell.play(0.1)
        if whole and self._living() is not None:
            self.shell.generated()

    @precondition(lambda self: self.shell.core.state is State.SPEAKING)
    @rule(windows=st.integers(4, 8), echo=st.sampled_from((0.0, 0.0, 0.5, 0.9)))
    def speak_over(self, windows: int, echo: float) -> None:
        self.shell.hear(0.9, windows, echo=echo)

    @precondition(lambda self: self.shell.core.state is State.BARGE_IN)
    @rule(windows=st.integers(4, 8), words=WORDS)
    def stop_speaking_over(self, windows: int, words: str) -> None:
        self.shell.hear(0.0, windows)
        if self.shell.asked:
            self.shell.final(words)

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 3.0, 11.0, 45.0]))
    def drop_out(self, seconds: float) -> None:
        self.shell.pass_time(seconds)

    @rule(seconds=st.sampled_from([0.3, 3.0, 12.0, 45.0]))
    def stall(self, seconds: float) -> None:
        """The process stood still: all deadlines since then are due at once."""
        self.shell.now += seconds
        self.shell.feed(Tick())

    @rule()
    def end_input(self) -> None:
        self.shell.feed(InputEnded())

    # ------------------------------------------------------------------ engines

    @precondition(lambda self: self.shell.asked)
    @rule(words=WORDS, back=st.integers(0, 2))
    def final(self, words: str, back: int) -> None:
        asked = self.shell.asked[-1 - back % len(self.shell.asked)]
        self.shell.feed(FinalTranscript(asked.turn, words, asked.position))

    @precondition(lambda self: self.shell.asked)
    @rule(ahead=st.integers(0, 9))
    def wait_for_a_recogniser(self, ahead: int) -> None:
        self.shell.feed(TranscriptionWaits(self.shell.asked[-1].turn, ahead))

    @precondition(lambda self: self.shell.scores)
    @rule(probability=st.floats(0, 1), back=st.integers(0, 2))
    def score(self, probability: float, back: int) -> None:
        asked = self.shell.scores[-1 - back % len(self.shell.scores)]
        self.shell.feed(TurnScored(asked.turn, asked.position, probability))

    @precondition(lambda self: self.shell.detections)
    @rule(
        language=st.sampled_from(["en", "es", "es", "de", "pt", "pt", "tlh"]),
        probability=st.sampled_from([0.0, 0.4, 0.7, 0.85, 0.99]),
        back=st.integers(0, 2),
    )
    def detect_language(self, language: str, probability: float, back: int) -> None:
        asked = self.shell.detections[-1 - back % len(self.shell.detections)]
        self.shell.feed(LanguageDetected(asked.turn, asked.position, language, probability))

    @rule(windows=st.integers(48, 70), language=st.sampled_from(["en", "es", "pt"]), words=WORDS)
    def ask_in(self, windows: int, language: str, words: str) -> None:
        """A question that is long enough for its language to be found out."""
        self.shell.hear(0.9, windows)
        if self.shell.detections:
            self.shell.detect(language)
        self.shell.hear(0.0, 4)
        if self.shell.asked:
            self.shell.final(words, 0.9)
        self.shell.hear(0.0, 20)

    @invariant()
    def the_language_is_one_that_may_be_spoken(self) -> None:
        if not hasattr(self, "shell"):
            return
        changed = [n for n in self.shell.notices if isinstance(n, LanguageChanged)]
        for notice in changed:
            assert notice.config.detects_language
            assert notice.config.language in notice.config.languages

    @rule(turn=NUMBERS, words=WORDS)
    def late_partial(self, turn: int, words: str) -> None:
        self.shell.feed(PartialTranscript(turn, words, self.shell.position))

    @rule(back=st.integers(0, 2))
    def transcription_fails(self, back: int) -> None:
        if self.shell.turns:
            turn = sorted(self.shell.turns)[-1 - back % len(self.shell.turns)]
            self.shell.feed(TranscriptionFailed(turn, "PROVIDER_ERROR", "no text"))

    def _living(self) -> ModelReply | None:
        reply = next(reversed(self.shell.replies.values()), None)
        if reply is None or reply.dead or reply.done or reply.complete:
            return None
        return reply

    @precondition(lambda self: self._living())
    @rule(text=CLAUSES, milliseconds=st.sampled_from([0, 40, 300, 2_000]), whole=st.booleans())
    def generate(self, text: str, milliseconds: int, whole: bool) -> None:
        self.shell.clause(text, milliseconds)
        reply = self._living()
        if whole and reply is not None:
            self.shell.generated(reply)

    @precondition(lambda self: (reply := self._living()) and reply.filler and not reply.clauses)
    @rule()
    def speak_filler(self) -> None:
        reply = self._living()
        assert reply is not None
        self.shell.speak_filler(reply)

    @precondition(lambda self: self._living())
    @rule(truncated=st.booleans())
    def generated(self, truncated: bool) -> None:
        self.shell.generated(self._living(), truncated=truncated)

    @precondition(lambda self: self._living())
    @rule()
    def reply_fails(self) -> None:
        self.shell.fail(self._living())

    @rule(seconds=st.sampled_from([0.02, 0.2, 1.0, 4.0]))
    def play(self, seconds: float) -> None:
        self.shell.play(seconds)

    @rule(number=NUMBERS, what=st.integers(0, 6))
    def result_of_the_dead(self, number: int, what: int) -> None:
        reply = self.shell.replies.get(number) or self.shell.side_replies.get(number)
        if reply is not None and not reply.dead and reply.done is None:
            return
        results: list[Event] = [
            ClauseReady(number),
            ReplyClause(number, "stale", 100, 24_000),
            ReplyGenerated(number),
            ClauseStarted(number, 0),
            PlayoutFinished(number, 10),
            PlayoutPaused(number, 10, 10),
            PlayoutStopped(number, 10, 10),
        ]
        self.shell.feed(results[what])

    # ------------------------------------------------------------------ tools

    @precondition(lambda self: self._living())
    @rule(names=st.lists(NAMES, min_size=1, max_size=3), ends=st.booleans())
    def call_tools(self, names: list[str], ends: bool) -> None:
        for name in names:
            if self._living() is not None:
                self.shell.call_tool(name, reply=self._living())
        if ends and self._living() is not None:
            self.shell.generated(self._living())

    @precondition(lambda self: self.shell.core.state is State.LISTENING)
    @rule(name=NAMES)
    def have_the_agent_call(self, name: str) -> None:
        """The usual way into a call."""
        self.shell.feed(RequestReply())
        self.call_tools([name], True)

    @precondition(lambda self: self.shell.work)
    @rule(number=NUMBERS, failed=st.booleans())
    def tool_returns(self, number: int, failed: bool) -> None:
        calls = list(self.shell.work)
        self.shell.tool_returns("done", failed=failed, tool_use_id=calls[number % len(calls)])

    @precondition(lambda self: self.shell.run)
    @rule(number=NUMBERS)
    def dead_tool_returns(self, number: int) -> None:
        tool_use_id = sorted(self.shell.run)[number % len(self.shell.run)]
        if tool_use_id not in self.shell.work:
            self.shell.feed(ToolReturned(tool_use_id, "late"))

    @precondition(lambda self: self.shell.listings)
    @rule(whole=st.booleans())
    def tools_are_listed(self, whole: bool) -> None:
        label = self.shell.listings[-1].server.label
        self.shell.feed(ToolsListed(label, LISTED) if whole else ToolListFailed(label, "down"))

    def _some_call(self, number: int) -> str:
        done = [n for n in self.shell.notices if isinstance(n, ReplyDone)]
        calls = [told.item for notice in done for told in notice.tool_uses]
        if not calls:
            return "nothing"
        item = calls[number % len(calls)]
        return item.tool_use.tool_use_id if item.tool_use and number % 2 else item.item_id

    @rule(number=NUMBERS)
    def bring_output(self, number: int) -> None:
        self.shell.feed(AddToolOutput(self._some_call(number), "sunny"))

    @rule(number=NUMBERS)
    def bring_call(self, number: int) -> None:
        self.shell.feed(AddToolUse(f"old_{number % 2}", "get_weather", "{}"))
        self.shell.feed(AddToolOutput("old_0", "sunny"))

    @rule(number=NUMBERS, approve=st.booleans())
    def answer_approval(self, number: int, approve: bool) -> None:
        self.shell.feed(AnswerApproval(self._some_call(number), approve))

    # ------------------------------------------------------------------ the client

    @rule(config=CONFIGS)
    def configure(self, config: SessionConfig) -> None:
        # events that are asked for in mid-reply would come to the validator without a beginning
        extensions = self.shell.config.extensions
        self.shell.feed(ConfigureSession(replace(config, extensions=extensions)))

    @rule(
        request=st.sampled_from(
            [
                CommitInput("e"),
                ClearInput("e"),
                RequestReply(),
                RequestReply(instructions="Say hello.", output_audio=True),
                RequestReply(output_audio=False, max_output_tokens=5),
                RequestReply(output_audio=False, out_of_band=True),
                RequestReply(output_audio=True, out_of_band=True, prompt=LINES),
                RequestReply(prompt=LINES, metadata=(("a", "b"),)),
                RequestCancel("resp_c_2"),
                RequestCancel(),
                RequestCancel("resp_c_1"),
                ClearOutput(),
            ]
        )
    )
    def request(self, request: Any) -> None:
        self.shell.feed(request)

    @rule(
        item_id=st.sampled_from([None, "x", "y", "item_c_1", "item_c_2", "item_c_r1"]),
        after=st.sampled_from([None, "root", "x", "item_c_1"]),
        role=st.sampled_from(["user", "system", "assistant"]),
    )
    def add_item(self, item_id: str | None, after: str | None, role: Any) -> None:
        self.shell.feed(AddItem(role, "typed", item_id, after, "e"))

    @rule(item_id=st.sampled_from([None, "z"]), after=st.sampled_from([None, "x"]))
    def bring_speech(self, item_id: str | None, after: str | None) -> None:
        self.shell.feed(AddItem("user", "", item_id, after, "e", clip=1, seconds=2.0))

    def _written(self) -> list[ModelReply]:
        return [r for r in self.shell.side_replies.values() if not r.dead and r.done is None]

    @precondition(lambda self: self._written())
    @rule(number=NUMBERS, ends=st.sampled_from([True, False, None]))
    def write_beside(self, number: int, ends: bool | None) -> None:
        """``ends``: well, not well, or not yet."""
        reply = self._written()[number % len(self._written())]
        self.shell.generate(reply, "In short. ", 0)
        if ends:
            self.shell.generated(reply)
        elif ends is not None:
            self.shell.fail(reply)

    def _some_item(self, number: int) -> str:
        ids = [n.item.item_id for n in self.shell.notices if isinstance(n, ItemAdded)]
        ids += [n.item_id for n in self.shell.notices if isinstance(n, ReplyCreated)]
        return ids[-1 - number % len(ids)] if ids else "nothing"

    @rule(number=NUMBERS)
    def delete_item(self, number: int) -> None:
        self.shell.feed(DeleteItem(self._some_item(number)))

    @rule(number=NUMBERS)
    def retrieve_item(self, number: int) -> None:
        self.shell.feed(RetrieveItem(self._some_item(number)))

    @rule(number=NUMBERS, milliseconds=st.sampled_from([-5, 0, 100, 10**9]))
    def truncate_item(self, number: int, milliseconds: int) -> None:
        self.shell.feed(TruncateItem(self._some_item(number), milliseconds))

    # ------------------------------------------------------------------ ends

    @precondition(lambda self: self.shell.core.state is not State.CLOSED)
    @rule(lost=st.sampled_from([0.0, 0.5, 30.0]))
    def resume(self, lost: float) -> None:
        """The node dies, in whatever state; the call goes on elsewhere."""
        before = {item.item_id: item for item in self.shell.core._call.transcript}
        checkpoint = self.shell.resume(lost)
        after = {item.item_id: item for item in self.shell.core._call.transcript}
        said = [item_id for item_id, item in before.items() if item.says]
        assert [item_id for item_id in after if item_id in said] == said
        for item_id, item in before.items():
            heard = after[item_id].text if after[item_id].heard is None else after[item_id].heard
            assert after[item_id].text.startswith(heard)
            if item.status == "completed" and item.text and item.tool_use is None:
                assert after[item_id] == item
        assert checkpoint.moving.numbers.turns >= max(self.shell.turns, default=0)

    @precondition(lambda self: len(self.shell.log) > 30)
    @rule(digit=st.sampled_from("0123456789*#ABCD"))
    def press_key(self, digit: str) -> None:
        self.shell.feed(KeyPressed(digit, 1_700_000_000))

    @rule()
    def hang_up(self) -> None:
        self.shell.feed(HangUp("peer_gone"))

    @rule(answering=st.booleans(), windows=st.booleans())
    def come_to_rest(self, answering: bool, windows: bool) -> None:
        """Enough silence and time lead to LISTENING or CLOSED, with or without engines."""
        shell = self.shell
        for _ in range(400):
            if shell.core.state in (State.LISTENING, State.CLOSED):
                return
            if answering:
                self._answer()
            if windows:
                shell.hear(0.0, 8)
            else:
                shell.pass_time(0.4)
                shell.play(0.4)
        raise AssertionError(f"still {shell.core.state} after {shell.now}")

    def _answer(self) -> None:
        shell = self.shell
        if shell.asked:
            asked = shell.asked[-1]
            shell.feed(FinalTranscript(asked.turn, "hello there", asked.position))
        reply = self._living()
        if reply is not None:
            shell.clause("Yes. ", 300)
            if self._living() is reply:
                shell.generated(reply)

    @invariant()
    def thinking_means_somebody_works(self) -> None:
        shell = getattr(self, "shell", None)
        if shell is None or shell.core.state is not State.THINKING:
            return
        living = [r for r in shell.replies.values() if not r.dead and r.done is None]
        assert living or shell.transcriptions
        assert all(reply.released for reply in living)

    def teardown(self) -> None:
        shell = getattr(self, "shell", None)
        if shell is None:
            return
        shell.feed(HangUp("ended"))
        assert shell.core.state is State.CLOSED
        assert not shell.transcriptions
        assert all(r.done is not None for r in shell.replies.values() if r.created)
        assert shell.core.next_deadline() is None
        assert not self._written()
        check_told(shell.notices, shell.resumed_at)


TestCalls = Calls.TestCase
TestCalls.settings = settings(
    max_examples=examples(250),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
