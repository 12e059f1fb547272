"""How much of a volume with a bucket lies where, as of the last COMMIT. All of it blocks."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from rustfsfs.meta import objects
from rustfsfs.meta.chunks import COLD
from rustfsfs.meta.database import Metadata
from rustfsfs.volume import paths
from rustfsfs.volume.volume import Volume

TREE = (
    "WITH RECURSIVE t(inode) AS (SELECT value FROM json_each(?1)"
    " UNION SELECT e.inode FROM entries e JOIN t ON e.parent = t.inode),"
    " f(fork) AS (SELECT DISTINCT fork FROM t JOIN inodes USING (inode) WHERE fork > 0)"
)


class Tree(NamedTuple):
    """How much of trees lies where, in bytes as stored; what is hot, as written."""

    hot_bytes: int
    stored_bytes: int  # one copy of each chunk
    cold_bytes: int  # of those, what is in the bucket only

    @property
    def tier(self) -> str:
        if self.cold_bytes and self.cold_bytes == self.stored_bytes and not self.hot_bytes:
            return "cold"
        if self.cold_bytes:
            return "mixed"
        return "hot" if self.hot_bytes and not self.stored_bytes else "local"


def status(volume: Volume, found: dict[str, int]) -> dict[str, Any]:
    """Of the volume, and of the trees at `found`, inodes by path."""
    with paths.reading_apart(volume) as metadata:
        running = metadata.running
        both = metadata.rows(
            "SELECT coalesce(sum(o.size_bytes), 0) FROM objects o JOIN packs k USING (pack, disk)"
            " WHERE NOT k.closed & ?",
            (COLD,),
        )
        frozen = metadata.rows(
            "SELECT count(*), coalesce(sum(o.size_bytes), 0) FROM objects o JOIN packs k USING (pack, disk)"
            " WHERE k.closed & ? AND o.placement NOT IN ('Standard', 'IA')",
            (COLD,),
        )
        trees = {path: trees_of(metadata, [inode]) for path, inode in found.items()}
        return {
            "packs": metadata.rows("SELECT count(*) FROM packs")[0][0],
            "local_bytes": running.pack_bytes - running.cold_bytes,
            "cold_bytes": running.cold_bytes,
            "both_bytes": both[0][0],
            "hot_bytes": running.hot_bytes,
            "frozen_packs": frozen[0][0],  # as far as anybody has noticed: rules of the bucket's owner freeze them
            "frozen_bytes": frozen[0][1],
            "pinned": pinned(metadata),
            "pinned_cold_bytes": trees_of(
                metadata, objects.pinned(metadata)
            ).cold_bytes,  # until there is room for them
            "paths": [
                {"path": path, "tier": tree.tier, "stored_bytes": tree.stored_bytes, "cold_bytes": tree.cold_bytes}
                for path, tree in trees.items()
            ],
        }


def pinned(metadata: Metadata) -> list[str]:
    """One path of each, from the volume's root."""
    return [(paths.paths_of(metadata, inode) or ["/"])[0] for inode in objects.pinned(metadata)]


def trees_of(metadata: Metadata, roots: Sequence[int]) -> Tree:
    """What they share counts once. As long as it takes to read all their extents."""
    asked = str(list(roots))
    hot = metadata.rows(
        f"{TREE} SELECT coalesce(sum(e.length), 0) FROM f JOIN extents e USING (fork) WHERE e.segment > 0", (asked,)
    )
    rows = metadata.rows(
        f"{TREE}, c(chunk) AS (SELECT DISTINCT e.base FROM f JOIN extents e USING (fork) WHERE e.segment = 0)"
        " SELECT coalesce(sum(stored), 0), coalesce(sum(CASE WHEN cold THEN stored END), 0) FROM"
        " (SELECT max(p.stored_bytes) AS stored, min(k.closed & ?2) > 0 AS cold"
        " FROM c JOIN places p USING (chunk) JOIN packs k USING (pack, disk) GROUP BY p.chunk)",
        (asked, COLD),
    )
    return Tree(int(hot[0][0]), int(rows[0][0]), int(rows[0][1]))
