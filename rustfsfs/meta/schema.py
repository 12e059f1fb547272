"""The tables of format 1, and what format 2 has beside them: a volume with a bucket. One comment per column that is
not its own name.

WITHOUT ROWID where the primary key is what is asked for; every index answers a question named beside it.
"""

FORMAT = 1  # as created; odd
FORMAT_TIERED = FORMAT + 1  # once a bucket is attached: who knows only format 1 would miss packs that are not on disks

TABLES = """
CREATE TABLE inodes (
    inode        INTEGER PRIMARY KEY,   -- FUSE node id; never reused
    mode         INTEGER NOT NULL,      -- type and permission bits
    uid          INTEGER NOT NULL,
    gid          INTEGER NOT NULL,
    nlink        INTEGER NOT NULL,      -- == entries naming it (+ 1 + subdirectories, for a directory)
    rdev         INTEGER NOT NULL,
    size_bytes   INTEGER NOT NULL,      -- directory: 2 * sum of its names' lengths, 0 == empty
    mapped_bytes INTEGER NOT NULL,      -- == sum of its extents' lengths below size_bytes' stale tail
    atime_ns     INTEGER NOT NULL,
    mtime_ns     INTEGER NOT NULL,
    ctime_ns     INTEGER NOT NULL,      -- never goes back
    fork         INTEGER NOT NULL,      -- key of its extents: seq of the op that began them; 0: not a regular file
    parent       INTEGER NOT NULL,      -- directory: where '..' leads; else 0
    stale_tail   INTEGER NOT NULL,      -- 1: extents at or past size_bytes await Trim; the file must not grow
    xattr_count  INTEGER NOT NULL,      -- == its rows in xattrs; 0 answers getxattr without a second look
    target       BLOB                   -- symlink only
);
CREATE INDEX inodes_stale ON inodes (inode) WHERE stale_tail = 1;        -- what awaits Trim
CREATE TABLE entries (
    parent INTEGER NOT NULL,
    name   BLOB NOT NULL,
    inode  INTEGER NOT NULL,
    cookie INTEGER NOT NULL,            -- readdir position: seq of the op that made it, so later names come later
    PRIMARY KEY (parent, name)
) WITHOUT ROWID;
CREATE UNIQUE INDEX entries_by_cookie ON entries (parent, cookie);       -- readdir
CREATE TABLE xattrs (
    inode INTEGER NOT NULL,
    name  BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (inode, name)
) WITHOUT ROWID;
CREATE TABLE extents (                  -- ranges of one fork never overlap; what none covers is a hole
    fork    INTEGER NOT NULL,
    offset  INTEGER NOT NULL,
    length  INTEGER NOT NULL,           -- 1 .. 1 MiB
    segment INTEGER NOT NULL,           -- journal segment; 0: in a chunk
    base    INTEGER NOT NULL,           -- position of the write's first piece; or the chunk's number
    skip    INTEGER NOT NULL,           -- bytes into the write's data, or into the chunk
    total   INTEGER NOT NULL,           -- size of the write's data; 0: in a chunk
    PRIMARY KEY (fork, offset)
) WITHOUT ROWID;
CREATE INDEX extents_by_chunk ON extents (base) WHERE segment = 0;       -- does anything name this chunk?
CREATE INDEX extents_hot ON extents (segment, fork) WHERE segment > 0;   -- what is hot, oldest first
CREATE TABLE orphans (inode INTEGER PRIMARY KEY);     -- no name left, perhaps still open
CREATE TABLE dead_forks (fork INTEGER PRIMARY KEY);   -- no inode left: Reap frees their extents
CREATE TABLE overlaid (fork INTEGER PRIMARY KEY, since_ns INTEGER NOT NULL);  -- awaits a new cut
CREATE TABLE chunks (
    chunk       INTEGER PRIMARY KEY,
    chunk_id    BLOB NOT NULL UNIQUE,   -- keyed BLAKE3 of the plain bytes
    plain_bytes INTEGER NOT NULL,
    good        INTEGER NOT NULL        -- 0: found damaged, takes no dedup hit (I6)
);
CREATE TABLE places (                   -- where the frames of a chunk lie; `copies` of them
    chunk        INTEGER NOT NULL,
    disk         INTEGER NOT NULL,
    pack         INTEGER NOT NULL,
    offset       INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL,
    PRIMARY KEY (chunk, disk, pack)
) WITHOUT ROWID;
CREATE INDEX places_by_pack ON places (disk, pack, offset);              -- what lives in a pack
CREATE TABLE packs (
    pack       INTEGER NOT NULL,
    disk       INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,        -- of its frames so far, dead ones too
    live_bytes INTEGER NOT NULL,        -- == sum of places.stored_bytes in it
    end_bytes  INTEGER NOT NULL,        -- behind the last frame a row ever named: snapshots may still name it
    closed     INTEGER NOT NULL,        -- bits: 1, it takes no more; 2, cold: its bytes are in the bucket only
    PRIMARY KEY (pack, disk)
) WITHOUT ROWID;
CREATE TABLE doomed (                   -- rows gone, file not yet (I5)
    pack INTEGER NOT NULL,
    disk INTEGER NOT NULL,
    seq  INTEGER NOT NULL,              -- a snapshot older than this still names it
    size_bytes INTEGER NOT NULL,        -- of its frames
    PRIMARY KEY (pack, disk)
) WITHOUT ROWID;
CREATE TABLE maybe_dead (chunk INTEGER PRIMARY KEY);  -- lost an extent; Collect looks whether any is left
CREATE TABLE disks (
    disk     INTEGER PRIMARY KEY,
    uuid     BLOB NOT NULL,
    path     TEXT NOT NULL,             -- absolute; '.' is VOLUME itself
    epoch    INTEGER NOT NULL,          -- the newest its header is known to say
    draining INTEGER NOT NULL           -- 1: no new pack goes there
);
CREATE TABLE snapshots (
    epoch    INTEGER PRIMARY KEY,       -- names the files on the disks
    seq      INTEGER NOT NULL,
    segments BLOB NOT NULL              -- msgpack list: the journal segments its hot extents name (I5)
);
CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;  -- written at COMMIT only
"""

TIER_TABLES = """
CREATE TABLE IF NOT EXISTS objects (    -- packs that the bucket has too, whole and proved (I7)
    pack       INTEGER NOT NULL,
    disk       INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,        -- of the object: header, frames, directory
    crc64      BLOB NOT NULL,           -- 8 bytes, big-endian, as the bucket told it
    placement  TEXT NOT NULL,           -- its class
    put_s      INTEGER NOT NULL,        -- when, seconds since 1970: minimum days count from here
    PRIMARY KEY (pack, disk)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS doomed_objects (  -- rows gone, object not yet (I5)
    pack       INTEGER NOT NULL,
    disk       INTEGER NOT NULL,
    seq        INTEGER NOT NULL,        -- metadata older than this still names it
    size_bytes INTEGER NOT NULL,
    PRIMARY KEY (pack, disk)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heat (       -- when a pack was last read, as far as it was noted
    pack   INTEGER NOT NULL,
    disk   INTEGER NOT NULL,
    read_s INTEGER NOT NULL,            -- seconds since 1970
    PRIMARY KEY (pack, disk)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pinned (inode INTEGER PRIMARY KEY);  -- trees whose packs stay on disks
CREATE TABLE IF NOT EXISTS published (  -- copies of the metadata in the bucket
    epoch INTEGER PRIMARY KEY,
    seq   INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS terms (      -- of the bucket's owner, as far as lives of this metadata took them (I9)
    number INTEGER NOT NULL,
    life   BLOB NOT NULL,               -- the id of that life, 16 bytes
    taken  INTEGER NOT NULL,            -- 0: it was about to, and may have
    PRIMARY KEY (number, life)
) WITHOUT ROWID;
"""


def is_tiered(version: int) -> bool:
    """Has a database of this format, today's or an older one, the tables of a volume with a bucket?"""
    return version % 2 == 0
