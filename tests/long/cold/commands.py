"""4c. SIGKILL of commands at each request they make, from both sides: attach, demote, recall, publish, rebuild."""

from rustfsfs.units import MIB
from tests.cold.kills import STORIES, grounds
from tests.long.cold.place import folder


def check(scale: float) -> str:
    met, failed = dict[str, int](), list[str]()
    with folder(need_bytes=500 * MIB) as base, grounds(base) as new:
        for story in STORIES:
            ground = new(story.name)
            story.start(ground)
            moments = story.moments(ground)[:: max(1, round(1 / scale))]
            for moment in moments:
                try:
                    story.strike(ground, moment)
                except AssertionError as exc:
                    failed.append(str(exc))
                    print(f"  {exc}", flush=True)
            met[story.name] = len(moments)
            print(f"  {story.name}: {len(moments)} kills", flush=True)
    assert not failed, f"{len(failed)} of {sum(met.values())} kills: {failed[0]}"
    return (
        f"{sum(met.values())} kills ({', '.join(f'{name} {count}' for name, count in met.items())}): the same command"
        " again comes to the end, every file is whole, fsck finds nothing, and nothing is left over in the bucket"
    )
