"""What subtitles are set of: pieces, their times, and what may follow them."""

from pipelines.transcription.subtitle_pieces import LINE_WIDTH, Break, pieces, width_of
from pipelines.transcription.timed_text import TimedSegment, TimedWord


def texts(text: str) -> list[str]:
    return [piece.text for piece in pieces([TimedSegment(0, 1000, text)])]


def test_words_without_punctuation_give_the_times_all_the_same() -> None:
    heard = (TimedWord("well", 1000, 1400), TimedWord("met", 5000, 5400))
    made = pieces([TimedSegment(1000, 5400, "Well - met!", heard)])
    assert [(one.text, one.start_ms, one.end_ms) for one in made] == [
        ("Well", 1000, 1400),
        ("-", 1400, 1400),
        ("met!", 5000, 5400),
    ]
    assert made[1].ends is Break.SENTENCE  # the pause


def test_more_words_than_were_written_share_their_time() -> None:
    heard = (TimedWord("can", 0, 300), TimedWord("not", 300, 600), TimedWord("go", 700, 900))
    made = pieces([TimedSegment(0, 900, "Cannot go", heard)])
    assert [(one.start_ms, one.end_ms) for one in made] == [(0, 600), (700, 900)]


def test_where_sentences_and_phrases_end() -> None:
    made = pieces([TimedSegment(0, 1000, 'Dr. Who said: "Go!" J. R. R. left, as did I')])
    ends = {piece.text: piece.ends for piece in made}
    assert ends == {
        "Dr.": Break.WORD,
        "Who": Break.WORD,
        "said:": Break.PHRASE,
        '"Go!"': Break.SENTENCE,
        "J.": Break.WORD,
        "R.": Break.WORD,
        "left,": Break.PHRASE,
        "as": Break.WORD,
        "did": Break.WORD,
        "I": Break.PHRASE,
    }


def test_scripts_without_blanks_are_cut_between_characters() -> None:
    assert texts("「今日」は、Pythonを。") == ["「今", "日」", "は、", "Python", "を。"]
    assert texts("ちょっと") == ["ちょっ", "と"]
    assert width_of("今a\u0301") == 3


def test_a_word_wider_than_a_line_is_cut() -> None:
    made = pieces([TimedSegment(0, 1000, "a" * 100)])
    assert [(len(piece.text), piece.glued) for piece in made] == [
        (LINE_WIDTH, False),
        (LINE_WIDTH, True),
        (16, True),
    ]


def test_times_never_fall_and_stay_in_their_segment() -> None:
    wild = (TimedWord("a", 900, 100), TimedWord("b", 0, 99_999))
    made = pieces([TimedSegment(500, 400, "c"), TimedSegment(100, 1000, "a b", wild)])
    moments = [moment for piece in made for moment in (piece.start_ms, piece.end_ms)]
    assert moments == sorted(moments)
    assert moments[-1] == 1000
