"""The recipe "A language" of docs/extending.md, carried out in a copy of the checkout."""

from pathlib import Path

import pytest

from tests.support.scratch_copy import ScratchCopy, blocks_of, recipe

FILE = "sessions/languages/sv.toml"
SHOW = """
from sessions.core.items import Message, Transcript
from sessions.core.prompt import Prompts
from sessions.core.turns.endpointing import ending_of

prompts, said = Prompts(Transcript()), [Message("user", "Hej!")]
print(ending_of("jag vill boka ett bord för", "sv-SE"), "speaks Swedish." in prompts.messages(
    "", said, language="sv")[0].content)
"""


def the_recipe() -> tuple[str, list[str]]:
    """The recipe's pack, and the words of its command."""
    section = recipe("A language")
    (pack,) = blocks_of(section, "toml")
    (command,) = blocks_of(section, "sh")
    return pack, command.split()[1:]


@pytest.mark.slow
def test_a_language_is_added_as_the_recipe_says(tmp_path: Path) -> None:
    copy = ScratchCopy(tmp_path / "blab")
    pack, command = the_recipe()
    assert copy.run("-c", SHOW).stdout == "closed False\n"
    (copy.root / FILE).write_text(pack)
    assert copy.run("-c", SHOW).stdout == "open True\n"
    checks = (*command, "-n0", "-p", "no:cacheprovider")
    done = copy.run(*checks)
    assert done.returncode == 0, done.stdout + done.stderr
    copy.replace(FILE, '"ja, men"]', '"Var kommer du från?"]')
    assert copy.run(*checks).returncode == 1, "the pack is held to its examples"


def test_a_misspelt_key_stops_the_start(tmp_path: Path) -> None:
    copy = ScratchCopy(tmp_path / "blab")
    (copy.root / FILE).write_text(the_recipe()[0].replace("never_last", "never_lasts"))
    refused = copy.run("-c", SHOW)
    assert refused.returncode == 1
    assert "PackError: sv.toml: turn_end.never_lasts is unknown" in refused.stderr
