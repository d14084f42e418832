"""A reply's own configuration, and which of its words can echo."""

from sessions.core.call import Moments
from sessions.core.config import SessionConfig
from sessions.core.events import RequestReply
from sessions.core.replies.reply import Reply, overridden


def test_a_request_overrides_what_it_names() -> None:
    config = SessionConfig(instructions="a", output_audio=True, max_output_tokens=5)
    assert overridden(config, None) is config
    assert overridden(config, RequestReply()) == config
    other = overridden(config, RequestReply(instructions="", output_audio=False))
    assert (other.instructions, other.output_audio, other.max_output_tokens) == ("", False, 5)
    assert overridden(config, RequestReply(max_output_tokens=7)).max_output_tokens == 7


def test_only_played_text_can_echo() -> None:
    reply = Reply(1, 1, "", "r", "i", SessionConfig(), Moments(), 0.0)
    assert (reply.seconds, reply.playing) == (0.0, "")
    reply.clauses.append("one two three four")
    reply.spoken.add("one two three four", 4_000, 1_000)
    reply.published = 1
    assert reply.seconds == 4.0
    assert reply.playing == "one two three four"
    reply.paused = 1_000
    assert reply.playing == "one two"
