"""What an NFS server is told to export a mount: text only, nothing is asked or written here.

Handles that clients hold contain what names the file system. It is made from the volume's uuid wherever the server
lets us choose, so that handles outlive the mount, the server and the machine's next start.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_network
from uuid import UUID

from rustfsfs.errors import UsageError

_CLIENT = re.compile(r"@?[A-Za-z0-9:*?][A-Za-z0-9.:*?_/-]*")
_ADDRESS = re.compile(r"[0-9.]+|.*[/:].*")  # or a network; no wildcard, no name
_UNPRINTED = re.compile(r"[^!-~]|[\"\\#]")  # of a path in exports(5)
_UNQUOTED = re.compile(r"[\x00-\x1f\"\\]")  # what Ganesha's strings cannot hold
EXPORT_IDS = 65535  # Ganesha's are 1 to 65535; 0 is the root of the pseudo file system


class Server(Enum):
    KERNEL = "kernel"
    GANESHA = "ganesha"


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    name: str  # of the unit's instance: rustfsfs@NAME.service
    point: str
    uuid: UUID  # the volume's
    clients: Sequence[str]


UNITS = {Server.KERNEL: "nfs-server", Server.GANESHA: "nfs-ganesha"}
FILES = {Server.KERNEL: "/etc/exports.d/{}.exports", Server.GANESHA: "/etc/ganesha/{}.conf"}


def configuration(export: Export, server: Server) -> str:
    """One file for the server, with what else has to be done as comments. Raises UsageError for what it cannot say."""
    if not export.clients:  # a line of exports(5) without any exports to everybody
        raise UsageError("no client is named; name an address, a network (10.0.0.0/24), a host or @netgroup")
    for client in export.clients:
        if not _CLIENT.fullmatch(client) or not _is_possible(client):
            raise UsageError(f"{client!r} is no client: name an address, a network (10.0.0.0/24), a host or @netgroup")
    body = _kernel(export) if server is Server.KERNEL else _ganesha(export)
    return f"{_preface(export, server)}\n{body}"


def _is_possible(client: str) -> bool:
    """What looks like an address or a network has to be one."""
    if client.startswith("@") or not _ADDRESS.fullmatch(client):
        return True
    try:
        ip_network(client, strict=False)
    except ValueError:
        return False
    return True


def _kernel(export: Export) -> str:
    path = _UNPRINTED.sub(lambda found: "".join(f"\\{byte:03o}" for byte in found[0].encode()), export.point)
    how = f"rw,sync,root_squash,no_subtree_check,mountpoint,fsid={export.uuid}"
    return f"""\
# fsid: from the volume's uuid, so that handles stay valid; without it the kernel exports no FUSE mount at all.
# mountpoint: nothing is exported while the volume is not mounted; else clients would write into the directory below.
# sync: replies come when the data are where the client was told. root_squash: clients' root is nobody here.
{path} {" ".join(f"{client}({how})" for client in export.clients)}
"""


def _ganesha(export: Export) -> str:
    if _UNQUOTED.search(export.point):
        raise UsageError("Ganesha takes no path with quotes, backslashes or control characters; mount it elsewhere")
    return f"""\
# Export_Id is part of every handle: it is made from the volume's uuid. If another export has this number, choose a
# free one from 1 to {EXPORT_IDS} once, and keep it. Filesystem_Id is the uuid itself.
# Squash: clients' root is nobody here. Writes are as durable as the client asks (COMMIT is an fsync of the file).
# Attributes are cached for a minute: whoever changes files beside NFS, on this host, sets Attr_Expiration_Time = 0.
EXPORT {{
    Export_Id = {1 + export.uuid.int % EXPORT_IDS};
    Path = "{export.point}";
    Pseudo = "/{export.name}";
    Filesystem_Id = {export.uuid.int >> 64}.{export.uuid.int & (1 << 64) - 1};
    Protocols = 3, 4;
    Transports = TCP;
    SecType = sys;
    Squash = Root_Squash;
    Access_Type = None;
    FSAL {{ Name = VFS; }}
    CLIENT {{ Clients = {", ".join(export.clients)}; Access_Type = RW; }}
}}
"""


def _preface(export: Export, server: Server) -> str:
    """Comments of at most 120 characters a line, whatever the name."""
    file, unit, mount = FILES[server].format(export.name), UNITS[server], f"rustfsfs@{export.name}.service"
    plain = f"# {file}\n# Debian has no such folder until you make it: mkdir -p /etc/exports.d"
    include = f'# {file}, named in /etc/ganesha/ganesha.conf by the line: %include "{file}"'
    return f"""\
{include if server is Server.GANESHA else plain}
# The rustfsfs volume {export.uuid} over NFS.
#
# 1. In /etc/rustfsfs/{export.name}.toml, below [mount]: nfs = "strict"
#    (or rustfsfs mount -o nfs=strict). What is made, renamed or removed is then durable before the client hears of
#    it, as NFS promises; the servers ask for no sync of that themselves. And the mount's device number stays the
#    same, which handles of NFS-Ganesha contain.
#
# 2. Bind the server to the mount: what it holds open dies with the daemon, and it must never export the empty
#    directory below. In /etc/systemd/system/{unit}.service.d/rustfsfs-{export.name}.conf
#
#        [Unit]
#        Requires={mount}
#        After={mount}
#        PartOf={mount}
#
#    and then: systemctl daemon-reload. Requires and After: it starts once the mount serves, and not without; it stops
#    before the mount does, which would be busy otherwise. PartOf: it restarts with the mount, also when the daemon was
#    killed and systemd starts it again; BindsTo would stop it then, and leave it stopped. By hand the order is: stop
#    the server, unmount, mount, start the server. Handles that clients hold stay valid.
#"""
