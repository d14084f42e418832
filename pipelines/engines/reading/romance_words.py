"""The words of signs, months, money and units in Romance languages; see ``words``."""

from .numbers import Words, signs, units

SPANISH = Words(
    thousands=".",
    point="coma",
    digit_by_digit=False,
    signs=signs(
        "punto, barra, arroba, guion, guion bajo, más, dos puntos, signo de interrogación, igual,"
        " almohadilla, por ciento, por mil, y, sección, por, entre, más menos, unos, menor que,"
        " mayor que, como máximo, como mínimo, barra invertida"
    ),
    money=units("""
        EUR euro|euros
        USD dólar|dólares
        GBP libra|libras
        JPY yen|yenes
        CHF franco suizo|francos suizos
        INR rupia|rupias
        BRL real|reales
        KRW won
    """),
    scales=units("k mil\nm millón|millones\nb mil millones\nt billón|billones"),
    of="de",
    and_cents="con",
    months=tuple(
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre"
        " diciembre".split()
    ),
    units=units("""
        km kilómetro|kilómetros
        m metro|metros
        cm centímetro|centímetros
        mm milímetro|milímetros
        kg kilogramo|kilogramos
        g gramo|gramos
        mg miligramo|miligramos
        l litro|litros
        L litro|litros
        ml mililitro|mililitros
        km/h kilómetros por hora
        m/s metros por segundo
        m² metro cuadrado|metros cuadrados
        m³ metro cúbico|metros cúbicos
        km² kilómetro cuadrado|kilómetros cuadrados
        °C grado centígrado|grados centígrados
        °F grado Fahrenheit|grados Fahrenheit
        ° grado|grados
        GB gigabyte|gigabytes
        MB megabyte|megabytes
        TB terabyte|terabytes
        kWh kilovatio hora|kilovatios hora
        kW kilovatio|kilovatios
        W vatio|vatios
        V voltio|voltios
        Hz hercio|hercios
        MHz megahercio|megahercios
        GHz gigahercio|gigahercios
        min minuto|minutos
        h hora|horas
    """),
    ordinals=(
        "primero",
        "segundo",
        "tercero",
        "cuarto",
        "quinto",
        "sexto",
        "séptimo",
        "octavo",
        "noveno",
        "décimo",
    ),
    fractions={
        "1/2": "un medio",
        "1/3": "un tercio",
        "2/3": "dos tercios",
        "1/4": "un cuarto",
        "3/4": "tres cuartos",
    },
    abbreviations={
        "p. ej.": "por ejemplo",
        "p.ej.": "por ejemplo",
        "etc.": "etcétera",
        "Sr.": "señor",
        "Sra.": "señora",
        "Srta.": "señorita",
        "Dr.": "doctor",
        "Dra.": "doctora",
        "Ud.": "usted",
        "Uds.": "ustedes",
        "EE. UU.": "Estados Unidos",
        "EE.UU.": "Estados Unidos",
        "núm.": "número",
        "n.º": "número",
        "nº": "número",
        "pág.": "página",
        "tel.": "teléfono",
        "Tel.": "teléfono",
        "aprox.": "aproximadamente",
        "Avda.": "avenida",
        "Av.": "avenida",
        "máx.": "máximo",
        "mín.": "mínimo",
        "Prof.": "profesor",
    },
    numbered=("siglo", "Siglo", "capítulo", "Capítulo", "tomo", "parte", "acto", "Mundial"),
    version="versión",
)

FRENCH = Words(
    thousands=".",
    point="virgule",
    digit_by_digit=False,
    signs=signs(
        "point, barre oblique, arobase, tiret, tiret bas, plus, deux points, point"
        " d'interrogation, égale, dièse, pour cent, pour mille, et, paragraphe, fois, divisé par,"
        " plus ou moins, environ, inférieur à, supérieur à, au plus, au moins, barre inversée"
    ),
    money=units("""
        EUR euro|euros
        USD dollar|dollars
        GBP livre|livres
        JPY yen|yens
        CHF franc suisse|francs suisses
        INR roupie|roupies
        BRL réal|réaux
        KRW won|wons
    """),
    scales=units("k mille\nm million|millions\nb milliard|milliards\nt billion|billions"),
    of="de",
    and_cents="",
    months=tuple(
        "janvier février mars avril mai juin juillet août septembre octobre novembre"
        " décembre".split()
    ),
    units=units("""
        km kilomètre|kilomètres
        m mètre|mètres
        cm centimètre|centimètres
        mm millimètre|millimètres
        kg kilogramme|kilogrammes
        g gramme|grammes
        mg milligramme|milligrammes
        l litre|litres
        L litre|litres
        ml millilitre|millilitres
        km/h kilomètres par heure
        m/s mètres par seconde
        m² mètre carré|mètres carrés
        m³ mètre cube|mètres cubes
        km² kilomètre carré|kilomètres carrés
        °C degré Celsius|degrés Celsius
        °F degré Fahrenheit|degrés Fahrenheit
        ° degré|degrés
        Go gigaoctet|gigaoctets
        Mo mégaoctet|mégaoctets
        GB gigaoctet|gigaoctets
        MB mégaoctet|mégaoctets
        kWh kilowattheure|kilowattheures
        kW kilowatt|kilowatts
        W watt|watts
        V volt|volts
        Hz hertz
        MHz mégahertz
        GHz gigahertz
        min minute|minutes
        h heure|heures
    """),
    ordinals=(
        "premier",
        "deuxième",
        "troisième",
        "quatrième",
        "cinquième",
        "sixième",
        "septième",
        "huitième",
        "neuvième",
        "dixième",
        "onzième",
        "douzième",
        "treizième",
        "quatorzième",
        "quinzième",
        "seizième",
        "dix-septième",
        "dix-huitième",
        "dix-neuvième",
        "vingtième",
    ),
    fractions={
        "1/2": "un demi",
        "1/3": "un tiers",
        "2/3": "deux tiers",
        "1/4": "un quart",
        "3/4": "trois quarts",
    },
    abbreviations={
        "p. ex.": "par exemple",
        "p.ex.": "par exemple",
        "etc.": "et cetera",
        "M.": "Monsieur",
        "MM.": "Messieurs",
        "Mme": "Madame",
        "Mlle": "Mademoiselle",
        "Dr": "Docteur",
        "c.-à-d.": "c'est-à-dire",
        "n°": "numéro",
        "N°": "numéro",
        "tél.": "téléphone",
        "Tél.": "téléphone",
        "av.": "avenue",
        "bd": "boulevard",
        "env.": "environ",
        "max.": "maximum",
        "min.": "minimum",
    },
    numbered=("chapitre", "Chapitre", "tome", "Tome", "partie", "acte", "mondiale"),
)

ITALIAN = Words(
    thousands=".",
    point="virgola",
    digit_by_digit=False,
    signs=signs(
        "punto, barra, chiocciola, trattino, trattino basso, più, due punti, punto interrogativo,"
        " uguale, cancelletto, per cento, per mille, e, paragrafo, per, diviso, più o meno, circa,"
        " minore di, maggiore di, al massimo, almeno, barra rovesciata"
    ),
    money=units("""
        EUR euro
        USD dollaro|dollari
        GBP sterlina|sterline
        JPY yen
        CHF franco svizzero|franchi svizzeri
        INR rupia|rupie
        BRL real
        KRW won
    """),
    scales=units("k mila\nm milione|milioni\nb miliardo|miliardi\nt bilione|bilioni"),
    of="di",
    and_cents="e",
    months=tuple(
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre"
        " dicembre".split()
    ),
    units=units("""
        km chilometro|chilometri
        m metro|metri
        cm centimetro|centimetri
        mm millimetro|millimetri
        kg chilogrammo|chilogrammi
        g grammo|grammi
        mg milligrammo|milligrammi
        l litro|litri
        L litro|litri
        ml millilitro|millilitri
        km/h chilometri all'ora
        m/s metri al secondo
        m² metro quadrato|metri quadrati
        m³ metro cubo|metri cubi
        km² chilometro quadrato|chilometri quadrati
        °C grado Celsius|gradi Celsius
        °F grado Fahrenheit|gradi Fahrenheit
        ° grado|gradi
        GB gigabyte
        MB megabyte
        TB terabyte
        kWh chilowattora
        kW chilowatt
        W watt
        V volt
        Hz hertz
        MHz megahertz
        GHz gigahertz
        min minuto|minuti
        h ora|ore
    """),
    ordinals=(
        "primo",
        "secondo",
        "terzo",
        "quarto",
        "quinto",
        "sesto",
        "settimo",
        "ottavo",
        "nono",
        "decimo",
    ),
    fractions={
        "1/2": "un mezzo",
        "1/3": "un terzo",
        "2/3": "due terzi",
        "1/4": "un quarto",
        "3/4": "tre quarti",
    },
    abbreviations={
        "p. es.": "per esempio",
        "p.es.": "per esempio",
        "ad es.": "ad esempio",
        "ecc.": "eccetera",
        "Sig.": "signor",
        "Sig.ra": "signora",
        "Sig.na": "signorina",
        "Dott.": "dottor",
        "Dott.ssa": "dottoressa",
        "Prof.": "professor",
        "pag.": "pagina",
        "tel.": "telefono",
        "Tel.": "telefono",
        "n.": "numero",
        "ca.": "circa",
        "max.": "massimo",
        "min.": "minimo",
    },
    numbered=("secolo", "capitolo", "Capitolo", "tomo", "parte", "atto", "volume", "mondiale"),
    version="versione",
)

PORTUGUESE = Words(
    thousands=".",
    point="vírgula",
    digit_by_digit=False,
    signs=signs(
        "ponto, barra, arroba, hífen, sublinhado, mais, dois pontos, ponto de interrogação, igual,"
        " cerquilha, por cento, por mil, e, seção, vezes, dividido por, mais ou menos, cerca de,"
        " menor que, maior que, no máximo, no mínimo, barra invertida"
    ),
    money=units("""
        EUR euro|euros
        USD dólar|dólares
        GBP libra|libras
        JPY iene|ienes
        CHF franco suíço|francos suíços
        INR rupia|rupias
        BRL real|reais
        KRW won
    """),
    scales=units("k mil\nm milhão|milhões\nb bilhão|bilhões\nt trilhão|trilhões"),
    of="de",
    and_cents="e",
    months=tuple(
        "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro"
        " dezembro".split()
    ),
    units=units("""
        km quilômetro|quilômetros
        m metro|metros
        cm centímetro|centímetros
        mm milímetro|milímetros
        kg quilograma|quilogramas
        g grama|gramas
        mg miligrama|miligramas
        l litro|litros
        L litro|litros
        ml mililitro|mililitros
        km/h quilômetros por hora
        m/s metros por segundo
        m² metro quadrado|metros quadrados
        m³ metro cúbico|metros cúbicos
        km² quilômetro quadrado|quilômetros quadrados
        °C grau Celsius|graus Celsius
        °F grau Fahrenheit|graus Fahrenheit
        ° grau|graus
        GB gigabyte|gigabytes
        MB megabyte|megabytes
        TB terabyte|terabytes
        kWh quilowatt-hora|quilowatts-hora
        kW quilowatt|quilowatts
        W watt|watts
        V volt|volts
        Hz hertz
        MHz megahertz
        GHz gigahertz
        min minuto|minutos
        h hora|horas
    """),
    ordinals=(
        "primeiro",
        "segundo",
        "terceiro",
        "quarto",
        "quinto",
        "sexto",
        "sétimo",
        "oitavo",
        "nono",
        "décimo",
    ),
    fractions={
        "1/2": "um meio",
        "1/3": "um terço",
        "2/3": "dois terços",
        "1/4": "um quarto",
        "3/4": "três quartos",
    },
    abbreviations={
        "p. ex.": "por exemplo",
        "p.ex.": "por exemplo",
        "etc.": "etcétera",
        "Sr.": "senhor",
        "Sra.": "senhora",
        "Dr.": "doutor",
        "Dra.": "doutora",
        "nº": "número",
        "n.º": "número",
        "pág.": "página",
        "tel.": "telefone",
        "Tel.": "telefone",
        "Prof.": "professor",
        "aprox.": "aproximadamente",
        "Av.": "avenida",
        "R$": "reais",
    },
    numbered=("século", "capítulo", "Capítulo", "tomo", "parte", "ato", "Mundial"),
    version="versão",
)
