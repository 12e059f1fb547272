"""What is printed for NFS servers."""

from dataclasses import replace
from uuid import UUID

import pytest

from rustfsfs.errors import UsageError
from rustfsfs.service.exports import Export, Server, configuration

HOME = Export(
    name="home",
    point="/srv/home",
    uuid=UUID("00000000-0000-0001-0000-00000001fffe"),
    clients=("192.168.1.0/24", "@trusted", "2001:db8::/32"),
)


def lines(text: str) -> list[str]:
    """What the server reads of it."""
    return [line.strip() for line in text.splitlines() if line and not line.startswith("#")]


def test_the_kernels_export() -> None:
    options = "rw,sync,root_squash,no_subtree_check,mountpoint,fsid=00000000-0000-0001-0000-00000001fffe"
    assert lines(configuration(HOME, Server.KERNEL)) == [
        f"/srv/home 192.168.1.0/24({options}) @trusted({options}) 2001:db8::/32({options})"
    ]


def test_ganeshas_export() -> None:
    found = lines(configuration(HOME, Server.GANESHA))
    assert found[0] == "EXPORT {" and found[-1] == "}"
    assert set(found[1:-1]) == {
        "Export_Id = 2;",
        'Path = "/srv/home";',
        'Pseudo = "/home";',
        "Filesystem_Id = 1.131070;",
        "Protocols = 3, 4;",
        "Transports = TCP;",
        "SecType = sys;",
        "Squash = Root_Squash;",
        "Access_Type = None;",
        "FSAL { Name = VFS; }",
        "CLIENT { Clients = 192.168.1.0/24, @trusted, 2001:db8::/32; Access_Type = RW; }",
    }


@pytest.mark.parametrize("server", Server)
def test_comments_say_how_the_server_is_bound_to_the_mount(server: Server) -> None:
    text = configuration(HOME, server)
    for line in ("Requires", "After", "PartOf"):
        assert f"{line}=rustfsfs@home.service" in text
    assert 'nfs = "strict"' in text
    assert max(map(len, text.split("\n/srv")[0].splitlines())) <= 120


def test_a_path_with_odd_characters_is_written_as_exports_wants_it() -> None:
    odd = replace(HOME, point='/srv/my "files" #1\\\n', clients=["h"])
    assert lines(configuration(odd, Server.KERNEL))[0].startswith("/srv/my\\040\\042files\\042\\040\\0431\\134\\012 h(")
    with pytest.raises(UsageError, match="Ganesha"):
        configuration(odd, Server.GANESHA)


@pytest.mark.parametrize(
    "client", ["10.0.0.1", "10.0.0.7/24", "10.0.0.0/255.255.255.0", "::1", "*", "*.lan", "h-1_x", "@g", "10.0.*"]
)
def test_what_may_be_a_client_is_named(client: str) -> None:
    assert f" {client}(rw," in configuration(replace(HOME, clients=[client]), Server.KERNEL)


@pytest.mark.parametrize("server", Server)
def test_nobody_named_is_refused_as_it_would_export_to_everybody(server: Server) -> None:
    with pytest.raises(UsageError, match="no client is named"):
        configuration(replace(HOME, clients=[]), server)


@pytest.mark.parametrize(
    "client", ["", "a b", "h(rw)", "h; }", "h#", "(rw)", "-h", 'h"', "10.0.0", "10.0.0.0/33", "2001:db8:/32"]
)
@pytest.mark.parametrize("server", Server)
def test_what_is_no_client_is_refused(server: Server, client: str) -> None:
    with pytest.raises(UsageError, match="no client"):
        configuration(replace(HOME, clients=[client]), server)
