"""An upload's file."""

import hashlib
import stat
from pathlib import Path

import pytest

from rest.http.uploads import UploadFile


def test_the_file_grows_and_is_deleted(tmp_path: Path):
    file = UploadFile(tmp_path / "new" / "upload-1")
    file.create()
    for block in (b"one", b"", b"two"):
        file.append(bytearray(block))
    assert file.path.read_bytes() == b"onetwo"
    assert (file.size, file.digest.digest()) == (6, hashlib.sha256(b"onetwo").digest())
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    with pytest.raises(FileExistsError):
        file.create()
    file.delete()
    file.delete()
    assert not file.path.exists()


def test_a_deleted_file_is_not_created_again(tmp_path: Path):
    file = UploadFile(tmp_path / "upload-1")
    file.create()
    file.delete()
    with pytest.raises(FileNotFoundError):
        file.append(bytearray(b"late"))
    assert list(tmp_path.iterdir()) == []
