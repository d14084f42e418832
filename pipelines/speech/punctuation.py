"""Punctuation by rule, for reading aloud: pauses and questions where a text has no marks for them.

Only marks and blanks change, never a word. What is punctuated already stays: a comma is set only in
a stretch of words that goes on without a mark for longer than a breath, and a sentence is ended
only where a line or the text ends without a mark. The lists of words are short on purpose: a pause
that is missing is noticed less than one in the wrong place. Languages without a list have their
lines ended, and no more.

``…`` stands for ``...``: the clause ends there, and an engine lets its voice hang.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

BREATH_WORDS = 8
"""A stretch of more words gets commas; people breathe every 6 to 12 words when reading aloud."""
LEAST_WORDS = 3
"""On each side of a comma that is set."""
_ENDED = re.compile(r"[.!?…:;,。！？।؟、，—–\-][\"'”’»)\]]*$")
_DOTS = re.compile(r"(?<!\.)\.(?:\s?\.){2,}")
_BLANK_BEFORE = re.compile(r"(?<=\S)[ \t]+(?=[,;!?…](?:\s|$))")
_TIGHT_COMMA = re.compile(r"(?<=[^\W\d_]),(?=[^\W\d_])")
_ADDRESS = re.compile(r"(\S*[/@]\S*)")
_WORD = re.compile(r"\S+")
_LETTER = re.compile(r"[^\W\d_]")
_FULL_STOPS = {"ja": "。", "zh": "。"}
_UNSPACED = frozenset({"ja", "zh", "th"})
_OTHER_MARKS = frozenset({"hi", "ar"})
"""Languages whose marks are not ours to set."""


@dataclass(frozen=True, slots=True)
class _Words:
    """What the rules know of a language. ``openers`` are followed by a comma at the beginning,
    ``breaks`` preceded by one; ``subjects`` followed by a verb of ``verbs`` begin a new thought.
    ``asking`` words and verbs that stand first make a question."""

    openers: frozenset[str]
    breaks: frozenset[str]
    subjects: frozenset[str]
    verbs: frozenset[str]
    asking: frozenset[str]


def _words(*, openers: str, breaks: str, subjects: str, verbs: str, asking: str) -> _Words:
    return _Words(
        *(frozenset(words.split()) for words in (openers, breaks, subjects, verbs, asking))
    )


_LANGUAGES = {
    "en": _words(
        openers="well oh yes no hello hi okay ok anyway however actually sorry",
        breaks="and but so because which although though while unless until or then",
        subjects="i you he she it we they there that this",
        verbs="am is are was were have has had do does did can could will would shall should may"
        " might must",
        asking="who whom whose what which when where why how",
    ),
    "de": _words(
        openers="ja nein hallo ach also tja übrigens entschuldigung",
        breaks="und aber oder denn weil dass obwohl während sondern damit wenn",
        subjects="ich du er sie es wir ihr das",
        verbs="bin bist ist sind seid war waren habe hast hat haben hatte kann kannst können könnt"
        " könnte könnten will willst wollen muss müssen soll sollen wird werden würde würden darf"
        " dürfen kostet fährt kommt geht gibt heißt macht steht liegt",
        asking="wer wen wem wessen was welche welcher welches wann wo woher wohin warum wieso wie"
        " wieviel",
    ),
    "es": _words(
        openers="bueno sí no hola pues oye perdón claro",
        breaks="y pero o porque aunque mientras cuando pues sino donde",
        subjects="yo tú él ella usted nosotros ellos ellas ustedes esto eso",
        verbs="soy eres es somos son era eran fue estoy está están estaba he has ha han había puedo"
        " puedes puede pueden quiero quieres quiere tengo tiene tienen hay cuesta abre va viene"
        " hace pasa llega",
        asking="quién quiénes qué cuál cuáles cuándo cuánto cuánta cuántos cuántas dónde cómo",
    ),
    "fr": _words(
        openers="oui non bonjour alors ben bon enfin pardon",
        breaks="et mais ou car parce lorsque quand tandis puisque donc",
        subjects="je tu il elle on nous vous ils elles ce ça",
        verbs="suis es est sommes êtes sont était étaient ai as a avons avez ont avait peux peut"
        " pouvez peuvent veux veut voulez dois doit devez faut coûte"
        " va vient fait ouvre",
        asking="qui que quoi quel quelle quels quelles quand où pourquoi comment combien est-ce",
    ),
    "it": _words(
        openers="sì no ciao allora beh bene scusi scusa",
        breaks="e ma o perché mentre quando anche però quindi",
        subjects="io tu lui lei noi voi loro questo quello",
        verbs="sono sei è siamo siete era erano ho hai ha abbiamo avete hanno aveva posso puoi può"
        " potete possono voglio vuoi vuole devo deve c'è costa va viene fa"
        " apre parte",
        asking="chi che cosa quale quali quando quanto quanta quanti quante dove come perché",
    ),
    "pt": _words(
        openers="sim não olá bom então olha desculpe",
        breaks="e mas ou porque enquanto quando embora pois",
        subjects="eu tu você ele ela nós vocês eles elas isto isso",
        verbs="sou és é somos são era eram foi estou está estão estava tenho tem têm tinha posso"
        " pode podem quero quer há custa vai vem faz abre",
        asking="quem que qual quais quando quanto quanta quantos quantas onde como",
    ),
}


def punctuated(text: str, language: str) -> str:
    """``text`` with the marks that it lacks; as it is where there is nothing to add."""
    tag = language.partition("-")[0].lower()
    if tag in _OTHER_MARKS:
        return text
    text = _DOTS.sub("…", text)
    known = _LANGUAGES.get(tag)
    if tag not in _UNSPACED:
        parts = _ADDRESS.split(_BLANK_BEFORE.sub("", text))
        parts[::2] = [_TIGHT_COMMA.sub(", ", part) for part in parts[::2]]
        text = "".join(parts)
    lines = [_line(line, known, _FULL_STOPS.get(tag, ".")) for line in text.split("\n")]
    return "\n".join(lines)


def _line(line: str, known: _Words | None, stop: str) -> str:
    body = line.rstrip()
    if not _LETTER.search(body):
        return line
    if known is not None:
        body = _with_breaths(body, known)
    if _ENDED.search(body):
        return body + line[len(line.rstrip()) :]
    if known is not None and _asks(_last_sentence(body), known):
        stop = "?"
    return f"{body}{stop}{line[len(line.rstrip()) :]}"


def _last_sentence(body: str) -> list[str]:
    words: list[str] = []
    for word in body.split():
        words.append(word)
        if word[-1] in ".!?…":
            words = []
    return words


def _with_breaths(body: str, known: _Words) -> str:
    """Commas where somebody who reads aloud would breathe."""
    made, place = [], 0
    for stretch in _stretches(body):
        cuts = _cuts([_plain(found[0]) for found in stretch], known)
        for cut in sorted(cuts):
            end = stretch[cut - 1].end()
            made.append(f"{body[place:end]},")
            place = end
    return "".join(made) + body[place:]


def _stretches(body: str) -> Iterator[list[re.Match[str]]]:
    """Runs of words without a mark between them."""
    run: list[re.Match[str]] = []
    for found in _WORD.finditer(body):
        if not _LETTER.search(found[0]) and not found[0].isdigit():
            yield run
            run = []
            continue
        run.append(found)
        if not found[0][-1].isalnum():
            yield run
            run = []
    yield run


def _cuts(words: list[str], known: _Words) -> set[int]:
    """Places of the words before which a comma belongs."""
    cuts: set[int] = set()
    if len(words) <= BREATH_WORDS:
        return cuts
    last = 0
    if words[0] in known.openers and words[1] not in known.breaks:
        cuts.add(1)
        last = 1
    for place in range(last + LEAST_WORDS, len(words) - LEAST_WORDS + 1):
        if place - last < LEAST_WORDS:
            continue
        word, before, after = words[place], words[place - 1], words[place + 1]
        new = word in known.breaks or (word in known.subjects and after in known.verbs)
        if new and before not in known.breaks and before not in known.verbs:
            cuts.add(place)
            last = place
    return cuts


def _asks(words: list[str], known: _Words) -> bool:
    """Whether a sentence without a mark is a question, by how it begins."""
    plain = [_plain(word) for word in words]
    if len(plain) < LEAST_WORDS:
        return len(plain) > 0 and plain[0] in known.asking and plain[-1] in known.verbs
    if plain[0] in known.verbs:
        return plain[1] in known.subjects
    if plain[0] not in known.asking:
        return False
    for word in plain[1:4]:
        if word in known.verbs:
            return True
        if word in known.subjects:
            return False
    return False


def _plain(word: str) -> str:
    return word.strip("\"'“”‘’«»()[]¿¡").casefold().replace("’", "'")
