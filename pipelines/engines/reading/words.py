"""The words of signs, months, money and units in the languages that texts are read in."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Forms = tuple[str, str]
"""The word for one and for more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Words:
    """What a language calls things. ``signs``: by the sign; ``money``: by the code, for one and for
    more; ``scales``: k, m, b (10⁹) and t."""

    thousands: str
    """What separates groups of three digits; the other of "." and "," is the decimal sign."""
    grouped: bool = False
    """Engines need the groups to be shown: without them "1150" is a year."""
    point: str
    digit_by_digit: bool
    """Whether decimals are read so."""
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
    """Words behind which a Roman numeral is a plain number."""
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
    thousands=",", grouped=True, point="point", digit_by_digit=True,
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
    scales=units("k thousand\nm million\nb billion\nt trillion"), of="", and_cents="and",
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
        "1/2": "one half", "1/3": "one third", "2/3": "two thirds", "1/4": "one quarter",
        "3/4": "three quarters", "1/8": "one eighth", "3/8": "three eighths",
        "5/8": "five eighths", "7/8": "seven eighths",
    },
    abbreviations={
        "e.g.": "for example", "i.e.": "that is", "etc.": "et cetera", "approx.": "approximately",
        "vs.": "versus", "Mr.": "Mister", "Mrs.": "Missis", "Dr.": "Doctor", "Prof.": "Professor",
        "dept.": "department", "Dept.": "Department", "tel.": "telephone", "Tel.": "Telephone",
        "max.": "maximum", "min.": "minimum", "Ave.": "Avenue", "Blvd.": "Boulevard",
        "Inc.": "Incorporated", "Ltd.": "Limited", "w/": "with", "w/o": "without",
    },
    numbered=("Chapter", "chapter", "Part", "part", "Volume", "volume", "Act", "act", "Phase",
              "phase", "Type", "type", "Book", "book", "Section", "section", "War"),
)  # fmt: skip

GERMAN = Words(
    thousands=".", point="Komma", digit_by_digit=True,
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
    of="", and_cents="",
    months=tuple(
        "Januar Februar März April Mai Juni Juli August September Oktober November"
        " Dezember".split()
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
        "1/2": "ein halb", "1/3": "ein Drittel", "2/3": "zwei Drittel", "1/4": "ein Viertel",
        "3/4": "drei Viertel", "1/8": "ein Achtel",
    },
    abbreviations={
        "z. B.": "zum Beispiel", "z.B.": "zum Beispiel", "d. h.": "das heißt", "d.h.": "das heißt",
        "u. a.": "unter anderem", "u.a.": "unter anderem", "o. ä.": "oder ähnliches",
        "usw.": "und so weiter", "bzw.": "beziehungsweise", "ca.": "circa", "Nr.": "Nummer",
        "Dr.": "Doktor", "Prof.": "Professor", "Hr.": "Herr", "Fr.": "Frau", "inkl.": "inklusive",
        "ggf.": "gegebenenfalls", "evtl.": "eventuell", "Tel.": "Telefon", "vgl.": "vergleiche",
        "Mio.": "Millionen", "Mrd.": "Milliarden", "Str.": "Straße", "St.": "Sankt",
        "zzgl.": "zuzüglich", "max.": "maximal", "mind.": "mindestens", "Abs.": "Absatz",
    },
    numbered=("Kapitel", "Band", "Teil", "Akt", "Weltkrieg", "Buch", "Typ", "Phase"),
    version="Version",
)  # fmt: skip
