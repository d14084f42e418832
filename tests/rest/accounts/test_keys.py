import hashlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest.accounts import keys


def test_a_new_key_has_its_form_and_is_read_back():
    key = keys.new_key()
    assert key.text.startswith("blab_sk_")
    assert len(key.text) == len("blab_sk_") + 38
    assert keys.parse(key.text) == key
    assert key.digest == hashlib.sha256(key.text.encode()).digest()
    assert key.prefix == key.text[:12]


def test_keys_differ_and_their_repr_hides_them():
    one, other = keys.new_key(), keys.new_key()
    assert one != other
    assert one.text not in repr(one)
    assert one.text not in str(one)


def test_at_least_160_bits_stay_hidden():
    unseen = keys.RANDOM_LETTERS - keys.SHOWN_LETTERS
    assert len(keys.ALPHABET) ** unseen >= 2**160


def test_the_checksum_is_crc32_in_base_62():
    assert keys.checksum("123456789") == keys.checksum("123456789")
    number = 0
    for letter in keys.checksum("123456789"):
        number = number * 62 + keys.ALPHABET.index(letter)
    assert number == 0xCBF43926  # the published check value of CRC-32/ISO-HDLC


@given(st.data())
def test_any_single_changed_letter_is_noticed(data):
    text = keys.new_key().text
    place = data.draw(st.integers(0, len(text) - 1))
    letters = (string.ascii_letters + string.digits + "_").replace(text[place], "")
    broken = text[:place] + data.draw(st.sampled_from(letters)) + text[place + 1 :]
    with pytest.raises(keys.MalformedKey) as refused:
        keys.parse(broken)
    assert broken not in str(refused.value)


@given(st.text())
def test_any_other_text_is_no_key(text):
    with pytest.raises(keys.MalformedKey):
        keys.parse(text)
    with pytest.raises(keys.MalformedKey):
        keys.parse("blab_sk_" + text)


def test_no_line_end_or_blank_slips_through():
    text = keys.new_key().text
    for broken in (text + "\n", " " + text, text[:-1], text + "0", text.upper()):
        with pytest.raises(keys.MalformedKey):
            keys.parse(broken)
