"""rustfsfs status: one screen of plain words, or JSON."""

import json
from datetime import datetime
from typing import Any

import click

from rustfsfs.cli import exits, places
from rustfsfs.cli.secrets import open_options, read_secret
from rustfsfs.service.client import call
from rustfsfs.units import format_size
from rustfsfs.volume.leftalone import Why


@click.command("status")
@click.argument("place", type=places.PATH, metavar=places.PLACE)
@open_options
@click.option("--json", "as_json", is_flag=True, help="one JSON object, for programs")
def command(
    place: str, passphrase_file: str | None, key_file: str | None, recovery_key_file: str | None, as_json: bool
) -> int:
    """Show what a volume holds, what that costs, and how it is. A mounted one needs no key.

    Exit code 7 when a person should look: the last line says why.

    \b
    rustfsfs status /mnt
    rustfsfs status /srv/volume --key-file /root/key --json
    """
    found = places.find(place)
    if found.is_mounted:
        shown = call(found.volume, "status", {})
    else:
        from rustfsfs.volume import offline

        shown = offline.status(
            found.volume, read_secret(passphrase_file, key_file, recovery_key_file, site=found.site), site=found.site
        )
    exits.echo(json.dumps(shown) if as_json else describe(shown))
    return exits.DONE if shown["healthy"] else exits.FINDINGS


def describe(shown: dict[str, Any]) -> str:
    """The screen."""
    volume, journal = shown["volume"], shown["journal"]
    files = _count(shown["files"], "file", "files")
    directories = _count(shown["directories"], "directory", "directories")
    rows = [
        ("Volume", f"{volume['path']}  ({volume['uuid']})"),
        ("State", _state(volume)),
        ("Holds", f"{files}, {directories}"),
        ("Logical", f"{format_size(shown['logical_bytes'])}, of that {format_size(shown['hot_bytes'])} hot"),
        ("Unique", f"{format_size(shown['unique_bytes'])}{_times(shown['dedup_ratio'], 'by deduplication')}"),
        ("Stored", f"{format_size(shown['stored_bytes'])}{_times(shown['compression_ratio'], 'by compression')}"),
        ("Dead", f"{format_size(shown['dead_bytes'])} of the packs, given back in the background"),
        ("Metadata", format_size(shown["metadata_bytes"])),
        ("Journal", f"{format_size(journal['bytes'])} of at most {format_size(journal['bytes_max'])}"),
        ("Committed", _when(shown["epoch"]["last_ns"])),
        *([("Requests", _requests(shown["operations"]))] if volume["pid"] else []),
        ("Cache", f"{format_size(shown['cache']['ram_bytes'])} of {format_size(shown['cache']['ram_bytes_max'])}"),
        *(("Disk", _disk(disk)) for disk in shown["disks"]),
        *describe_bucket(shown.get("bucket"), hot_bytes=shown["hot_bytes"]),
        *describe_left_alone(shown.get("left_alone", {})),
        *(("Failing", f"{task['name']}: {task['error']}") for task in shown["tasks"] if task["error"]),
        *([("Metrics", f"on {shown['metrics']}, beside /healthz")] if shown.get("metrics") else []),
        ("Scrubbed", _scrubbed(shown)),
        ("Health", _health(shown)),
    ]
    lines = [f"{name:<10} {text}" for name, text in rows]
    if volume.get("only_copy") and not (shown.get("bucket") or {}).get("protects"):
        lines += ["", "Each byte is kept once: this is the only copy of your data. Back it up, or use --copies 2."]
    return "\n".join(lines)


def _state(volume: dict[str, Any]) -> str:
    if volume["pid"]:
        return f"mounted on {volume['mount_point']} by process {volume['pid']}"
    if volume["state"] == "unclean":
        return "unclean: its daemon was killed, or the power failed; rustfsfs mount brings everything back"
    return str(volume["state"])


def _requests(operations: dict[str, int]) -> str:
    failed = f", of which disks, space or bucket failed {operations['troubles']:,}" if operations["troubles"] else ""
    read, written = format_size(operations["read_bytes"]), format_size(operations["written_bytes"])
    return f"{operations['answered']:,} since the mount{failed}; {read} read, {written} written"


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _times(ratio: float | None, why: str) -> str:
    if not ratio:
        return ""
    if ratio < 1:
        return f", {1 / ratio:.2f} times larger, nothing saved {why}"
    return f", {ratio:.2f} times smaller {why}"


def _when(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z") if at_ns else "never"


def _disk(disk: dict[str, Any]) -> str:
    if disk.get("missing"):
        return f"MISSING {disk['path']}"
    free, total = format_size(disk["free_bytes"]), format_size(disk["total_bytes"])
    return f"{disk['path']}: {format_size(disk['stored_bytes'])} stored, {free} of {total} free"


def describe_bucket(bucket: dict[str, Any] | None, *, hot_bytes: int) -> list[tuple[str, str]]:
    """Rows of the screen; none without a bucket. `hot_bytes` are not sealed yet."""
    if bucket is None:
        return []
    backlog, traffic, cache = bucket["backlog"], bucket["traffic"], bucket["cache"]
    rows = [
        ("Bucket", _bucket(bucket)),
        ("Uploaded", f"{format_size(bucket['object_bytes'])}, of that {format_size(bucket['cold_bytes'])} there only"),
        ("Published", _metadata(bucket["metadata"])),
    ]
    at_risk = f"{format_size(hot_bytes)} not sealed and about {format_size(bucket['unsent_bytes'])} not uploaded"
    rows.append(("At risk", f"{at_risk}{_names_at_risk(bucket['metadata'])}: lost if this machine is"))
    if backlog is not None:
        rows.append(("Backlog", _backlog(backlog)))
    if traffic["up_bytes"] or traffic["down_bytes"]:
        rows.append(("Traffic", _traffic(traffic)))
    if traffic["failures"]:
        rows.append(("Failed", f"{_count(traffic['failures'], 'time', 'times')}, the last: {traffic['last_error']}"))
    asked = cache["hits"] + cache["misses"]
    hits = f", {cache['hits'] / asked:.0%} of {asked:,} reads of cold data found there" if asked else ""
    cached = f"{format_size(cache['bytes'])} of {format_size(cache['bytes_max'])}{hits}"
    return [*rows, ("Cache disk", cached)]


def describe_left_alone(counts: dict[str, int]) -> list[tuple[str, str]]:
    """Packs, by why they are."""
    return [
        ("Left alone", f"{_count(count, 'pack', 'packs')} {Why[why.upper()].value}") for why, count in counts.items()
    ]


def _bucket(bucket: dict[str, Any]) -> str:
    if bucket["trouble"]:
        return f"CANNOT BE USED: {bucket['trouble']}"
    if bucket.get("fenced"):
        return f"READ ONLY: {bucket['fenced']}"
    if bucket["refused"]:
        return f"REFUSES: {bucket['last_error']}"
    if bucket["unreachable_since_ns"] is not None:
        return f"no answer since {_when(bucket['unreachable_since_ns'])}: {bucket['last_error']}"
    return f"{bucket['name']}{', answers' if bucket['requests']['answered'] else ''}"


def _metadata(copy: dict[str, Any]) -> str:
    """What a fire would leave of the names, and what of the files it would take."""
    if copy["error"]:
        return f"LATE: {copy['error']}"
    if not copy["copies"]:
        return "not in the bucket yet"
    when = "" if copy["committed_ns"] is None else f" of {_when(copy['committed_ns'])}"
    only_here = copy["hot_bytes"] + copy["local_bytes"]
    missing = f", {format_size(only_here)} of its data were on this host only" if only_here else ""
    return f"the metadata{when} is in the bucket{missing}"


def _names_at_risk(copy: dict[str, Any]) -> str:
    if not copy["copies"]:
        return ", and all names"
    if not copy["is_due"]:
        return ""
    since = "the newest copy" if copy["committed_ns"] is None else _when(copy["committed_ns"])
    return f", and everything that changed since {since}, names too"


def _backlog(backlog: dict[str, Any]) -> str:
    if not backlog["packs"]:
        return "nothing waits for its upload"
    since = f", the oldest since {_when(backlog['since_ns'])}" if backlog["since_ns"] else ""
    return f"{_count(backlog['packs'], 'pack waits', 'packs wait')}, {format_size(backlog['bytes'])}{since}"


def describe_rates(shown: dict[str, Any]) -> str:
    """Of the last minute."""
    return f"up {format_size(shown['up_bytes_s'])}/s, down {format_size(shown['down_bytes_s'])}/s in the last minute"


def _traffic(traffic: dict[str, Any]) -> str:
    return (
        f"{describe_rates(traffic)};"
        f" {format_size(traffic['up_bytes'])} up, {format_size(traffic['down_bytes'])} down since the mount;"
        f" {_count(traffic['uploaded_packs'], 'pack', 'packs')} uploaded, {traffic['demoted_packs']:,} demoted,"
        f" {traffic['recalled_packs']:,} recalled"
    )


def _scrubbed(shown: dict[str, Any]) -> str:
    """When everything stored was last verified, and what was found."""
    scrub = shown["scrub"]
    text = _when(scrub["ended_ns"])
    if scrub["begun_ns"]:
        text += f", now at {format_size(scrub['verified_bytes'])} of {format_size(shown['stored_bytes'])}"
    if scrub["found"]:
        text += f"; {scrub['found']} damaged, {scrub['repaired']} of them repaired"
    return text


def _health(shown: dict[str, Any]) -> str:
    reasons, bucket = shown["reasons"], shown.get("bucket")
    if reasons:
        return "; ".join(reasons)
    if shown["volume"].get("read_only"):
        return f"good; {shown['volume']['read_only']}"
    if bucket is not None and bucket["unreachable_since_ns"] is not None:
        return "good, but the bucket does not answer: what is there only cannot be read"
    return "good"
