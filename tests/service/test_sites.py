"""Names of volumes, and where their files are looked for."""

from pathlib import Path

import pytest

from rustfsfs.errors import UsageError
from rustfsfs.service import sites

TEXT = '[mount]\nvolume = "/srv/home"\n'


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "home.toml").write_text(TEXT)
    (tmp_path / "mail-2.toml").write_text(TEXT)
    (tmp_path / "Not.toml").write_text(TEXT)
    (tmp_path / "home.env").write_text("")
    return {sites.VARIABLE: str(tmp_path)}


def test_a_name_is_a_file_in_the_folder(tmp_path: Path, env: dict[str, str]) -> None:
    found = sites.load("home", env)
    assert (found.name, found.path, found.mount.volume) == ("home", f"{tmp_path}/home.toml", "/srv/home")
    assert sites.names(env) == ["home", "mail-2"]


def test_without_the_variable_it_is_etc() -> None:
    assert sites.path_of("home", {}) == sites.path_of("home", {sites.VARIABLE: ""}) == "/etc/rustfsfs/home.toml"


@pytest.mark.parametrize("text", ["./home", "/home", "hom", "Not", "home.toml", "", "..", "home\n"])
def test_what_is_no_name_is_a_path(text: str, env: dict[str, str]) -> None:
    assert not sites.is_name(text, env)


@pytest.mark.parametrize(
    ("name", "says"),
    [("hom", "did you mean home?"), ("../home", "cannot be a name"), ("Not", "cannot be a name"), ("x" * 65, "64")],
)
def test_a_name_that_is_none_is_refused(name: str, says: str, env: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        sites.load(name, env)
    assert says in str(caught.value)


def test_no_folder_has_no_names(tmp_path: Path) -> None:
    nowhere = {sites.VARIABLE: str(tmp_path / "none")}
    assert sites.names(nowhere) == []
    with pytest.raises(UsageError, match=r"is not there$"):
        sites.load("home", nowhere)
