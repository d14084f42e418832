"""Numbers as they are written and as engines read them, and the words of languages for signs,
months, money and units.

Whole numbers stay digits, which every engine reads in its language; separators, decimals and long
runs are put into words.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

Forms = tuple[str, str]
"""Singular and plural."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Words:
    """The words of a language. ``signs``: by sign; ``money``: by currency code, singular and
    plural; ``scales``: k, m, b (10⁹) and t."""

    thousands: str
    """What separates groups of three digits; the other of "." and "," is the decimal sign."""
    grouped: bool = False
    """Engines need the group separators: without them "1150" is read as a year."""
    point: str
    digit_by_digit: bool
    """Whether decimals are read digit by digit."""
    signs: Mapping[str, str]
    money: Mapping[str, Forms]
    scales: Mapping[str, Forms]
    of: str
    """Between a scale and money ("3 millones de euros")."""
    and_cents: str
    """Between money and its hundredths."""
    cents: str = ""
    months: tuple[str, ...]
    units: Mapping[str, Forms]
    ordinals: tuple[str, ...]
    """From the first on."""
    fractions: Mapping[str, str] = field(default_factory=dict)
    abbreviations: Mapping[str, str] = field(default_factory=dict)
    numbered: tuple[str, ...] = ()
    """Words after which a Roman numeral is a plain number."""
    version: str = "version"


def units(text: str) -> dict[str, Forms]:
    """Lines of ``sign one|more``."""
    found = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        sign, _, names = line.partition(" ")
        one, _, more = names.partition("|")
        found[sign] = (one, more or one)
    return found


SIGN_ORDER = ". / @ - _ + : ? = # % ‰ & § × ÷ ± ≈ < > ≤ ≥ \\".split()


def signs(text: str) -> dict[str, str]:
    """Words in the order of ``SIGN_ORDER``, separated by commas."""
    return dict(zip(SIGN_ORDER, map(str.strip, text.split(",")), strict=True))


ENGLISH = Words(
    thousands=",",
    grouped=True,
    point="point",
    digit_by_digit=True,
    signs=signs(
        "dot, slash, at, dash, underscore, plus, colon, question mark, equals, hash, percent,"
        " per mille, and, section, times, divided by, plus or minus, about, less than,"
        " greater than, at most, at least, backslash"
    ),
    money=units("""
        EUR euro|euros
        USD dollar|dollars
        GBP pound|pounds
        JPY yen
        CHF Swiss franc|Swiss francs
        INR rupee|rupees
        BRL real|reals
        KRW won
    """),
    scales=units("k thousand\nm million\nb billion\nt trillion"),
    of="",
    and_cents="and",
    cents="cents",
    months=tuple(
        "January February March April May June July August September October November"
        " December".split()
    ),
    units=units("""
        km kilometre|kilometres
        m metre|metres
        cm centimetre|centimetres
        mm millimetre|millimetres
        kg kilogram|kilograms
        g gram|grams
        mg milligram|milligrams
        l litre|litres
        L litre|litres
        ml millilitre|millilitres
        km/h kilometres per hour
        mph miles per hour
        m/s metres per second
        m² square metre|square metres
        m³ cubic metre|cubic metres
        km² square kilometre|square kilometres
        °C degree Celsius|degrees Celsius
        °F degree Fahrenheit|degrees Fahrenheit
        ° degree|degrees
        GB gigabyte|gigabytes
        MB megabyte|megabytes
        kB kilobyte|kilobytes
        KB kilobyte|kilobytes
        TB terabyte|terabytes
        kWh kilowatt hour|kilowatt hours
        kW kilowatt|kilowatts
        W watt|watts
        V volt|volts
        Hz hertz
        kHz kilohertz
        MHz megahertz
        GHz gigahertz
        ft foot|feet
        lb pound|pounds
        lbs pound|pounds
        oz ounce|ounces
        min minute|minutes
        ms millisecond|milliseconds
        h hour|hours
    """),
    ordinals=tuple(
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
        " thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
        " twenty-first twenty-second twenty-third twenty-fourth twenty-fifth twenty-sixth"
        " twenty-seventh twenty-eighth twenty-ninth thirtieth thirty-first".split()
    ),
    fractions={
        "1/2": "one half",
        "1/3": "one third",
        "2/3": "two thirds",
        "1/4": "one quarter",
        "3/4": "three quarters",
        "1/8": "one eighth",
        "3/8": "three eighths",
        "5/8": "five eighths",
        "7/8": "seven eighths",
    },
    abbreviations={
        "e.g.": "for example",
        "i.e.": "that is",
        "etc.": "et cetera",
        "approx.": "approximately",
        "vs.": "versus",
        "Mr.": "Mister",
        "Mrs.": "Missis",
        "Dr.": "Doctor",
        "Prof.": "Professor",
        "dept.": "department",
        "Dept.": "Department",
        "tel.": "telephone",
        "Tel.": "Telephone",
        "max.": "maximum",
        "min.": "minimum",
        "Ave.": "Avenue",
        "Blvd.": "Boulevard",
        "Inc.": "Incorporated",
        "Ltd.": "Limited",
        "w/": "with",
        "w/o": "without",
    },
    numbered=(
        "Chapter",
        "chapter",
        "Part",
        "part",
        "Volume",
        "volume",
        "Act",
        "act",
        "Phase",
        "phase",
        "Type",
        "type",
        "Book",
        "book",
        "Section",
        "section",
        "War",
    ),
)

GERMAN = Words(
    thousands=".",
    point="Komma",
    digit_by_digit=True,
    signs=signs(
        "Punkt, Schrägstrich, ät, Bindestrich, Unterstrich, plus, Doppelpunkt, Fragezeichen,"
        " gleich, Raute, Prozent, Promille, und, Paragraf, mal, geteilt durch, plus minus, etwa,"
        " kleiner als, größer als, höchstens, mindestens, Backslash"
    ),
    money=units("""
        EUR Euro
        USD Dollar
        GBP Pfund
        JPY Yen
        CHF Franken
        INR Rupien
        BRL Real
        KRW Won
    """),
    scales=units("k Tausend\nm Million|Millionen\nb Milliarde|Milliarden\nt Billion|Billionen"),
    of="",
    and_cents="",
    months=tuple(
        "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split()
    ),
    units=units("""
        km Kilometer
        m Meter
        cm Zentimeter
        mm Millimeter
        kg Kilogramm
        g Gramm
        mg Milligramm
        l Liter
        L Liter
        ml Milliliter
        km/h Kilometer pro Stunde
        m/s Meter pro Sekunde
        m² Quadratmeter
        m³ Kubikmeter
        km² Quadratkilometer
        °C Grad Celsius
        °F Grad Fahrenheit
        ° Grad
        GB Gigabyte
        MB Megabyte
        kB Kilobyte
        KB Kilobyte
        TB Terabyte
        kWh Kilowattstunde|Kilowattstunden
        kW Kilowatt
        W Watt
        V Volt
        Hz Hertz
        kHz Kilohertz
        MHz Megahertz
        GHz Gigahertz
        Std. Stunde|Stunden
        Min. Minute|Minuten
        min Minute|Minuten
        h Stunde|Stunden
    """),
    ordinals=tuple(
        "erste zweite dritte vierte fünfte sechste siebte achte neunte zehnte elfte zwölfte"
        " dreizehnte vierzehnte fünfzehnte sechzehnte siebzehnte achtzehnte neunzehnte zwanzigste"
        " einundzwanzigste zweiundzwanzigste dreiundzwanzigste vierundzwanzigste"
        " fünfundzwanzigste sechsundzwanzigste siebenundzwanzigste achtundzwanzigste"
        " neunundzwanzigste dreißigste einunddreißigste".split()
    ),
    fractions={
        "1/2": "ein halb",
        "1/3": "ein Drittel",
        "2/3": "zwei Drittel",
        "1/4": "ein Viertel",
        "3/4": "drei Viertel",
        "1/8": "ein Achtel",
    },
    abbreviations={
        "z. B.": "zum Beispiel",
        "z.B.": "zum Beispiel",
        "d. h.": "das heißt",
        "d.h.": "das heißt",
        "u. a.": "unter anderem",
        "u.a.": "unter anderem",
        "o. ä.": "oder ähnliches",
        "usw.": "und so weiter",
        "bzw.": "beziehungsweise",
        "ca.": "circa",
        "Nr.": "Nummer",
        "Dr.": "Doktor",
        "Prof.": "Professor",
        "Hr.": "Herr",
        "Fr.": "Frau",
        "inkl.": "inklusive",
        "ggf.": "gegebenenfalls",
        "evtl.": "eventuell",
        "Tel.": "Telefon",
        "vgl.": "vergleiche",
        "Mio.": "Millionen",
        "Mrd.": "Milliarden",
        "Str.": "Straße",
        "St.": "Sankt",
        "zzgl.": "zuzüglich",
        "max.": "maximal",
        "mind.": "mindestens",
        "Abs.": "Absatz",
    },
    numbered=("Kapitel", "Band", "Teil", "Akt", "Weltkrieg", "Buch", "Typ", "Phase"),
    version="Version",
)


SPACES = "\u00a0\u202f"


def number_pattern(words: Words) -> str:
    """A number with or without separators; where "." separates thousands, blanks do too."""
    blank = " " if words.thousands == "." else ""
    return (
        rf"(?:\d{{1,3}}(?:[.,'’{SPACES}{blank}]\d{{3}}){{1,5}}(?:[.,]\d{{1,9}})?"
        r"|\d{1,15}(?:[.,]\d{1,9})?)(?!\d)"
    )


LONGEST_WHOLE = 9
"""Digits; longer numbers without separators are read digit by digit (accounts, card numbers)."""
_GROUP, _GROUPS_IN_A_SENTENCE = 3, 10
_DROPPED = re.compile(rf"['’{SPACES} ]")


@dataclass(frozen=True, slots=True)
class Number:
    """``whole`` and ``decimals`` are digits; ``grouped``: it was written with separators."""

    whole: str
    decimals: str = ""
    grouped: bool = False


def parsed(text: str, words: Words, *, money: bool = False) -> Number:
    """A match of ``number_pattern``. If a separator may be either, the language's habit decides;
    but money has hundredths, not thousandths."""
    plain = _DROPPED.sub("", text)
    grouped = plain != text
    last = max(plain.rfind("."), plain.rfind(","))
    if last < 0:
        return Number(plain, grouped=grouped)
    sign, tail = plain[last], plain[last + 1 :]
    other = "," if sign == "." else "."
    several = plain.count(sign) > 1
    groups = len(tail) == 3 and 1 <= last <= 3 and plain[0] != "0" and other not in plain
    if several or (groups and not grouped and (money or sign == words.thousands)):
        return Number(plain.replace(sign, "").replace(other, ""), grouped=True)
    whole = plain[:last].replace(other, "").replace(sign, "")
    return Number(whole, tail, grouped or other in plain)


def said(number: Number, words: Words) -> str:
    """``number`` in a form that engines read correctly."""
    whole = said_whole(number, words)
    if not number.decimals:
        return whole
    decimals = number.decimals
    if words.digit_by_digit or decimals[0] == "0" or len(decimals) > 2:
        decimals = " ".join(decimals)
    return f"{whole} {words.point} {decimals}"


def said_whole(number: Number, words: Words) -> str:
    """The number without its decimals. Engines other than English ones read seven or more digits
    one by one, so millions are named."""
    whole = number.whole
    if len(whole) > LONGEST_WHOLE + 3 * number.grouped or (len(whole) > 2 and whole[0] == "0"):
        return digits(whole)
    if words.grouped:
        return f"{int(whole):,}" if number.grouped else whole
    millions, rest = divmod(int(whole), 1_000_000)
    if not millions:
        return whole
    name = words.scales["m"][millions > 1]
    return f"{millions} {name} {rest or ''}".rstrip()


def spelled(text: str) -> str:
    """Letters and digits one by one; runs of digits as ``digits`` has them."""
    signs = [c.upper() if len(c.upper()) == 1 else c for c in text if not c.isspace()]
    between = " " if text.strip().isdigit() else ", "
    return between.join(signs)


def digits(text: str) -> str:
    """Digits one by one, in groups."""
    groups = [" ".join(text[at : at + _GROUP]) for at in range(0, len(text), _GROUP)]
    if len(groups) > 1 and len(text) % _GROUP == 1:
        groups[-2:] = [f"{groups[-2]} {groups[-1]}"]
    sentences = [
        ", ".join(groups[at : at + _GROUPS_IN_A_SENTENCE])
        for at in range(0, len(groups), _GROUPS_IN_A_SENTENCE)
    ]
    return ". ".join(sentences)
