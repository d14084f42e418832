"""The prompt that the chat model reads: the system prompt, and a history that every chat template
accepts.

Rules of the system prompt
- Without Blab's own words, a model claims to be another company's and writes lists, which a voice
  then reads aloud. The client's instructions follow verbatim and come last, so that they win: of
  two names, small models take the later one. The session object shows only the client's.
- It depends on the configuration only, but not on the language: it stays the same from turn to turn
  and when the caller's language is found out. The model reads it once per call, before the first
  turn (about 102 tokens of Qwen2.5, 70 more than its template has without one).
- Its wording was tried on the 40 questions of bench/brain.py (temperature 0), against a plain
  "answer in one or two short spoken sentences, without lists, markup or emoji". Qwen2.5-Coder 1.5B
  passes 35 instead of 33 (it knows its name, and that it cannot know the weather), the 0.5B 23
  instead of 25 (it knows its name, but still writes lists of steps). A shorter prompt (73 tokens)
  gave the 0.5B 26, but made the 1.5B invent the weather and the time again. With the facts that
  questions with sums receive (``pipelines.engines.chat.sums``), and facts of the clock allowed,
  they pass 37 and 27.

Rules of the history
- A user message follows the instructions, then the roles alternate. Neighbours of the same role are
  joined. If the agent spoke first, or nobody has spoken since the agent did, a line in brackets
  stands for the caller. Instructions that the client adds during the conversation become lines of
  the user, because strict templates (Gemma's, Mistral's) allow only one system message, at the
  front.
- The language is named by the line that begins the history, if its pack has a name (English, the
  default, has none). Where the caller spoke first and the pack has a greeting, the agent has
  greeted the caller in it. Named in the system prompt alone, the language was not enough: the 0.5B
  answered 8 of 48 German and Italian sentences in English, with the greeting 1. Named in that line
  instead, it is as good, and the model need not read all of the prompt again when the language is
  found out (bench/README.md). Both stay in their place from turn to turn.
- The output of a tool use follows it directly, whenever it arrived; the tool uses of one reply
  stand together. A missing output is replaced by a line that says so, or the model would use the
  tool again.
- Strict templates ignore tool messages when they count roles, so an assistant's line follows the
  outputs before the caller speaks again.
- The beginning is cut only before a user message, and then by more than necessary, so that it stays
  the same for several turns: the model must read a changed beginning again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from sessions.languages.packs import pack_of

from .config import SessionConfig
from .items import Item, Message, PromptLine, ToolUseState, Transcript

DEFAULT_NAME = "Blab"
_MOST_NAME_CHARACTERS = 60

_SPOKEN = (
    "You are {name}, an AI voice assistant, not a human. Everything you say is read aloud, so"
    " answer like on the phone: one or two short sentences unless the caller wants more, no lists"
    " and no markup, in {language}."
)
_WRITTEN = "You are {name}, an AI assistant, not a human. Answer in {language}."
_NO_LIVE_DATA = (
    " You have no clock and no internet: if asked for the time, the weather or the news, say that"
    " you cannot look it up, unless a fact says it."
)
MAXIMUM_MESSAGES = 24
MAXIMUM_CHARACTERS = 6_000
_KEPT_OF_THREE = 2
"""How many thirds of the bounds a cut leaves."""

PENDING = "In progress: the result has not arrived yet. Do not call this again."
UNAPPROVED = "In progress: the user has not approved this call yet. Do not call this again."
CALL_BEGINS = "(The call begins. The caller has not spoken yet.)"
CALL_BEGINS_IN = "(The call begins. The caller speaks {language}.)"
NOTHING_SAID = "(The caller says nothing.)"
ANSWER_NOW = "(Answer now.)"
BRIDGE = "One moment."
"""The assistant's line between tool outputs and the caller's next words, if it said nothing."""


def composed(config: SessionConfig, *, names_language: bool = False) -> str:
    """The instructions for a conversation's replies: Blab's own, then the client's.

    ``names_language``: for a prompt without the history, which names it otherwise."""
    language = pack_of(config.language).name if names_language else None
    words = _SPOKEN if config.output_audio else _WRITTEN
    own = words.format(
        name=" ".join(config.agent_name.split())[:_MOST_NAME_CHARACTERS] or DEFAULT_NAME,
        language=language
        or ("the caller's language" if config.output_audio else "the user's language"),
    )
    if not (config.tools or config.servers):
        own += _NO_LIVE_DATA
    return f"{own}\n\n{config.instructions}" if config.instructions.strip() else own


@dataclass(frozen=True, slots=True)
class _Line:
    """Messages that are kept or cut together: a spoken one, or a tool use and its output."""

    item_id: str
    messages: tuple[Message, ...]

    @property
    def role(self) -> str:
        return self.messages[0].role

    @property
    def size(self) -> int:
        return sum(
            len(message.content) + sum(len(use.arguments) for use in message.tool_uses)
            for message in self.messages
        )


@dataclass(frozen=True, slots=True)
class _History:
    """The messages after the instructions, oldest first."""

    messages: tuple[Message, ...]
    first: str
    """Item id of the first line kept by a cut, else "": pass it to the next
    ``_newest`` as ``since``."""
    arrived: tuple[str, ...]
    """The tools whose output arrived after the last words."""
    by_caller: bool = False
    """It begins with the caller's words."""

    def closed(
        self, opening: str = CALL_BEGINS, silence: str = NOTHING_SAID
    ) -> tuple[Message, ...]:
        """The messages as a prompt, which ends when it is the assistant's turn.

        ``opening`` and ``silence`` stand for missing words of the caller."""
        if not self.messages:
            return (Message("user", opening),)
        if not _speaks(self.messages[-1], "assistant"):
            return self.messages
        if self.arrived:
            silence = f"(The result of {', '.join(self.arrived)} has arrived.)"
        return (*self.messages, Message("user", silence))


class Prompts:
    """The prompts of one conversation's replies."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self.since = ""
        """The first item of the last history: the next one starts there too, if it fits."""

    def messages(
        self, instructions: str, extra: Iterable[Message] = (), *, language: str = "en"
    ) -> tuple[Message, ...]:
        """The prompt of the next reply: the instructions, then the newest messages that fit.

        ``extra``: messages that are not in the transcript yet. Bounds as in ``_newest``.
        ``language`` of the call (BCP 47)."""
        opening, said = self._history(instructions, extra, language)
        return (*opening, *said.closed(_opening_in(language)))

    def beginning(
        self, instructions: str, extra: Iterable[Message] = (), *, language: str = "en"
    ) -> tuple[Message, ...]:
        """How ``messages`` will begin, whatever is said next."""
        opening, said = self._history(instructions, extra, language)
        return (*opening, *said.messages)

    def custom(self, instructions: str, lines: Iterable[PromptLine]) -> tuple[Message, ...]:
        """A reply's own prompt; deleted items are left out."""
        said: list[Message] = []
        for line in lines:
            if line.item_id is None:
                item = Item("", line.role, line.text)
            elif line.item_id in self._transcript:
                item = self._transcript.get(line.item_id)
            else:
                continue
            if message := _words_of_item(item):
                said.append(message)
        lead = list(takewhile(lambda message: message.role == "system", said))
        system = _system(instructions, [message.content for message in lead])
        rest = _History(_joined(said[len(lead) :], ANSWER_NOW), "", ())
        return (*system, *rest.closed(ANSWER_NOW, ANSWER_NOW))

    def _history(
        self, instructions: str, extra: Iterable[Message], language: str
    ) -> tuple[tuple[Message, ...], _History]:
        """What the prompt opens with, and the history behind it."""
        items = list(self._transcript)
        lead = list(takewhile(lambda item: item.role == "system" and item.says, items))
        begins = _opening_in(language)
        said = _newest(items[len(lead) :], extra, self.since, begins)
        self.since = said.first
        opening = _system(instructions, [item.text for item in lead])
        if said.by_caller and (greeting := pack_of(language).greeting):
            opening += Message("user", begins), Message("assistant", greeting)
        elif said.by_caller and begins != CALL_BEGINS:
            first = replace(said.messages[0], content=f"{begins}\n{said.messages[0].content}")
            said = replace(said, messages=(first, *said.messages[1:]))
        return opening, said


def _opening_in(language: str) -> str:
    """The line with which a call in ``language`` begins."""
    name = pack_of(language).name
    return CALL_BEGINS_IN.format(language=name) if name else CALL_BEGINS


def _newest(
    items: Sequence[Item],
    extra: Iterable[Message] = (),
    since: str = "",
    opening: str = CALL_BEGINS,
) -> _History:
    """The newest of ``items`` and then ``extra``, at most 24 messages and 6,000 characters, behind
    ``opening`` if they do not begin with the caller.

    ``since``: ``first`` of the previous history; if everything from there on fits, nothing is cut.
    The newest line is always kept whole."""
    lines, arrived = _lines(items)
    lines += [_Line("", (message,)) for message in extra]
    kept = _cut(lines, since)
    return _History(
        _joined((message for line in kept for message in line.messages), opening),
        kept[0].item_id if len(kept) < len(lines) else "",
        arrived,
        bool(kept) and kept[0].role == "user",
    )


def _system(instructions: str, added: list[str]) -> tuple[Message, ...]:
    """One system message: the instructions, and those the client put at the very beginning."""
    parts = [part for part in (instructions, *added) if part.strip()]
    return (Message("system", "\n\n".join(parts)),) if parts else ()


def _words_of_item(item: Item) -> Message | None:
    """The item as the model reads it: of a reply, what was heard after its filler. None if that is
    nothing."""
    content = (item.text if item.heard is None else item.heard)[item.filler :]
    return Message(item.role, content) if content.strip() else None


def _joined(messages: Iterable[Message], opening: str = CALL_BEGINS) -> tuple[Message, ...]:
    """``messages`` with neighbours of the same role joined, starting with the user's."""
    made: list[Message] = []
    for message in messages:
        if message.role == "system":
            message = Message("user", f"(Instruction: {message.content})")
        last = made[-1] if made else None
        if last is None and message.role != "user":
            made.append(Message("user", opening))
            made.append(message)
        elif last is not None and message.role == "user" and last.role == "tool":
            made += (Message("assistant", BRIDGE), message)
        elif last is not None and _speaks(last, message.role) and message.role != "tool":
            between = "\n" if message.role == "user" else " "
            content = between.join(part for part in (last.content, message.content) if part)
            made[-1] = replace(message, content=content)
        else:
            made.append(message)
    return tuple(made)


def _speaks(message: Message, role: str) -> bool:
    return message.role == role and not message.tool_uses


def _lines(items: Sequence[Item]) -> tuple[list[_Line], tuple[str, ...]]:
    """The lines of ``items``, and the tools whose output arrived after the last line."""
    outputs = {item.output[0]: item.output[1] for item in items if item.output is not None}
    made = {
        i.tool_use.tool_use_id for i in items if i.tool_use and i.state is not ToolUseState.ASKED
    }
    names: dict[str, str] = {}
    lines: list[_Line] = []
    arrived: list[str] = []
    apart = True
    for item in items:
        if item.tool_use is not None:
            tool_use_id = item.tool_use.tool_use_id
            asked = item.state is ToolUseState.ASKED
            if asked and tool_use_id in made:
                continue
            output = outputs.get(tool_use_id, UNAPPROVED if asked else PENDING)
            used = Message("assistant", "", (item.tool_use,))
            returned = Message("tool", output, tool_use_id=tool_use_id)
            _append_tool_use(lines, item.item_id, used, returned, apart=apart)
            names[tool_use_id], apart = item.tool_use.name, False
        elif item.output is not None:
            apart = True
            if name := names.get(item.output[0]):
                arrived.append(name)
        elif message := _words_of_item(item):
            lines.append(_Line(item.item_id, (message,)))
            arrived = [] if message.role == "assistant" else arrived
    return lines, tuple(arrived)


def _append_tool_use(
    lines: list[_Line], item_id: str, used: Message, returned: Message, *, apart: bool
) -> None:
    """Add a tool use and its output, next to those of the same reply if they directly precede it.

    ``apart``: it follows an output. In an earlier conversation (reply 0), such a tool use belonged
    to another reply."""
    before = lines[-1].messages[0].tool_uses if lines else ()
    reply = used.tool_uses[0].reply
    if not before or before[-1].reply != reply or (apart and not reply):
        lines.append(_Line(item_id, (used, returned)))
        return
    first, *outputs = lines[-1].messages
    first = replace(first, tool_uses=(*before, *used.tool_uses))
    lines[-1] = _Line(lines[-1].item_id, (first, *outputs, returned))


def _cut(lines: list[_Line], since: str) -> list[_Line]:
    """The lines that fit; see the last rule of the module."""
    began = next((n for n, line in enumerate(lines) if since and line.item_id == since), 0)
    if _fits(lines[began:], 3):
        return lines[began:]
    borders = [n for n, line in enumerate(lines) if line.role == "user"] or list(range(len(lines)))
    border = next((n for n in borders if _fits(lines[n:], _KEPT_OF_THREE)), borders[-1])
    kept = lines[border:]
    while len(kept) > 2 and not _fits(kept, 3):  # one turn is too long: drop its oldest answers
        del kept[1]
    return kept


def _fits(lines: list[_Line], thirds: int) -> bool:
    count = sum(len(line.messages) for line in lines)
    size = sum(line.size for line in lines)
    return 3 * count <= thirds * MAXIMUM_MESSAGES and 3 * size <= thirds * MAXIMUM_CHARACTERS
