"""`rustfsfs bucket`, as a person sees it: what is refused is one sentence and changes nothing; no secret is shown."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rustfsfs.cli import exits
from rustfsfs.cli.bucket import describe
from rustfsfs.cli.main import run
from rustfsfs.cli.status import describe_bucket
from tests.mounted import Mounted
from tests.oss_server import Fault, OssServer, Outage, Versioning, denied
from tests.oss_server.client import bucket_of
from tests.volume.on_disk import Key, format_in

EXPIRES = "<Rule><ID>tidy</ID><Prefix></Prefix><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule>"


class Told(NamedTuple):
    code: int
    out: str
    error: str


class Home:
    """A volume that is not mounted, and a bucket; commands run in this process."""

    def __init__(self, path: Path, oss: OssServer, capfd: pytest.CaptureFixture[str]) -> None:
        self.volume, self.oss, self._capfd = path / "v", oss, capfd
        self.key, self.credentials = path / "key", path / "credentials.toml"
        self.key.write_bytes(Key().value)
        self.key.chmod(0o600)
        self.write_credentials(oss.secret)
        format_in(self.volume)

    def write_credentials(self, secret: str, *, mode: int = 0o600) -> None:
        self.credentials.write_text(f'access_key_id = "{self.oss.key_id}"\naccess_key_secret = "{secret}"\n')
        self.credentials.chmod(mode)

    def run(self, *arguments: str | Path) -> Told:
        self._capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        (self.volume / "ballast").unlink(missing_ok=True)  # 1 % of the disk that runs the tests
        return Told(code, *self._capfd.readouterr())

    def attach(self, *more: str, url: str = "oss://packs/vol") -> Told:
        """What is named twice counts as it was named last."""
        place = ("--endpoint", self.oss.endpoint, "--region", self.oss.region)
        key = ("--credentials", self.credentials, "--key-file", self.key)
        return self.run("bucket", "attach", self.volume, url, *place, *key, *more)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("status", self.volume, "--json", "--key-file", self.key).out)
        return found

    def objects(self) -> list[str]:
        with self.oss.store.lock:
            return [one.key for versions in self.oss.store.bucket("packs").versions.values() for one in versions]


@pytest.fixture
def home(
    tmp_path: Path,
    oss: OssServer,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Home]:
    """Whatever a test does, the secret is in no log, and not in VOLUME."""
    for name in ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    caplog.set_level(logging.DEBUG)
    made = Home(tmp_path, oss, capfd)
    yield made
    assert oss.secret not in caplog.text
    for path in made.volume.glob("*"):
        assert not path.is_file() or oss.secret.encode() not in path.read_bytes(), path


def test_a_bucket_is_attached_and_shown(home: Home) -> None:
    done = home.attach()
    assert (done.code, done.error) == (0, "")
    assert done.out.startswith(f"oss://packs/vol is the bucket of {home.volume} now.\n")
    for word in ("within 15 min", "class Standard", "90% full", f"{home.volume}/cold", "1.0 GiB", "not sealed yet"):
        assert word in done.out
    assert "vol/meta/header" in home.objects()
    shown = home.status()
    assert shown["healthy"] and shown["bucket"]["name"] == "oss://packs/vol" and shown["bucket"]["trouble"] is None
    screen = home.run("status", home.volume, "--key-file", home.key).out
    assert "Bucket     oss://packs/vol" in screen and "only copy" not in screen
    told = home.run("bucket", "show", home.volume)
    assert f"{home.oss.endpoint}, region {home.oss.region}" in told.out and str(home.credentials) in told.out
    assert ", reached anew" in home.attach().out
    for text in (done.out, told.out, (home.volume / "bucket.toml").read_text()):
        assert home.oss.secret not in text and home.oss.key_id not in text


def test_the_environment_has_credentials_and_a_session_token(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    key = home.oss.issue_key()
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", key.key_id)
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", key.secret)
    refused(home.attach("--credentials", "environment"), 8, "InvalidAccessKeyId")
    monkeypatch.setenv("OSS_SESSION_TOKEN", key.token)
    done = home.attach("--credentials", "environment")
    assert done.code == 0 and "OSS_ACCESS_KEY_ID" in done.out
    assert key.secret not in done.out + (home.volume / "bucket.toml").read_text()


def test_the_class_goes_to_config_toml(home: Home) -> None:
    assert home.attach("--class", "IA").code == 0
    assert 'class = "IA"' in (home.volume / "config.toml").read_text()
    refused(home.attach("--class", "Standard"), 2, "bucket.class IA")
    assert "class IA" in home.attach().out


def refused(told: Told, code: int, *words: str) -> None:
    assert told.code == code, told
    assert told.out == "" and told.error.startswith("rustfsfs: ") and told.error.count("\n") == 1, told
    for word in words:
        assert word in told.error, told.error


def another_volume(home: Home, url: str = "oss://packs/vol") -> None:
    other = format_in(home.volume.parent / "other")
    told = home.run("bucket", "attach", other, url, "--endpoint", home.oss.endpoint, *by_file(home))
    assert told.code == 0, told
    (other / "ballast").unlink(missing_ok=True)


def another_at(url: str) -> Callable[[Home], object]:
    return lambda home: another_volume(home, url)


def by_file(home: Home) -> tuple[str | Path, ...]:
    return "--region", home.oss.region, "--credentials", home.credentials, "--key-file", home.key


def denying(operation: str) -> Callable[[Home], object]:
    return lambda home: home.oss.faults.plan(Fault(effect=denied(), operation=operation, count=None))


def versioned(home: Home) -> None:
    home.oss.store.bucket("packs").versioning = Versioning.ENABLED


def expiring(home: Home) -> None:
    home.oss.store.bucket("packs").lifecycle = f"<LifecycleConfiguration>{EXPIRES}</LifecycleConfiguration>".encode()


def settings(text: str) -> Callable[[Home], object]:
    return lambda home: (home.volume / "config.toml").write_text(text)


def nothing(home: Home) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "more", "code", "words"),
    [
        pytest.param(nothing, {"url": "oss://nobody/vol"}, 8, ["oss://nobody/vol does not exist"], id="wrong bucket"),
        pytest.param(nothing, {"url": "s3://packs/vol"}, 2, ["oss://BUCKET/PREFIX"], id="not a bucket of OSS"),
        pytest.param(lambda home: home.write_credentials("wrong"), {}, 8, ["access key secret"], id="wrong key"),
        pytest.param(nothing, {"--region": "cn-other"}, 8, ["another region", "--region"], id="wrong region"),
        pytest.param(
            lambda home: home.oss.create_bucket("far", region="cn-far"),
            {"url": "oss://far/vol"},
            8,
            ["another region", "oss-cn-far"],
            id="a bucket elsewhere",
        ),
        pytest.param(
            nothing, {"--endpoint": "http://oss-cn-hangzhou.aliyuncs.com"}, 2, ["plain http"], id="others can listen"
        ),
        pytest.param(nothing, {"--endpoint": "http://127.0.0.1:1"}, 8, ["refused"], id="nobody is there"),
        pytest.param(lambda home: home.oss.begin_outage(Outage.REFUSE), {}, 8, ["cannot be reached"], id="an outage"),
        pytest.param(another_volume, {}, 5, ["holds another volume"], id="another volume"),
        pytest.param(another_at("oss://packs/vol/below"), {}, 5, ["not empty (below/meta/"], id="one below"),
        pytest.param(
            another_at("oss://packs/vol"),
            {"url": "oss://packs/vol/some/where"},
            5,
            ["inside oss://packs/vol, which holds a volume; name a prefix beside that"],
            id="inside another",
        ),
        pytest.param(
            another_at("oss://packs"),
            {"url": "oss://packs/vol"},
            5,
            ["inside oss://packs/, which holds a volume"],
            id="inside a whole bucket that is another's",
        ),
        pytest.param(
            lambda home: bucket_of(home.oss).put_object("vol/mine", b"x"), {}, 5, ["not empty (mine)"], id="not empty"
        ),
        pytest.param(denying("PutObject"), {}, 8, ["does not allow this", "PutObject"], id="it may only be read"),
        pytest.param(denying("ListObjects*"), {}, 8, ["does not allow this", "ListObjects"], id="no listing"),
        pytest.param(denying("GetBucketLifecycle"), {}, 8, ["GetBucketLifecycle"], id="rules are not shown"),
        pytest.param(versioned, {}, 8, ["versioning"], id="versioning"),
        pytest.param(expiring, {}, 8, ["lifecycle rule 'tidy'", "deletes"], id="a rule that expires"),
        pytest.param(
            lambda home: setattr(home.oss.clock, "skew_s", 3600.0), {}, 8, ["clock", "15 minutes"], id="a wrong clock"
        ),
        pytest.param(
            settings("[demote]\nlow = 0.95\n"), {}, 2, ["demote.low", "below demote.high"], id="a policy against itself"
        ),
        pytest.param(settings("[demote]\nhihg = 0.9\n"), {}, 2, ["did you mean demote.high?"], id="an unknown key"),
        pytest.param(settings('[cache]\ndisk = "900TiB"\n'), {}, 6, ["cache.disk"], id="no room for the cache"),
        pytest.param(settings('[bucket]\nclass = "IA"\n'), {"--class": "Standard"}, 2, ["leave --class"], id="a class"),
        pytest.param(nothing, {"--credentials": "LTAIxSecret"}, 2, ["by where they are"], id="a secret as an argument"),
        pytest.param(nothing, {"--credentials": "/no/file"}, 8, ["/no/file cannot be read"], id="no credentials"),
        pytest.param(
            nothing, {"--credentials": "environment"}, 8, ["OSS_ACCESS_KEY_ID is not set"], id="no environment"
        ),
        pytest.param(
            lambda home: home.write_credentials(home.oss.secret, mode=0o640), {}, 8, ["chmod 600"], id="others may read"
        ),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(
    home: Home, spoil: Callable[[Home], object], more: dict[str, str], code: int, words: Sequence[str]
) -> None:
    spoil(home)
    before, config = home.objects(), (home.volume / "config.toml").read_text()
    url = more.get("url", "oss://packs/vol")
    options = [text for name, value in more.items() if name != "url" for text in (name, value)]
    told = home.attach(*options, url=url)
    refused(told, code, *words)
    assert home.oss.secret not in told.error and "Secret" not in told.error
    assert home.objects() == before and (home.volume / "config.toml").read_text() == config
    assert not (home.volume / "bucket.toml").exists() and home.status()["bucket"] is None


@pytest.mark.parametrize(
    "stranger", [pytest.param(b"x" * 12288, id="no header of ours"), pytest.param(None, id="we may not look there")]
)
def test_a_prefix_below_what_is_no_volume_of_ours_is_taken(home: Home, stranger: bytes | None) -> None:
    if stranger is None:
        another_volume(home, "oss://packs/of")
        home.oss.faults.plan(Fault(effect=denied(), operation="GetObject", key="of/meta/*", count=None))
    else:
        bucket_of(home.oss).put_object("of/meta/header", stranger)
    assert home.attach(url="oss://packs/of/us").code == 0
    assert home.oss.faults.met == ([] if stranger else [1])
    home.oss.faults.plan()
    assert ", reached anew" in home.attach(url="oss://packs/of/us").out


def test_the_probe_of_an_attempt_that_was_cut_off_goes_once_it_is_old(home: Home) -> None:
    bucket_of(home.oss).put_object("vol/meta/probe-young", b"x")
    bucket_of(home.oss).put_object("vol/meta/probe-old", b"x")
    with home.oss.store.lock:
        bucket = home.oss.store.bucket("packs")
        old = bucket.find("vol/meta/probe-old")
        bucket.change(old, replace(old, modified_s=old.modified_s - 3700.0))
    assert home.attach().code == 0
    assert [key for key in home.objects() if "probe" in key] == ["vol/meta/probe-young"]


def test_a_bucket_that_cannot_be_used_is_told_by_status_and_fsck(home: Home) -> None:
    assert home.attach().code == 0
    (home.volume / "bucket.toml").unlink()
    shown = home.status()
    assert not shown["healthy"] and "is not there" in shown["bucket"]["trouble"]
    told = home.run("status", home.volume, "--key-file", home.key).out
    assert "Bucket     CANNOT BE USED: " in told and "Health     the bucket needs a look" in told
    found = home.run("fsck", home.volume, "--key-file", home.key)
    assert found.code == exits.FINDINGS and "bucket.toml" in found.out
    assert "to be attached again" in home.run("bucket", "show", home.volume).out
    assert home.attach().code == 0 and home.status()["healthy"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(b"", "url is missing", id="empty"),
        pytest.param(b"url = ", "is not TOML", id="cut off"),
        pytest.param(b"\xff\xfe\x00", "is not UTF-8", id="binary"),
        pytest.param(b'ulr = "oss://packs/v"', "did you mean url?", id="an unknown key"),
        pytest.param(b"url = 7", "is a text", id="a number"),
        pytest.param(
            b'url = "oss://packs/v"\nendpoint = "http://example.com"\nregion = "cn-a"\ncredentials = "ecs"',
            "plain http",
            id="others can listen",
        ),
        pytest.param(
            b'url = "oss://packs/v"\nendpoint = "https://example.com"\nregion = "cn-a"\ncredentials = "LTAI:secret"',
            "named by where they are",
            id="a secret",
        ),
        pytest.param(None, "Is a directory", id="a directory"),
    ],
)
def test_a_bucket_file_of_nonsense_is_told_and_the_volume_opens(home: Home, text: bytes | None, words: str) -> None:
    assert home.attach().code == 0
    path = home.volume / "bucket.toml"
    path.unlink()
    path.mkdir() if text is None else path.write_bytes(text)
    trouble = home.status()["bucket"]["trouble"]
    assert words in trouble and str(path) in trouble and "secret" not in trouble, trouble
    for command in ("demote", "recall"):
        refused(home.run("tier", command, home.volume, "--key-file", home.key), exits.NETWORK, words)
    refused(home.run("bucket", "show", home.volume), exits.MACHINE if text is None else exits.USAGE, words)
    if text is not None:
        assert home.attach().code == 0 and home.status()["healthy"]


SHOWN: dict[str, Any] = {
    "name": "oss://packs/vol",
    "trouble": None,
    "protects": True,
    "refused": False,
    "unreachable_since_ns": None,
    "last_error": None,
    "requests": {"answered": 0, "failed": 0, "refused": 0},
    "object_bytes": 3 << 30,
    "cold_bytes": 1 << 30,
    "unsent_bytes": 2 << 20,
    "backlog": {"packs": 0, "bytes": 0, "since_ns": None},
    "metadata": {
        "copies": 3,
        "committed_ns": 10**18,
        "bytes": 1 << 20,
        "hot_bytes": 0,
        "local_packs": 0,
        "local_bytes": 0,
        "is_due": False,
        "error": None,
    },
    "traffic": {
        "up_bytes": 1 << 20,
        "up_bytes_s": 1 << 19,
        "down_bytes_s": 0,
        "down_bytes": 0,
        "uploaded_packs": 1,
        "demoted_packs": 0,
        "recalled_packs": 0,
        "fetches": 0,
        "failures": 0,
        "last_error": "",
    },
    "cache": {"bytes": 1 << 20, "bytes_max": 1 << 30, "hits": 3, "misses": 1},
}


@pytest.mark.parametrize(
    ("changed", "row", "says"),
    [
        pytest.param({}, "Bucket", "oss://packs/vol", id="not asked yet"),
        pytest.param({"requests": {"answered": 1}}, "Bucket", "oss://packs/vol, answers", id="well"),
        pytest.param({"trouble": "no file"}, "Bucket", "CANNOT BE USED: no file", id="trouble"),
        pytest.param({"refused": True, "last_error": "why"}, "Bucket", "REFUSES: why", id="refused"),
        pytest.param(
            {"unreachable_since_ns": 10**18, "last_error": "cut"},
            "Bucket",
            "no answer since 2001",
            id="an outage",
        ),
        pytest.param({}, "Uploaded", "3.0 GiB, of that 1.0 GiB there only", id="what is there"),
        pytest.param({}, "At risk", "100 B not sealed and about 2.0 MiB not uploaded", id="what would be lost"),
        pytest.param({}, "At risk", "not uploaded: lost", id="all names are there"),
        pytest.param(
            {"metadata": SHOWN["metadata"] | {"is_due": True}},
            "At risk",
            "not uploaded, and everything that changed since 2001-",
            id="names that would be lost",
        ),
        pytest.param(
            {"metadata": SHOWN["metadata"] | {"copies": 0}}, "At risk", ", and all names: lost", id="no names"
        ),
        pytest.param({}, "Backlog", "nothing waits", id="no backlog"),
        pytest.param(
            {"backlog": {"packs": 2, "bytes": 1 << 25, "since_ns": 10**18}},
            "Backlog",
            "2 packs wait, 32.0 MiB, the oldest since 2001",
            id="a backlog",
        ),
        pytest.param({}, "Published", "the metadata of 2001-", id="metadata"),
        pytest.param(
            {"metadata": SHOWN["metadata"] | {"committed_ns": None, "hot_bytes": 1 << 20, "local_bytes": 1 << 21}},
            "Published",
            "the metadata is in the bucket, 3.0 MiB of its data were on this host only",
            id="metadata that lacks data",
        ),
        pytest.param({"metadata": SHOWN["metadata"] | {"copies": 0}}, "Published", "not in the bucket", id="no copy"),
        pytest.param(
            {"metadata": SHOWN["metadata"] | {"error": "cut"}}, "Published", "LATE: cut", id="metadata that is late"
        ),
        pytest.param({}, "Traffic", "up 512.0 KiB/s, down 0 B/s in the last minute; 1.0 MiB up, 0", id="traffic"),
        pytest.param(
            {"traffic": SHOWN["traffic"] | {"failures": 2, "last_error": "cut"}},
            "Failed",
            "2 times, the last: cut",
            id="failures",
        ),
        pytest.param({}, "Cache disk", "1.0 MiB of 1.0 GiB, 75% of 4 reads", id="the cache disk"),
    ],
)
def test_the_screen_says_how_the_bucket_is(changed: dict[str, Any], row: str, says: str) -> None:
    assert says in dict(describe_bucket(SHOWN | changed, hot_bytes=100))[row]


def test_the_screen_leaves_out_what_nobody_knows_or_did() -> None:
    idle = dict.fromkeys(SHOWN["traffic"], 0)
    assert [row for row, _text in describe_bucket(SHOWN | {"backlog": None, "traffic": idle}, hot_bytes=0)] == [
        "Bucket",
        "Uploaded",
        "Published",
        "At risk",
        "Cache disk",
    ]


def test_without_a_bucket_the_screen_says_nothing_of_one() -> None:
    assert describe_bucket(None, hot_bytes=0) == []


def test_without_protection_the_bucket_is_said_to_have_only_what_is_demoted() -> None:
    done = {
        "name": "oss://packs/vol",
        "is_new": True,
        "class": "IA",
        "protect_within_s": None,
        "metadata_interval_s": 3600.0,
        "demote_high": 0.9,
        "demote_after_s": 30 * 86400.0,
        "cache_bytes": 1 << 30,
        "hot_bytes": 0,
        "unsent_bytes": 0,
    }
    told = describe(done, "/srv/volume", "ecs")
    assert (
        "every 1 h" in told
        and "packs that are demoted" in told
        and "not read for 30 d" in told
        and "environment" not in told
    )


@pytest.mark.fuse
@pytest.mark.slow  # a mount, and several processes
def test_a_mounted_volume_gets_a_bucket_and_lives_in_it(
    tmp_path: Path, oss: OssServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    credentials = tmp_path / "credentials.toml"
    credentials.write_text(f'access_key_id = "{oss.key_id}"\naccess_key_secret = "{oss.secret}"\n')
    credentials.chmod(0o600)
    data = bytes(range(256)) * 2000
    mounted = Mounted(tmp_path)
    mounted.format()
    (mounted.volume / "config.toml").write_text("[demote]\nhigh = 0.999\nlow = 0.99\n")  # however full this machine is
    mounted.mount()
    attach = ("bucket", "attach", mounted.point, "oss://packs/vol", "--endpoint", oss.endpoint, "--region", oss.region)
    try:
        done = mounted.run(*attach, check=False)
        assert done.returncode == 8 and "of the process that has the volume open" in done.stderr
        done = mounted.run(*attach, "--credentials", credentials, "--class", "IA", check=False)
        assert done.returncode == 2 and "bucket.class is Standard" in done.stderr
        assert mounted.status()["bucket"] is None
        done = mounted.run(*attach, "--credentials", credentials)
        assert oss.secret not in done.stdout + (mounted.volume / "bucket.toml").read_text()
        (mounted.point / "d").mkdir()
        (mounted.point / "d" / "file").write_bytes(data)
        assert "in the bucket only now" in mounted.run("tier", "demote", mounted.point / "d").stdout
        (one,) = json.loads(mounted.run("tier", "status", mounted.point / "d" / "file", "--json").stdout)["paths"]
        assert (one["path"], one["tier"]) == ("d/file", "cold")
        assert mounted.status()["bucket"]["cold_bytes"] > 0
        mounted.remount()
        assert (mounted.point / "d" / "file").read_bytes() == data
        assert "oss://packs/vol, answers" in mounted.run("bucket", "show", mounted.point).stdout
        assert mounted.status()["healthy"]
        log = mounted.volume / "rustfsfs.log"
        assert not log.exists() or oss.secret not in log.read_text()
    finally:
        mounted.clean_up()


def test_key_says_that_the_bucket_learns_of_it_at_the_next_mount(home: Home, tmp_path: Path) -> None:
    def add(name: str, byte: bytes) -> str:
        new = tmp_path / name
        new.write_bytes(byte * 32)
        new.chmod(0o600)
        return home.run("key", "add", home.volume, "--key-file", home.key, "--new-key-file", new).out

    assert "bucket" not in add("first", b"1")
    home.attach()
    assert "The bucket learns of it at the next mount" in add("second", b"2")
    removed = home.run("key", "remove", home.volume, "2", "--key-file", home.key)
    assert removed.code == 0 and "The bucket learns of it at the next mount" in removed.out
