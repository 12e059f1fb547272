"""Where a volume's bucket is: oss://BUCKET/PREFIX at an endpoint of a region. Pure; nobody is asked."""

import re
from dataclasses import dataclass, replace
from ipaddress import ip_address
from urllib.parse import urlsplit

from rustfsfs.errors import UsageError

BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")  # OSS's rule for names of buckets
PREFIX = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")  # ours: nothing that some tool would have to quote
HOST = re.compile(r"[A-Za-z0-9.-]+")
REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")
OSS_HOST = re.compile(r"oss-(?P<region>[a-z0-9-]+?)(?P<internal>-internal)?\.aliyuncs\.com")
PREFIX_SIZE_MAX = 512  # bytes; of a key OSS takes 1023


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketAddress:
    bucket: str
    prefix: str  # "" or "some/path", without a slash at its ends
    endpoint: str  # https://HOST or http://HOST:PORT
    region: str  # as signatures want it: "cn-hangzhou"

    def __str__(self) -> str:
        return f"oss://{self.bucket}/{self.prefix}"

    def above(self) -> list["BucketAddress"]:
        """The shorter prefixes that this one lies in, the shortest first."""
        parts = self.prefix.split("/") if self.prefix else []
        return [replace(self, prefix="/".join(parts[:count])) for count in range(len(parts))]

    def whole_key(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def relative_key(self, whole_key: str) -> str:
        """Inverse of `whole_key`. Raises ValueError: this key is not the volume's."""
        if self.prefix and not whole_key.startswith(f"{self.prefix}/"):
            raise ValueError("a key outside the prefix")
        return whole_key[len(self.prefix) + 1 :] if self.prefix else whole_key


def parse_address(location: str, *, endpoint: str, region: str | None = None) -> BucketAddress:
    """`location` is oss://BUCKET[/PREFIX]; without `region` it is the one that the endpoint's name tells.

    Raises UsageError: a name OSS does not take, no region, plain http to somewhere that others can listen.
    """
    scheme, separator, rest = location.partition("://")
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if scheme != "oss" or not separator or not BUCKET.fullmatch(bucket):
        raise UsageError(f"{location!r} does not name a bucket; write oss://BUCKET/PREFIX")
    if prefix and (not PREFIX.fullmatch(prefix) or len(prefix) > PREFIX_SIZE_MAX or {".", ".."} & {*prefix.split("/")}):
        raise UsageError(f"the prefix {prefix!r} may have letters, digits and . _ - /, {PREFIX_SIZE_MAX} at the most")
    url, told = _parse_endpoint(endpoint)
    region = (region or told or "").removeprefix("oss-")
    if not REGION.fullmatch(region):
        raise UsageError(f"the endpoint {endpoint} does not tell its region; name it with --region (cn-hangzhou, say)")
    return BucketAddress(bucket=bucket, prefix=prefix, endpoint=url, region=region)


def _parse_endpoint(endpoint: str) -> tuple[str, str | None]:
    """(scheme://host:port, the region its name tells)."""
    wrong = UsageError(f"{endpoint!r} is not an endpoint; write https://oss-REGION.aliyuncs.com")
    try:
        parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or host is None or not HOST.fullmatch(host):
        raise wrong
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
        raise wrong
    known = OSS_HOST.fullmatch(host)
    internal = known is not None and known["internal"] is not None
    if parts.scheme == "http" and not internal and not is_loopback(host):
        raise UsageError(f"{endpoint} is plain http, which others can read and change; use https (http: inside a VPC)")
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else ""), known["region"] if known else None


def is_loopback(host: str) -> bool:
    """By its name alone: localhost, or a loopback address of IPv4 (an endpoint takes no other)."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
