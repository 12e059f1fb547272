"""Reading config.toml: the volume's own, or one that the command line names."""

from rustfsfs.config import Config, parse_config
from rustfsfs.errors import MachineTrouble, UsageError


def read_config(path: str, *, must_exist: bool) -> Config:
    """The settings in a file; the defaults if it is not there and need not be. Raises UsageError, MachineTrouble."""
    try:
        with open(path, encoding="utf-8") as file:
            return parse_config(file.read(), where=path)
    except UnicodeDecodeError as exc:
        raise UsageError(f"{path} is not UTF-8 text") from exc
    except FileNotFoundError as exc:
        if not must_exist:
            return Config()
        raise UsageError(f"the settings {path} are not there") from exc
    except OSError as exc:
        kind = UsageError if must_exist else MachineTrouble
        raise kind(f"the settings {path} cannot be read ({exc.strerror})") from exc
