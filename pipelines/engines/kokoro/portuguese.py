"""Brazilian Portuguese to the phonemes that Kokoro was trained on: espeak-ng's for ``pt-br``, as
misaki rewrites them. Pure.

The spelling determines nearly everything: which syllable is stressed, which vowels are nasal, where
``s`` is voiced. Not whether a stressed ``e`` or ``o`` is open (``festa``, ``este``): the endings in
``_OPEN`` decide, otherwise it is closed. Numbers are written out first, as they are read in Brazil;
signs, money, dates and clock times are words already (``reading``), so only whole numbers are left.

Two packages for the language were tried and rejected: g2p2-group-romance mixes European with
Brazilian sounds (``você`` ends in ``-uke``), gruut-lang-pt marks neither stress nor open vowels.

Sources: Barbosa and Albano, "Brazilian Portuguese", Journal of the IPA 34 (2004); for the stress,
Acordo Ortográfico (1990), bases VIII to XI.
"""

import re
import unicodedata
from collections.abc import Iterator

_ONES = (
    "zero um dois três quatro cinco seis sete oito nove dez onze doze treze quatorze quinze"
    " dezesseis dezessete dezoito dezenove"
).split()
_TENS = ". . vinte trinta quarenta cinquenta sessenta setenta oitenta noventa".split()
_HUNDREDS = (
    ". cento duzentos trezentos quatrocentos quinhentos seiscentos setecentos oitocentos novecentos"
).split()
_SCALES = ((10**9, "bilhão", "bilhões"), (10**6, "milhão", "milhões"))
LARGEST = 10**12
"""Numbers from here on are read digit by digit."""

_FEMININE = re.compile(r"(?<!\d)(\d{0,11}[12]) (horas?|vez|vezes|pessoas?|semanas?|noites?)\b")
"""Nouns that are often counted, and the numbers that have a gender."""
_WHOLE = re.compile(r"\d+")


def in_words(text: str) -> str:
    """``text`` with its numbers written out; those with a leading zero, and very long ones, digit
    by digit."""
    text = _FEMININE.sub(lambda found: f" {_feminine(found[1])} {found[2]}", text)
    return _WHOLE.sub(lambda found: f" {_number(found[0])} ", text)


def cardinal(number: int) -> str:
    """A whole number from 0 on, in the masculine."""
    if number >= LARGEST:
        return _digits(str(number))
    parts = []
    for scale, one, many in _SCALES:
        count, number = divmod(number, scale)
        if count:
            parts.append(f"{_below_thousand(count)} {one if count == 1 else many}")
    thousands, rest = divmod(number, 1000)
    if thousands:
        parts.append("mil" if thousands == 1 else f"{_below_thousand(thousands)} mil")
    if rest or not parts:
        joined = parts and (rest < 100 or rest % 100 == 0)
        parts.append(f"e {_below_thousand(rest)}" if joined else _below_thousand(rest))
    return " ".join(parts)


def _below_thousand(number: int) -> str:
    if number == 100:
        return "cem"
    hundreds, rest = divmod(number, 100)
    tens, ones = divmod(rest, 10)
    parts = [_HUNDREDS[hundreds]] if hundreds else []
    if rest < 20:
        parts += [_ONES[rest]] if rest or not parts else []
    else:
        parts.append(_TENS[tens])
        parts += [_ONES[ones]] if ones else []
    return " e ".join(parts)


def _number(written: str) -> str:
    if (len(written) > 1 and written.startswith("0")) or len(written) > len(str(LARGEST)):
        return _digits(written)
    return cardinal(int(written))


def _digits(text: str) -> str:
    return " ".join(_ONES[int(digit)] for digit in text)


def _feminine(written: str) -> str:
    return re.sub(r"\bdois$", "duas", re.sub(r"\bum$", "uma", _number(written)))


STRESS = "ˈ"
_VOWELS = "aeiouáéíóúâêôãõàü"
_ACCENTED = "áéíóúâêô"
_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_WITHOUT = str.maketrans("", "", "'’")

_UNSTRESSED = dict(
    pair.split(":")
    for pair in (
        "a:a à:a ao:aʊ aos:aʊs as:as às:aːs com:koŋ da:da das:das de:ʤy do:dʊ dos:dʊs e:i"
        " em:Aŋ lhe:ljy me:my na:na nas:nas no:nʊ nos:nʊs o:ʊ os:ʊs por:por que:ky se:sy te:ʧy"
    ).split()
)
_IRREGULAR = dict(
    pair.split(":")
    for pair in (
        "muito:mwˈiŋtʊ muita:mwˈiŋtæ muitos:mwˈiŋtʊs muitas:mwˈiŋtæs para:pˈaɾæ"
        " também:tɐ̃mbˈAŋ táxi:tˈaksi próximo:prˈɔsimʊ próxima:prˈɔsimæ máximo:mˈasimʊ"
        " máxima:mˈasimæ sexo:sˈɛksʊ fixo:fˈiksʊ tóxico:tˈɔksikʊ internet:iŋteɾnˈɛʧ dez:dˈɛs"
        " quer:kˈɛr mulher:muljˈɛr melhor:meljˈɔr maior:mIˈɔr menor:menˈɔr pior:piˈɔr"
        " sete:sˈɛʧy nove:nˈɔvy leve:lˈɛvy breve:brˈɛvy"
    ).split()
)
_LETTERS = dict(
    pair.split(":")
    for pair in (
        "b:bˈe c:sˈe d:dˈe f:ˈɛfy g:ʒˈe h:aɡˈa i:ˈi j:ʒˈɔtæ k:kˈa l:ˈɛly m:ˈemy n:ˈeny p:pˈe"
        " q:kˈe r:ˈɛxy s:ˈɛsy t:tˈe u:ˈu v:vˈe w:dˈablju x:ʃˈis y:ˈipsiloŋ z:zˈe"
    ).split()
)
_OPEN = re.compile(
    r"(el|ela|elas|elo|elos|erra|erras|erro|esta|estas|erto|erta|ertos|ertas|ete|etes|eto|etro|"
    r"ete|ego|ega|eça|eças|ece|ecem|ede|edes|ezes|era|eras|erno|erna|"
    r"ol|óis|ola|olas|olo|ora|oras|ore|ova|ovas|ode|odem|orta|ortas|orte|ortes|osa|osas|ota|otas|"
    r"oda|odas|ofa|oça|olha|opo|opos|ossa|ossas|osso|ógica|ossos|orma|ormas|oca|opa|ote|otes)$"
)
_CLOSED = frozenset("este estes neste deste ele eles toda todas boca moça força roupa".split())
_PLAIN = dict(
    pair.split(":")
    for pair in ("b:b d:d f:f j:ʒ k:k l:l m:m n:n p:p q:k t:t v:v w:w y:i ç:s ñ:ɲ").split()
)
_FOREIGN = {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "t", "ß": "s", "æ": "e", "œ": "e"}
_TWO = {"ch": "ʃ", "lh": "lj", "nh": "ɲ", "ss": "s", "rr": "x", "ph": "f"}
_VOICED = "bdgjlmnrvz"
_SOUNDS = dict(
    pair.split(":") for pair in ("á:a à:a â:ɐ̃ é:ɛ ê:e í:i ó:ɔ ô:o ú:u ü:u ã:ɐ̃ õ:õ").split()
)
_DIPHTHONGS = dict(
    pair.split(":")
    for pair in (
        "ai:I au:W ei:A eu:eʊ oi:oɪ ou:ow iu:iʊ ui:uɪ ái:I áu:W éi:ɛɪ éu:ɛʊ ói:ɔɪ êu:eʊ êi:A"
        " ôu:ow ão:ɐ̃ʊ̃ ãe:ɐ̃y ãi:ɐ̃ɪ õe:õj"
    ).split()
)


def phonemes(text: str) -> str:
    """``text``, a piece without punctuation, in Kokoro's alphabet."""
    spoken: list[str] = []
    for word in _TOKEN.findall(in_words(unicodedata.normalize("NFC", text))):
        spoken.extend(_spoken(word.translate(_WITHOUT)))
    return unicodedata.normalize("NFD", " ".join(spoken))  # as the model's vocabulary has it


def _spoken(word: str) -> Iterator[str]:
    """A word, or its letters if it cannot be pronounced."""
    lower = word.lower()
    if lower in _UNSTRESSED and not (len(word) > 1 and word.isupper()):
        yield _UNSTRESSED[lower]
    elif lower in _IRREGULAR:
        yield _IRREGULAR[lower]
    elif len(word) == 1 or (word.isupper() and not set(lower) & set(_VOWELS)):
        for letter in lower:
            if letter in _LETTERS:
                yield _LETTERS[letter]
    else:
        yield _Word(_known(lower)).phonemes()


def _known(word: str) -> str:
    """``word`` without the diacritics of other languages."""
    made = []
    for letter in word:
        plain = _FOREIGN.get(letter, unicodedata.normalize("NFD", letter)[0])
        made.append(letter if letter in _VOWELS or letter in "çñ" else plain)
    return "".join(made)


class _Word:
    """One word being read; ``nuclei`` are the starts and ends of its vowels and diphthongs."""

    def __init__(self, word: str) -> None:
        self.word = word
        self.nuclei = list(_nuclei(word))
        self.stressed = _stressed(word, self.nuclei)

    def phonemes(self) -> str:
        """Its phonemes, the stress before the stressed vowel."""
        made: list[str] = []
        begins = {begin: number for number, (begin, _) in enumerate(self.nuclei)}
        place = 0
        while place < len(self.word):
            if place in begins:
                number = begins[place]
                sound, place = self._vowel(number)
            else:
                sound, place = self._consonant(place)
            made.append(sound)
        return "".join(made)

    def _at(self, place: int) -> str:
        return self.word[place] if 0 <= place < len(self.word) else ""

    def _vowel(self, number: int) -> tuple[str, int]:
        begin, end = self.nuclei[number]
        letters = self.word[begin:end]
        stressed = number == self.stressed
        mark = STRESS if stressed and len(self.nuclei) > 0 else ""
        last = number == len(self.nuclei) - 1
        if self._at(end) in ("m", "n") and self._closes(end):
            return mark + self._nasal(letters, end, last=last, stressed=stressed), end + 1
        tail = self.word[end:]
        if letters in _DIPHTHONGS:
            return mark + _DIPHTHONGS[letters], end
        if last and not stressed and tail in ("", "s"):
            weak = {"a": "æ", "o": "ʊ", "e": "y"}.get(letters)
            if weak is not None:
                if weak == "y" and self._at(begin - 1) in "aeiou" and begin:
                    weak = "i"
                return weak, end
        if self._at(end) == "l" and self._at(end + 1) not in (*_VOWELS, "h"):
            return mark + self._before_l(letters, stressed=stressed), end + 1
        if stressed and letters == "a" and self._at(end) in ("m", "n"):
            return mark + "ɐ̃", end
        return mark + self._plain(letters, stressed=stressed, begin=begin), end

    def _closes(self, place: int) -> bool:
        """Whether the m or n at ``place`` ends its syllable."""
        after = self._at(place + 1)
        return not (after in _VOWELS and after) and not (self.word[place] == "n" and after == "h")

    def _nasal(self, letters: str, place: int, *, last: bool, stressed: bool) -> str:
        after = self._at(place + 1)
        if letters in ("a", "ã", "â", "á"):
            if last and after == "" and not stressed:
                return "ɐ̃ʊ̃"
            vowel = "ɐ̃"
        elif letters in ("e", "é", "ê"):
            vowel = "A"
        elif letters == "u":
            vowel = "ũ"
        else:
            vowel = _DIPHTHONGS.get(letters, _SOUNDS.get(letters, letters))
        return vowel + ("m" if after in ("b", "p") and after else "ŋ")

    def _before_l(self, letters: str, *, stressed: bool) -> str:
        if letters in ("a", "á", "â"):
            return "W"
        vowel = self._plain(letters, stressed=stressed, begin=-1)
        if letters in ("o", "ó", "ô", "u", "ú"):
            return vowel + "l"
        return vowel + "ʊ"

    def _plain(self, letters: str, *, stressed: bool, begin: int) -> str:
        if letters in _SOUNDS:
            return _SOUNDS[letters]
        if stressed and letters in ("e", "o") and self.word not in _CLOSED:
            open_ = _OPEN.search(self.word)
            if open_ and (begin < 0 or open_.start() == begin):
                return {"e": "ɛ", "o": "ɔ"}[letters]
        return letters

    def _consonant(self, place: int) -> tuple[str, int]:
        letter, after = self.word[place], self._at(place + 1)
        two = letter + after
        if two in _TWO:
            return _TWO[two], place + 2
        if letter == "h":
            return "", place + 1
        if letter in "cg":
            return self._c_or_g(place)
        if letter == "q":
            return self._with_u(place, "k")
        if letter == "s":
            return self._s(place)
        if letter == "x":
            return self._x(place)
        if letter == "z":
            return ("s" if not after else "z"), place + 1
        if letter == "r":
            first = place == 0 or self._at(place - 1) in "nls"
            between = self._at(place - 1) in _VOWELS and after != ""
            return ("x" if first else "ɾ" if between else "r"), place + 1
        if letter in "td" and self._softens(place + 1):
            return {"t": "ʧ", "d": "ʤ"}[letter], place + 1
        if letter in "iuü":  # what is no nucleus is a glide
            return {"i": "j"}.get(letter, "w"), place + 1
        return _PLAIN.get(letter, ""), place + 1

    def _softens(self, place: int) -> bool:
        """Whether the vowel at ``place`` sounds as i."""
        letter = self._at(place)
        weak = letter == "e" and self.word[place + 1 :] in ("", "s")
        return letter in ("i", "í", "y") or (weak and not self._is_stressed(place))

    def _is_stressed(self, place: int) -> bool:
        return self.stressed >= 0 and self.nuclei[self.stressed][0] == place

    def _c_or_g(self, place: int) -> tuple[str, int]:
        letter, after = self.word[place], self._at(place + 1)
        if after and after in "eiéêí":
            return {"c": "s", "g": "ʒ"}[letter], place + 1
        if letter == "g" and after in ("u", "ü"):
            return self._with_u(place, "ɡ")
        if letter == "c" and after == "c":
            return "k", place + 1
        return {"c": "k", "g": "ɡ"}[letter], place + 1

    def _with_u(self, place: int, sound: str) -> tuple[str, int]:
        """q and g before a u that is silent or a glide."""
        after, next_ = self._at(place + 1), self._at(place + 2)
        if after == "u" and next_ and next_ in "eiéêí":
            spoken = self.word.startswith(("lingui", "tranqui", "frequen", "aguen", "sequen"))
            return sound + ("w" if spoken else ""), place + 2
        if after and after in "uü" and next_ and next_ in _VOWELS:
            return sound + "w", place + 2
        return sound, place + 1

    def _s(self, place: int) -> tuple[str, int]:
        before, after = self._at(place - 1), self._at(place + 1)
        if after == "c" and self._at(place + 2) in ("e", "i", "ê", "é", "í"):
            return "s", place + 2
        if before and before in _VOWELS and after and after in _VOWELS:
            return "z", place + 1
        return ("z" if after and after in _VOICED else "s"), place + 1

    def _x(self, place: int) -> tuple[str, int]:
        before, after = self._at(place - 1), self._at(place + 1)
        if before in ("e", "ê") and place == 1:
            if after and after in _VOWELS:
                return "z", place + 1
            if after == "c" and self._at(place + 2) in ("e", "i", "ê", "é"):
                return "s", place + 2
            return "s", place + 1
        if after and after not in _VOWELS:
            return "s", place + 1
        return ("ʃ" if after else "ks"), place + 1


def _nuclei(word: str) -> Iterator[tuple[int, int]]:
    """The vowels and diphthongs of a word, without the glides before them."""
    place = 0
    while place < len(word):
        letter = word[place]
        if letter not in _VOWELS or _glides(word, place):
            place += 1
            continue
        pair = word[place : place + 2]
        if pair in _DIPHTHONGS and not _hiatus(word, place):
            yield place, place + 2
            place += 2
        else:
            yield place, place + 1
            place += 1


def _glides(word: str, place: int) -> bool:
    """Whether the letter is the u of qua, gue and the like, or the i of endings as in história."""
    letter, before = word[place], word[place - 1 : place]
    after = word[place + 1 : place + 2]
    if letter in "uü" and before and before in "qg" and after and after in _VOWELS:
        return True
    ending = word[place + 1 :] in ("a", "o", "as", "os", "e", "es", "am")
    accented = any(other in _ACCENTED for other in word[:place])
    return letter in "iu" and ending and accented and before not in ("", *_VOWELS)


def _hiatus(word: str, place: int) -> bool:
    """Whether two vowels that could be one are two: before nh, and before a letter that closes
    the syllable (ra-i-nha, ju-iz, ru-im, ca-ir)."""
    if word[place + 1] not in "iu":
        return False
    rest = word[place + 2 :]
    if rest.startswith("nh") or (rest == "u" and word[place + 1] == "i"):
        return True
    closing = len(rest) == 1 and rest in "rzmnl"
    return closing or (rest[:1] in ("m", "n", "r", "l") and rest[1:2] not in ("", *_VOWELS, "h"))


def _stressed(word: str, nuclei: list[tuple[int, int]]) -> int:
    """The index of the stressed nucleus; -1 if there is none."""
    if not nuclei:
        return -1
    for number, (begin, end) in enumerate(nuclei):
        if any(letter in _ACCENTED for letter in word[begin:end]):
            return number
    for number, (begin, end) in enumerate(nuclei):
        if any(letter in "ãõ" for letter in word[begin:end]):
            return number
    begin, end = nuclei[-1]
    weak = end - begin == 1 and word[begin] in "aeo" and word[end:] in ("", "s", "m", "ns")
    if weak and word[end:] in ("m", "ns") and word[begin] == "o":
        weak = False
    return len(nuclei) - 2 if weak and len(nuclei) > 1 else len(nuclei) - 1
