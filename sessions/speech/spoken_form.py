"""The spoken form of a model's text: what is left when everything that is no speech is taken out.

Models write list marks, headings, emphasis, links, SSML and stage directions. A voice that reads
them aloud is wrong, and so is a transcript that shows what nobody said. ``SpokenForm`` works on
the stream, before it is cut into clauses: what it returns is spoken, shown, stored and kept as
history, so that "heard is a prefix of sent, sent of generated" is about one and the same text.

Rules
- What is ambiguous is text: ``a < b``, ``2 * 3``, ``(555) 0199``, ``<Enter>``, ``snake_case``. In
  parentheses only the words of a stage direction make one: "(laughs softly)". In brackets and
  asterisks it may also be what stands alone between sentences: "[excited]", "*tilts head*". Within
  a sentence it has to say what somebody does: "I love *music*" stays.
- Line breaks stay, one for each run of them: the voice pauses there.
- Text is held back only where it may be the beginning of markup, and no longer than markup is
  (``LONGEST``). The result does not depend on how the text was cut into deltas.
"""

import re

LONGEST = 160
"""Characters of one piece of markup; anything longer is text."""
_AT_ONCE = 256
"""Characters taken together, however many arrive: what is held is copied for each sign."""
LONGEST_LINK = 600

_CUES = frozenset(
    """
    laugh laughs laughing laughed laughter chuckle chuckles chuckling chuckled giggle giggles
    giggling snicker snickers smile smiles smiling grin grins grinning smirk smirks smirking sigh
    sighs sighing pause pauses pausing cough coughs coughing sneeze sneezes sniff sniffs sniffles
    sob sobs sobbing cries crying gasp gasps gasping groan groans groaning moan moans yawn yawns
    yawning hum hums humming hiccup hiccups whisper whispers whispering shout shouts shouting yell
    yells mumble mumbles mumbling mutter mutters muttering murmur murmurs exhale exhales exhaling
    inhale inhales inhaling breath breathe breathes breathing nod nods nodding shrug shrugs
    shrugging wink winks winking blink blinks waves waving bows claps clapping gulps snort snorts
    scoffs scoffing hesitates hesitating whistles whistling stutters stammers cheering silence beat
    clears clearing throat applause music deadpan sarcastically tone voice chimes beep sfx softly
    lacht lachen lächelt seufzt räuspert flüstert kichert ríe risas suspira sonríe susurra pausa
    rit rires soupire sourit chuchote ride risate sospira sorride sussurra risos ri sorri
    """.split()
)
"""What a stage direction is about."""
_BESIDES = frozenset(
    """
    a an the and then in with for to of his her their its my self himself herself itself deep long
    short brief little slight small light soft warm cheerful friendly calm gentle serious excited
    sad happy moment second seconds bit head eyes shoulders hand hands takes taking take speaks
    speaking says out loud under again back at low quiet awkward nervous dramatic background
    playing sound sounds effect plays s sec secs ms sich leise kurz laut kurze
    """.split()
)
"""Words that it may have beside a cue; adverbs in -ly may stand there too."""
_SPEECH_TAGS = frozenset(
    """
    speak break prosody emphasis say-as phoneme sub voice audio mark p s w token lang par seq media
    desc express-as effect pause lexicon
    b i u em strong br hr ul ol li a span div code pre h1 h2 h3 h4 h5 h6 table tr td th tbody thead
    blockquote small sup font center img del ins body html
    answer final_answer final output response reply result message speech
    laugh laughs laughter chuckle sigh sighs gasp cough sniffle groan yawn whisper cry giggle breath
    silence clear_throat smile excited happy sad angry calm emotion tone
    """.split()
)
"""SSML 1.1 and its dialects, HTML, wrappers of the whole answer, and sounds."""
_PAUSING_TAGS = frozenset(
    "speak break p s br hr li div tr td th pause h1 h2 h3 h4 h5 h6 ul ol table".split()
)
"""Where one of these stands between two words, they stay two."""

_NAME = r"[A-Za-z][\w:.-]{0,24}"
_VALUE = r"(?:\"[^\"<>\n]*\"|'[^'<>\n]*'|[^\s\"'<>]+)"
_TAG = re.compile(
    rf"<(?P<closes>/?)(?P<name>{_NAME})(?P<attributes>(?:\s+[\w:.-]+\s*=\s*{_VALUE})*)\s*"
    r"(?P<empty>/?)>|<!--(?:[^-]|-(?!->))*-->|<[?!][A-Za-z][^<>\n]*>"
)
_UNFINISHED_TAG = re.compile(
    rf"<(?:/?(?:{_NAME}(?:\s+[\w:.-]+\s*=\s*{_VALUE})*"
    r"(?:\s+[\w:.-]*(?:\s*=\s*(?:\"[^\"<>\n]*|'[^'<>\n]*)?)?)?\s*/?)?|[?!][^>]*|!--.*)",
    re.DOTALL,
)
_LINK = re.compile(
    r"\[(?P<text>[^\[\]\n]{1,120})\]\((?:[^()\s]|\([^()\s]*\))*(?:\s\"[^\"\n]*\")?\)"
)
_UNFINISHED_LINK = re.compile(r"\[[^\[\]\n]*+(?:\](?:\((?:[^()\n]++|\([^()\n]*+\)?)*+)?)?")
_BRACKET = re.compile(rf"\[(?P<content>[^\[\]\n]{{1,{LONGEST - 2}}})\]")
_NOTE = re.compile(
    r"\^?\d{1,3}(?:[,–-]\d{1,3})*|[†‡*^]\w{0,3}|citation needed|sources?(?: \d+)?|\d+†\w+", re.I
)
"""What stands in the brackets of a footnote."""
_ACT = re.compile(r"[^\d_<>{}()\[\]=/*\n]+")
"""The signs that a stage direction may consist of."""
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_DIGITS = re.compile(r"\d+(?:[.,]\d+)?")

_BLANK_LINE = re.compile(r"[ \t\r]*\n")
_FENCE = re.compile(r"[ \t]*```\w*[ \t]*(?:\n|\Z)")
_RULER = re.compile(
    r"[ \t]*+(?:([-*_=])(?:[ \t]*+\1){2,}+[ \t]*+|\|?[ \t]*+:?-++:?[ \t|:-]*+)(?:\n|\Z)"
)
_LINE_MARK = re.compile(
    r"[ \t]*(?:#{1,6}[ \t]+|>[ \t]?|[-–—•◦▪●‣·*+][ \t]+|[•◦▪●‣](?=\S))|[ \t]+(?=\S)"
)
_NUMBER = re.compile(r"[ \t]*\(?(?P<number>\d{1,2})[.)][ \t]+(?=(?P<next>\S+))")
_MAY_BE_MARK = re.compile(
    r"[ \t\r]*+(?:#{0,6}[ \t]*|>|[-–—•◦▪●‣·*+_=|: \t]+|`{1,3}\w*[ \t]*"
    r"|\(?(?:\d{1,2}(?:[.)][ \t]*)?)?)"
)
_MAY_BE_NUMBER = re.compile(r"\d{1,2}(?:[.)][ \t]*)?")
_ORDINAL = re.compile(
    r"(?:Jan|Feb|März|Apr|Mai|Jun|Jul|Aug|Sep|Okt|Nov|Dez|Advent|Klasse|Etage|Stock|Platz)", re.I
)
"""Behind "1." at the beginning of a line it is no list: German writes dates and ranks so."""
_ORDINAL_CHARACTERS = 6
_SPECIAL = re.compile(r"[<\[(*_`~|\n]|(?<=[.!?:;] )\d")


class SpokenForm:
    """Feed text, take speech; ``flush`` at the end."""

    def __init__(self) -> None:
        self._held = ""
        self._last = ""
        """The last two characters returned: what stands before ``_held``."""
        self._line_start = True
        self._table = False
        """The line is a row of a table."""
        self._number = 0
        """Of the newest entry of a numbered list; 0 where there was none."""
        self._emphasis = False
        """An asterisk of emphasis is open."""

    def feed(self, text: str) -> str:
        """The speech that ``text`` adds."""
        spoken = []
        for start in range(0, len(text), _AT_ONCE):
            self._held += text[start : start + _AT_ONCE]
            spoken.append(self._take(last=False))
        return "".join(spoken)

    def flush(self) -> str:
        """What is left when the text is complete."""
        return self._take(last=True)

    def _take(self, *, last: bool) -> str:
        spoken = ""
        while self._held:
            piece = self._begin_line(last) if self._line_start else self._next(last)
            if piece is None:
                break
            spoken += piece
            self._last = (self._last + piece)[-2:]
        return spoken

    def _drop(self, end: int) -> str:
        self._held = self._held[end:]
        return ""

    def _keep(self, end: int) -> str:
        kept, self._held = self._held[:end], self._held[end:]
        return kept

    # ------------------------------------------------------------------ the beginning of a line

    def _begin_line(self, last: bool) -> str | None:
        """Drop the line's marks one by one ("> - "); None: it may be one, and is not whole."""
        held = self._held
        if not last and _MAY_BE_MARK.fullmatch(held):
            return None
        for pattern in (_BLANK_LINE, _FENCE, _RULER):
            if (found := pattern.match(held)) is not None:
                return self._drop(found.end())
        if (number := _NUMBER.match(held)) is not None:
            return self._begin_entry(number, last)
        if held.lstrip(" \t").startswith("|"):
            self._table = True
            return self._drop(held.index("|") + 1)
        if (mark := _LINE_MARK.match(held)) is not None:
            return self._drop(mark.end())
        self._line_start = False
        return ""

    def _begin_entry(self, found: re.Match[str], last: bool) -> str | None:
        """Drop the number of a list's entry, unless it is an ordinal or not the next one."""
        word = found["next"]
        unfinished = found.end("next") == len(self._held) and len(word) < _ORDINAL_CHARACTERS
        if unfinished and not last:
            return None
        number = int(found["number"])
        if not 1 <= number <= self._number + 1 or _ORDINAL.match(word):
            self._line_start = False
            return ""
        self._number = number
        return self._drop(found.end())

    # ------------------------------------------------------------------ within a line

    def _next(self, last: bool) -> str | None:
        """The text up to the next sign that may be markup, or what that sign comes to."""
        found = _SPECIAL.search(self._last + self._held, len(self._last))
        place = len(self._held) if found is None else found.start() - len(self._last)
        if place:
            return self._keep(place)
        match self._held[0]:
            case "\n":
                self._line_start, self._table, self._emphasis = True, False, False
                return self._keep(1)
            case "<":
                return self._tag(last)
            case "[":
                return self._bracket(last)
            case "(":
                return self._parenthesis(last)
            case "*":
                return self._asterisk(last)
            case "`":
                return self._drop(1)
            case "|":
                return self._border(last)
            case "_" | "~" as sign:
                return self._pair(sign, last)
        return self._inline_number(last)

    def _tag(self, last: bool) -> str | None:
        head = self._held[:LONGEST]
        tag = _TAG.match(head)
        if tag is None:
            wait = not last and len(self._held) < LONGEST and _UNFINISHED_TAG.fullmatch(head)
            return None if wait else self._keep(1)
        name = (tag["name"] or "").lower()
        known = not name or name in _SPEECH_TAGS or ":" in name
        if known or tag["closes"] or tag["empty"] or tag["attributes"]:
            return self._leave_out(tag.end(), last, gap=name in _PAUSING_TAGS)
        return self._keep(1)

    def _bracket(self, last: bool) -> str | None:
        held = self._held[:LONGEST_LINK]
        if (link := _LINK.match(held)) is not None:
            self._drop(link.end())
            return link["text"]
        most = LONGEST_LINK if "](" in held else LONGEST
        if not last and len(self._held) < most and _UNFINISHED_LINK.fullmatch(held):
            return None
        found = _BRACKET.match(held)
        if found is None:
            return self._keep(1)
        if not last and not self._held[found.end() :].strip(" \t"):
            return None
        content = found["content"]
        acts = self._alone(found.end()) and _ACT.fullmatch(content) is not None
        if acts or _NOTE.fullmatch(content) or _directs(_DIGITS.sub(" ", content)):
            return self._leave_out(found.end(), last)
        return self._keep(1)

    def _parenthesis(self, last: bool) -> str | None:
        end = self._held.find(")", 0, LONGEST)
        if end < 0:
            return None if not last and _may_direct(self._held[1:]) else self._keep(1)
        if not _directs(content := self._held[1:end]):
            return self._keep(1)
        if not last and not self._held[end + 1 :].strip(" \t"):
            return None
        if _moves(content) or self._alone(end + 1):
            return self._leave_out(end + 1, last)
        return self._keep(1)

    def _asterisk(self, last: bool) -> str | None:
        held, before = self._held, self._last[-1:]
        run = len(held) - len(held.lstrip("*"))
        if run == len(held) and not last:
            return None
        if run > 1:
            return self._drop(run)
        behind = held[1:2]
        if self._emphasis and before.strip():
            self._emphasis = False
            return self._drop(1)
        if not behind.strip() or before.isalnum():
            return self._keep(1)
        end = held.find("*", 1, LONGEST)
        content = held[1:end] if end > 0 else held[1:LONGEST]
        acts = self._opens_sentence() and behind.islower() and _ACT.fullmatch(content) is not None
        if end < 0:
            if not last and len(held) < LONGEST and (acts or _may_direct(content)):
                return None
        elif acts or _directs(content):
            if not last and not held[end + 1 :].strip(" \t"):
                return None
            if self._alone(end + 1) or (_directs(content) and _moves(content)):
                return self._leave_out(end + 1, last)
        self._emphasis = True
        return self._drop(1)

    def _inline_number(self, last: bool) -> str | None:
        """The number of an entry that begins within a line: "1. Paris is … of France. 2. Rome"."""
        if not self._number:
            return self._keep(1)
        if not last and _MAY_BE_NUMBER.fullmatch(self._held):
            return None
        found = _NUMBER.match(self._held)
        if found is None or int(found["number"]) != self._number + 1:
            return self._keep(1)
        if not found["next"][0].isupper():
            return self._keep(1)
        self._number += 1
        return self._drop(found.end())

    def _border(self, last: bool) -> str | None:
        """The border of a table's cell is a comma; elsewhere it is text."""
        if not self._table:
            return self._keep(1)
        rest = self._held[1:].lstrip(" \t")
        if not rest and not last:
            return None
        self._held = rest
        return ", " if rest[:1].strip() else ""

    def _pair(self, sign: str, last: bool) -> str | None:
        """Underscores that do not stand within a word, and double tildes, are emphasis."""
        run = len(self._held) - len(self._held.lstrip(sign))
        rest, before = self._held[run:], self._last[-1:]
        if not rest and not last:
            return None
        if sign == "~":
            return self._drop(run) if run > 1 else self._keep(1)
        within = before.isalnum() and rest[:1].isalnum()
        free = not before.strip() and not rest[:1].strip()
        return self._keep(run) if within or free else self._drop(run)

    # ------------------------------------------------------------------ what stands around

    def _leave_out(self, end: int, last: bool, *, gap: bool = False) -> str | None:
        """Drop what is no speech, so that one blank is left between its neighbours."""
        before, rest = self._last[-1:], self._held[end:]
        blanks = 0 if before.strip() else len(rest) - len(rest.lstrip(" \t"))
        if blanks == len(rest) and not last:
            return None
        self._line_start = before in ("", "\n")
        self._drop(end + blanks)
        return " " if gap and before.strip() and rest[:1].isalnum() else ""

    def _opens_sentence(self) -> bool:
        """Whether a sentence may begin here."""
        before = self._last.rstrip(" \t")
        return not before or before[-1] in '.!?…:;\n"”'

    def _alone(self, end: int) -> bool:
        """Whether the markup up to ``end`` stands before, between or behind sentences."""
        behind = self._held[end:].lstrip(" \t")
        return self._opens_sentence() and not behind[:1].islower()


def _directs(content: str) -> bool:
    """Whether ``content`` is a stage direction by its words: a cue, and none of weight."""
    if len(content) >= LONGEST or not _ACT.fullmatch(content):
        return False
    words = [word.lower() for word in _WORD.findall(content)]
    return any(word in _CUES for word in words) and all(map(_goes_along, words))


def _moves(content: str) -> bool:
    """Whether a stage direction says what somebody does: "laughs", "lacht"; not "music"."""
    words = {word.lower() for word in _WORD.findall(content)} & _CUES
    return any(word.endswith(("s", "t")) for word in words - {"beat", "throat"})


def _may_direct(content: str) -> bool:
    """Whether ``content`` may be a stage direction when more of it has come."""
    if len(content) >= LONGEST or (content and not _ACT.fullmatch(content)):
        return False
    words = [word.lower() for word in _WORD.findall(content)]
    if words and not (content[-1].isspace() or content[-1] in ",.;:…!"):
        del words[-1]  # it may go on
    return all(map(_goes_along, words))


def _goes_along(word: str) -> bool:
    return word in _CUES or word in _BESIDES or (len(word) > 4 and word.endswith("ly"))
