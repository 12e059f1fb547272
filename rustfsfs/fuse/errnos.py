"""Our errors as errno: the one table."""

import errno

from rustfsfs import errors

ERRNO_BY_ERROR: dict[type[errors.RustfsfsError], int] = {
    errors.RustfsfsError: errno.EIO,  # the fallback; every row below is more specific
    errors.NoSuchEntry: errno.ENOENT,
    errors.NoSuchInode: errno.ESTALE,  # a handle of something that is gone (NFS)
    errors.NoSuchXattr: errno.ENODATA,
    errors.EntryExists: errno.EEXIST,
    errors.NotEmpty: errno.ENOTEMPTY,
    errors.IsDirectory: errno.EISDIR,
    errors.NotDirectory: errno.ENOTDIR,
    errors.NameTooLong: errno.ENAMETOOLONG,
    errors.FileTooLarge: errno.EFBIG,
    errors.TooManyLinks: errno.EMLINK,
    errors.InvalidArgument: errno.EINVAL,
    errors.NotSupported: errno.EOPNOTSUPP,
    errors.NotPermitted: errno.EPERM,
    errors.TooBig: errno.E2BIG,
    errors.ReadOnlyVolume: errno.EROFS,
    errors.NoSpace: errno.ENOSPC,
    errors.DamagedData: errno.EIO,
    errors.StoreError: errno.EIO,
    errors.ObjectFrozen: errno.EAGAIN,  # its restore was asked for; minutes to hours
    errors.JournalFailed: errno.EIO,
}


def errno_of(exc: errors.RustfsfsError) -> int:
    """The errno of the nearest ancestor in the table."""
    found = ERRNO_BY_ERROR.get(type(exc))  # most requests that fail ask for a name or an xattr that is not there
    if found is not None:
        return found
    return next(ERRNO_BY_ERROR[kind] for kind in type(exc).__mro__ if kind in ERRNO_BY_ERROR)
