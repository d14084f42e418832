"""What a new voice says of itself, in the languages of the contract."""

PREVIEWS = {
    "ar": "مرحبا، هذا صوتي الجديد. يسعدني أن أتحدث إليكم.",
    "bg": "Здравейте, това е новият ми глас. Радвам се да говоря с вас.",
    "cs": "Dobrý den, tohle je můj nový hlas. Těší mě, že s vámi mluvím.",
    "da": "Hej, dette er min nye stemme. Det glæder mig at tale med dig.",
    "de": "Hallo, das ist meine neue Stimme. Ich freue mich, mit dir zu sprechen.",
    "el": "Γεια σας, αυτή είναι η νέα μου φωνή. Χαίρομαι που σας μιλώ.",
    "en": "Hello, this is my new voice. I am glad to speak with you.",
    "es": "Hola, esta es mi nueva voz. Me alegra hablar contigo.",
    "et": "Tere, see on minu uus hääl. Mul on hea meel teiega rääkida.",
    "fi": "Hei, tämä on uusi ääneni. On mukava puhua kanssasi.",
    "fr": "Bonjour, voici ma nouvelle voix. C'est un plaisir de vous parler.",
    "hi": "नमस्ते, यह मेरी नई आवाज़ है। आपसे बात करके खुशी हुई।",
    "hr": "Bok, ovo je moj novi glas. Drago mi je razgovarati s vama.",
    "hu": "Szia, ez az új hangom. Örülök, hogy beszélhetek veled.",
    "id": "Halo, ini suara baru saya. Saya senang berbicara dengan Anda.",
    "it": "Ciao, questa è la mia nuova voce. Sono felice di parlare con te.",
    "ja": "こんにちは、これがわたしのあたらしいこえです。おはなしできてうれしいです。",
    "ko": "안녕하세요, 이것은 제 새 목소리입니다. 만나서 반갑습니다.",
    "lv": "Sveiki, šī ir mana jaunā balss. Priecājos ar jums runāt.",
    "nl": "Hallo, dit is mijn nieuwe stem. Ik vind het fijn om met je te praten.",
    "pl": "Cześć, to jest mój nowy głos. Miło mi z tobą rozmawiać.",
    "pt": "Olá, esta é a minha nova voz. Fico feliz em falar com você.",
    "ro": "Bună, aceasta este noua mea voce. Mă bucur să vorbesc cu tine.",
    "ru": "Здравствуйте, это мой новый голос. Приятно говорить с вами.",
    "sk": "Ahoj, toto je môj nový hlas. Teší ma, že s tebou hovorím.",
    "sl": "Pozdravljeni, to je moj novi glas. Veseli me, da govorim z vami.",
    "sv": "Hej, det här är min nya röst. Det är trevligt att prata med dig.",
    "tr": "Merhaba, bu benim yeni sesim. Sizinle konuşmaktan mutluyum.",
    "uk": "Вітаю, це мій новий голос. Приємно говорити з вами.",
    "vi": "Xin chào, đây là giọng nói mới của tôi. Rất vui được nói chuyện với bạn.",
}


def preview_text(language: str) -> str:
    """The sentence in ``language`` (a BCP 47 tag); in English where there is none."""
    return PREVIEWS.get(language.lower().split("-")[0], PREVIEWS["en"])
