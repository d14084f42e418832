"""What the chat model reads of a conversation: the system prompt, and a history that every chat
template accepts.

Rules of the system prompt
- Without Blab's own words a model says that it is another company's, and writes lists that a voice
  then reads. The client's instructions follow verbatim and come last, so that they win: of two
  names the small models take the later one. The session object shows the client's alone.
- It names the language where its pack has a name. English has none, and is the default.
- It is a function of the configuration only, and so the same from turn to turn: the model reads it
  once a call, ahead of the first turn (about 102 tokens of Qwen2.5, 70 beyond what its template
  says without one).
- Worded by trial on bench/brain.py's 40 questions (temperature 0), beside its plain "answer in one
  or two short spoken sentences, without lists, markup or emoji": Qwen2.5-Coder 1.5B passes 35
  instead of 33 (it knows its name and that it cannot know the weather), the 0.5B 23 instead of 25
  (it knows its name, and still writes lists of steps). A shorter prompt (73 tokens) gave the 0.5B
  26, but had the 1.5B invent the weather and the time again. With the facts that sums are given
  (``pipelines.engines.chat.sums``), and those of the clock allowed for, they pass 37 and 27.

Rules of the history
- After the instructions comes a user message, then the roles alternate: neighbours of one role are
  joined, and where the agent spoke first, or nobody has spoken since it did, a line in brackets
  stands for the caller. Instructions that the client added during the conversation are lines of the
  user's role, because strict templates (Gemma's, Mistral's) allow one system message, in front.
- A tool use is directly followed by its output, wherever that arrived; those of one reply
  stand together. One without an output has one that says so, or the model would call again.
- Strict templates leave tool messages out when they count roles, so an assistant's line follows the
  outputs before the caller speaks again.
- The beginning is cut only before a user message, and then by more than necessary, so that
  it stays the same for several turns: the model has to read a changed beginning anew.
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
"""Thirds of the bounds that are left after a cut."""

PENDING = "In progress: the result has not arrived yet. Do not call this again."
UNAPPROVED = "In progress: the user has not approved this call yet. Do not call this again."
CALL_BEGINS = "(The call begins. The caller has not spoken yet.)"
NOTHING_SAID = "(The caller says nothing.)"
ANSWER_NOW = "(Answer now.)"
BRIDGE = "One moment."
"""The assistant's line between outputs that it has not spoken about and the caller's next words."""


def composed(config: SessionConfig) -> str:
    """The instructions of a conversation's replies: Blab's own, then the client's."""
    language = pack_of(config.language).name
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
    """Messages that stand or fall together: one that says something, or a call and its output."""

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
    """Item id of the first line kept after a cut, else "": pass it to the next
    ``_newest`` as ``since``."""
    arrived: tuple[str, ...]
    """Tools whose output arrived after the last thing that was said."""

    def closed(
        self, opening: str = CALL_BEGINS, silence: str = NOTHING_SAID
    ) -> tuple[Message, ...]:
        """The same as a prompt: it ends where it is the assistant's turn.

        ``opening`` and ``silence`` stand for the caller's words where there are none."""
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
        self._since = ""
        """The first item of the last history: the next one begins there too, if it can."""

    def messages(self, instructions: str, extra: Iterable[Message] = ()) -> tuple[Message, ...]:
        """The prompt of the next reply: instructions, then the newest of what was said that fits.

        ``extra``: messages that are not in the transcript yet. Bounds as in ``_newest``."""
        system, said = self._history(instructions, extra)
        return (*system, *said.closed())

    def beginning(self, instructions: str, extra: Iterable[Message] = ()) -> tuple[Message, ...]:
        """How ``messages`` is going to begin, whatever is said next."""
        system, said = self._history(instructions, extra)
        return (*system, *said.messages)

    def custom(self, instructions: str, lines: Iterable[PromptLine]) -> tuple[Message, ...]:
        """A prompt of a reply's own; items that have been deleted since are left out."""
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
        self, instructions: str, extra: Iterable[Message]
    ) -> tuple[tuple[Message, ...], _History]:
        items = list(self._transcript)
        lead = list(takewhile(lambda item: item.role == "system" and item.says, items))
        said = _newest(items[len(lead) :], extra, self._since)
        self._since = said.first
        return _system(instructions, [item.text for item in lead]), said


def _newest(items: Sequence[Item], extra: Iterable[Message] = (), since: str = "") -> _History:
    """The newest of ``items`` and then ``extra``, at most 24 messages and 6,000 characters.

    ``since``: the ``first`` of the history before; where all from there on fits, nothing is cut.
    The newest line is always kept whole."""
    lines, arrived = _lines(items)
    lines += [_Line("", (message,)) for message in extra]
    kept = _cut(lines, since)
    return _History(
        _joined(message for line in kept for message in line.messages),
        kept[0].item_id if len(kept) < len(lines) else "",
        arrived,
    )


def _system(instructions: str, added: list[str]) -> tuple[Message, ...]:
    """One system message: the instructions, and what the client put before all that was said."""
    parts = [part for part in (instructions, *added) if part.strip()]
    return (Message("system", "\n\n".join(parts)),) if parts else ()


def _words_of_item(item: Item) -> Message | None:
    """The item as the model reads it: of a reply, what was heard behind its filler; None where
    nothing was."""
    content = (item.text if item.heard is None else item.heard)[item.filler :]
    return Message(item.role, content) if content.strip() else None


def _joined(messages: Iterable[Message], opening: str = CALL_BEGINS) -> tuple[Message, ...]:
    """``messages`` with neighbours of one role joined, beginning with one of the user's."""
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
    """The lines of ``items``, and the tools whose output arrived after the last of them."""
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
    """Add a tool use and its output, beside those of the same reply that directly precede it.

    ``apart``: it follows an output. A tool use of an earlier conversation (reply 0) that does was
    another reply's."""
    before = lines[-1].messages[0].tool_uses if lines else ()
    reply = used.tool_uses[0].reply
    if not before or before[-1].reply != reply or (apart and not reply):
        lines.append(_Line(item_id, (used, returned)))
        return
    first, *outputs = lines[-1].messages
    first = replace(first, tool_uses=(*before, *used.tool_uses))
    lines[-1] = _Line(lines[-1].item_id, (first, *outputs, returned))


def _cut(lines: list[_Line], since: str) -> list[_Line]:
    """The lines that fit. See the module's last rule."""
    began = next((n for n, line in enumerate(lines) if since and line.item_id == since), 0)
    if _fits(lines[began:], 3):
        return lines[began:]
    borders = [n for n, line in enumerate(lines) if line.role == "user"] or list(range(len(lines)))
    border = next((n for n in borders if _fits(lines[n:], _KEPT_OF_THREE)), borders[-1])
    kept = lines[border:]
    while len(kept) > 2 and not _fits(kept, 3):  # a turn that is too long: its oldest answers go
        del kept[1]
    return kept


def _fits(lines: list[_Line], thirds: int) -> bool:
    count = sum(len(line.messages) for line in lines)
    size = sum(line.size for line in lines)
    return 3 * count <= thirds * MAXIMUM_MESSAGES and 3 * size <= thirds * MAXIMUM_CHARACTERS
