"""NAME.toml: what it says, what it takes over of VOLUME/config.toml, and refusals that name what would be right."""

import pytest

from rustfsfs.config import DEFAULT, KEYS, parse_settings
from rustfsfs.errors import UsageError
from rustfsfs.siteconfig import (
    MOUNT_KEYS,
    SITE_KEYS,
    CredentialKind,
    Metrics,
    Mount,
    Nfs,
    Site,
    config_for,
    effective,
    parse_site,
)
from rustfsfs.units import GIB, MIB

WHERE = "/etc/rustfsfs/home.toml"
VOLUME = '[mount]\nvolume = "/srv/home"\n'


def site(text: str = "") -> Site:
    return parse_site(VOLUME + text, name="home", where=WHERE)


def test_a_volume_is_enough() -> None:
    found = site()
    assert (found.name, found.path) == ("home", WHERE)
    assert (found.mount, found.metrics) == (Mount(volume="/srv/home"), Metrics())


def test_everything_it_can_say() -> None:
    found = site(
        """
        point = "/home"
        options = ["noatime", "suid,dev"]
        credential = "key"
        credential_kind = "passphrase"
        read_only = true
        degraded = true
        nfs = "strict"
        [metrics]
        listen = "127.0.0.1:9464"
        """
    )
    assert found.mount == Mount(
        volume="/srv/home",
        point="/home",
        options=("noatime", "suid", "dev"),
        credential="key",
        credential_kind=CredentialKind.PASSPHRASE,
        read_only=True,
        degraded=True,
        nfs=Nfs.STRICT,
    )
    assert found.metrics == Metrics(listen="127.0.0.1:9464")
    assert site('options = "noatime, suid"').mount.options == ("noatime", "suid")


@pytest.mark.parametrize("listen", ["", "127.0.0.1:9464", "127.0.0.2:1", "[::1]:9464", "unix:/run/m.sock"])
def test_where_metrics_may_be_had(listen: str) -> None:
    assert site(f'[metrics]\nlisten = "{listen}"').metrics.listen == listen


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("vol = '/x'", "unknown key mount.vol; did you mean mount.volume?", id="a misspelt key"),
        pytest.param("[metric]\nlisten = ''", "did you mean metrics?", id="a misspelt table"),
        pytest.param("[cache]\nramm = '1GiB'", "did you mean cache.ram?", id="a misspelt key of the volume's"),
        pytest.param("point = 'mnt'", "no absolute path", id="a relative path"),
        pytest.param("point = 5", "no absolute path", id="a number for a path"),
        pytest.param("options = 5", "are no options", id="no options"),
        pytest.param("options = [5]", "are no options", id="a number among options"),
        pytest.param("credential = 'a/b'", "no name of a credential", id="a path for a credential"),
        pytest.param("credential_kind = 'key'", 'write "key-file" or "passphrase"', id="no kind"),
        pytest.param("nfs = true", 'write "off" or "strict"', id="a switch for a choice"),
        pytest.param("read_only = 'yes'", "true or false", id="no switch"),
        pytest.param("key_file = '/k'\ncredential = 'k'", "name two keys", id="two keys"),
        pytest.param("[metrics]\nlisten = '0.0.0.0:9464'", "which other hosts could reach", id="for all the world"),
        pytest.param("[metrics]\nlisten = 'localhost:9464'", "no place to serve metrics", id="a name"),
        pytest.param("[metrics]\nlisten = '127.0.0.1'", "no place to serve metrics", id="no port"),
        pytest.param("[metrics]\nlisten = '127.0.0.1:99999'", "no place to serve metrics", id="too high a port"),
        pytest.param("[metrics]\nlisten = 'unix:m.sock'", "no place to serve metrics", id="a relative socket"),
        pytest.param("[demote]\nlow = 0.95", "is not below demote.high", id="a contradiction"),
        pytest.param("[seal]\nquiet = 2026-01-01", "needs a unit", id="a date"),
        pytest.param("read_only = tr", "is not TOML", id="half written"),
    ],
)
def test_a_mistake_is_refused_in_one_sentence_that_helps(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        site(text)
    assert says in str(caught.value)
    assert str(caught.value).startswith(WHERE)


@pytest.mark.parametrize("text", ["", "[mount]", '[mount]\nvolume = ""'])
def test_a_volume_has_to_be_named(text: str) -> None:
    with pytest.raises(UsageError, match=r"mount\.volume is missing"):
        parse_site(text, name="home", where=WHERE)


def test_a_table_here_replaces_the_whole_table_there() -> None:
    own = parse_settings(
        '[cache]\nram = "1GiB"\ndisk = "2GiB"\n[log]\nlevel = "debug"\n[seal]\nquiet = "9s"', where="v"
    )
    found = site('[cache]\nram = "64MiB"\n[seal]\n')
    config = config_for(found, own)
    assert (config.cache.ram_bytes, config.cache.disk_bytes) == (64 * MIB, GIB)
    assert (config.log.level, config.seal.quiet_s) == ("debug", 5.0)
    origins = {setting.key.name: setting.origin for setting in effective(found, own)}
    assert [origins[key] for key in ("cache.ram", "cache.disk", "log.level", "seal.quiet", "mount.volume")] == [
        WHERE,
        DEFAULT,
        "v",
        DEFAULT,
        WHERE,
    ]
    hidden = {setting.key.name: setting.hidden.text for setting in effective(found, own) if setting.hidden}
    assert hidden == {"cache.ram": '"1GiB"', "cache.disk": '"2GiB"', "seal.quiet": '"9s"'}
    assert config_for(None, own).cache.disk_bytes == 2 * GIB
    assert not any(setting.hidden for setting in effective(None, own))


def test_every_key_is_shown_once_and_as_it_could_be_written() -> None:
    shown = effective(site('options = ["a", "b"]\n[scrub]\ninterval = "never"'), parse_settings("", where="v"))
    assert [setting.key for setting in shown] == list(SITE_KEYS) == [*MOUNT_KEYS, *KEYS]
    texts = {setting.key.name: setting.text for setting in shown}
    assert texts["mount.options"] == '["a", "b"]' and texts["scrub.interval"] == '"never"'
    lines: dict[str, list[str]] = {}
    for setting in shown:
        lines.setdefault(setting.key.table, []).append(f"{setting.key.name.partition('.')[2]} = {setting.text}")
    written = "\n".join(line for table, found in lines.items() for line in (f"[{table}]", *found))
    assert parse_site(written, name="home", where=WHERE).mount == site('options = ["a", "b"]').mount
