"""Which pages there are, by the topic that `rustfsfs help` calls them, and reading them."""

from pathlib import Path

from rustfsfs.man.markup import Page, parse

FOLDER = Path(__file__).parent
TOPICS = {
    "commands": "rustfsfs.1",
    "settings": "rustfsfs.toml.5",
    "fstab": "mount.rustfsfs.8",
    "on-premises": "rustfsfs-on-premises.7",
    "ecs": "rustfsfs-ecs.7",
    "systemd": "rustfsfs-systemd.7",
    "tiering": "rustfsfs-tiering.7",
    "recovery": "rustfsfs-recovery.7",
    "nfs": "rustfsfs-nfs.7",
    "security": "rustfsfs-security.7",
    "metrics": "rustfsfs-metrics.7",
    "control": "rustfsfs-control.7",
    "exit-codes": "rustfsfs-exit-codes.7",
    "troubleshooting": "rustfsfs-troubleshooting.7",
}


def source(file: str) -> str:
    """In Markdown. `file` is one of TOPICS' values."""
    return (FOLDER / f"{file}.md").read_text(encoding="utf-8")


def page(file: str) -> Page:
    return parse(source(file))


def topic_of(word: str) -> str | None:
    """A topic, or a page as man(1) calls it: "ecs", "rustfsfs-ecs", "rustfsfs-ecs(7)", "rustfsfs-ecs.7"."""
    bare = word.lower()
    for topic, file in TOPICS.items():
        name, _, number = file.rpartition(".")
        if bare in (topic, name, file, f"{name}({number})"):
            return topic
    return None
