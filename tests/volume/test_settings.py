"""`--class` finds its way into config.toml, and into nothing else of it."""

import pytest

from rustfsfs.bucketfacts import Placement
from rustfsfs.config import default_config_text, parse_config
from rustfsfs.errors import UsageError
from rustfsfs.volume.settings import with_class

IA, STANDARD = Placement.IA, Placement.STANDARD


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(default_config_text(), id="as it is made"),
        pytest.param("", id="empty"),
        pytest.param('[seal]\nquiet = "9s"\n', id="no such table"),
        pytest.param("[bucket] # mine\nconcurrency = 4\n[log]\n", id="a table without the key"),
    ],
)
def test_the_class_is_written_and_all_else_stays(text: str) -> None:
    changed = with_class(text, IA, where="config.toml")
    before, after = parse_config(text), parse_config(changed)
    assert after.bucket.placement is IA
    assert (after.seal, after.log, after.bucket.concurrency) == (before.seal, before.log, before.bucket.concurrency)
    assert {line for line in text.splitlines() if "class" not in line} <= set(changed.splitlines())
    assert with_class(changed, IA, where="config.toml") == changed
    assert with_class(text, STANDARD, where="config.toml") == text


@pytest.mark.parametrize(
    ("text", "placement", "says"),
    [
        pytest.param('[bucket]\nclass = "IA"\n', STANDARD, "has bucket.class IA", id="it says another"),
        pytest.param('[bucket]\nclass = "Standard"\n', IA, "has bucket.class Standard", id="it says the default"),
        pytest.param('[bucket]\nia_after = "60d"\n', IA, "ia_after", id="a contradiction"),
        pytest.param("bucket = {concurrency = 4}\n", IA, "config.toml", id="another way to write a table"),
    ],
)
def test_what_contradicts_is_refused(text: str, placement: Placement, says: str) -> None:
    with pytest.raises(UsageError) as told:
        with_class(text, placement, where="config.toml")
    assert says in str(told.value)
