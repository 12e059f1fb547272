"""Commands that are killed: some moments of each; `make test-cold` (PARTS=commands) meets every one."""

from collections.abc import Callable, Iterator

import pytest

from tests.cold.kills import STORIES, Ground, Moment, grounds

pytestmark = [pytest.mark.fuse, pytest.mark.slow]  # two processes for each kill


@pytest.fixture(scope="module")
def new_ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Ground]]:
    with grounds(tmp_path_factory.mktemp("kills")) as new:
        yield new


@pytest.mark.parametrize(
    ("name", "moments"),
    [
        pytest.param("attach", [Moment(8, True), Moment(12, True)], id="attach: its probe and its header are there"),
        pytest.param("attach, mounted", [Moment(18, True)], id="attach of a mount: a copy is whole, and nobody knows"),
        pytest.param("demote", [Moment(1, True), Moment(4, False)], id="demote: packs are there, not all are proved"),
        pytest.param("recall", [Moment(1, True)], id="recall: some packs are back"),
        pytest.param("publish", [Moment(3, True)], id="publish: a copy is whole, and nobody knows"),
        pytest.param("rebuild in place", [Moment(4, False)], id="rebuild: a part is missing"),
        pytest.param(
            "rebuild on a new host", [Moment(6, True)], id="rebuild on a new host: all but the packs is there"
        ),
    ],
)
def test_who_is_killed_and_begins_again_comes_to_the_end(
    new_ground: Callable[[str], Ground], name: str, moments: list[Moment]
) -> None:
    story, ground = next(story for story in STORIES if story.name == name), new_ground(name)
    story.start(ground)
    for moment in moments:
        story.strike(ground, moment)
