"""Talk on a disk that fills up: `python -m torture.full`.

The data folder is a file system of its own, of 64 KB and of every other size, page by page, from 4 KB up to
one that is large enough. A conversation is held in it line by line by the program itself; and then one with
which `chat -c` goes on where so many KB are left beside what is there (`again`). All four answers must come,
or the start be refused in words; the person must be told at most once that nothing more is kept; everything
acknowledged before that must be there, once, also for `sessions list` on the full disk; and the database must
be sound. Then room is made: the next run must keep everything again, beside what was there. Exits 1 where one
of these does not hold. Needs root, to mount a file system.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from torture import child, conversation, look

KIB = 1024
PAGE = 4 * KIB
LARGEST = 256 * KIB
ROOM = 8 * KIB * KIB
NAMED = 64 * KIB
LATER = "Later."
FILE = "conversations.db"
ANSWERS = [f"{n}:" + "".join(f" word{word}" for word in range(n * 300)) for n in range(1, 5)]
"""So long that the disk fills up between them."""


@contextmanager
def disk(folder: Path, size: int) -> Iterator[None]:
    """Mount a file system of `size` bytes at a folder."""
    folder.mkdir(mode=0o700, parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "hermes-torture", str(folder)]
    subprocess.run(mount, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S607 - as mount


def resize(folder: Path, size: int) -> None:
    """Give the mounted file system another size."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)  # noqa: S607 - as above


def one_size(place: Path, size: int, *, again: bool) -> tuple[str, int, list[str]]:
    """Return what came of a conversation on a disk of `size` bytes, how much is kept of it, what is wrong."""
    home, said = place / "home", place / "said"
    data = home / "data"
    with disk(data, ROOM if again else size):
        if again:
            _run(
                ["chat", "-m", child.script(place / "earlier.toml", ["0: Earlier."])],
                home,
                said,
                b"earlier\n",
            )
            facts = os.statvfs(data)
            resize(data, (facts.f_blocks - facts.f_bfree) * facts.f_frsize + size)
        model = child.script(place / "script.toml", ANSWERS, 10**6)
        ended = _run(["chat", *["-c"] * again, "-m", model], home, said, conversation.LINES)
        copy = Path(shutil.copytree(data, place / "copy")) / FILE  # which has room to be opened
        outcome, wrong = conversation.judge(ended, copy, conversation.EARLIER if again else set(), ANSWERS)
        kept = look.texts(copy)
        if kept:
            listed = _run(["sessions", "list"], home, said)
            wrong += [] if listed.code == 0 else [f"while it is full: {listed}"]
        wrong += _with_room_again(place, {key for key in kept if key[1] == "complete"})
    return outcome, sum(kept.values()), wrong


def _with_room_again(place: Path, before: set[look.Key]) -> list[str]:
    """Make room, and return what is wrong with what the next run keeps, and with what there was before."""
    home, said = place / "home", place / "said"
    resize(home / "data", ROOM)
    ended = _run(["chat", "-m", child.script(place / "later.toml", [LATER])], home, said, b"later\n")
    wrong = [] if ended == child.Ended(0, f"{LATER}\n") else [f"with room again: {ended}"]
    later = {("user", "complete", "later"), ("assistant", "complete", LATER)}
    file = home / "data" / FILE
    return wrong + look.damage(file) + look.not_once(file, later | before)


def _run(words: Sequence[str], home: Path, said: Path, stdin: bytes = b"") -> child.Ended:
    said.unlink(missing_ok=True)
    code = child.wait(child.hermes(words, home, said, stdin))
    return child.Ended(code, said.read_text(encoding="utf-8"))


def main() -> int:
    """Fill disks of many sizes, and say what came of it."""
    if os.geteuid() != 0:
        print("not measured: mounting a file system needs root")
        return 0
    bad = 0
    for again in (False, True):
        outcomes = Counter[str]()
        for size in range(PAGE, LARGEST + PAGE, PAGE):
            with tempfile.TemporaryDirectory() as folder:
                outcome, kept, wrong = one_size(Path(folder), size, again=again)
            outcomes[f"{outcome} with {kept} messages kept"] += 1
            bad += len(wrong)
            words = f"{'again' if again else 'new'}, {size // KIB} KB: {outcome}, {kept} messages"
            if wrong or size == NAMED:
                print("; ".join([words, *wrong]), flush=True)
        for what, count in outcomes.items():
            print(f"  {count} sizes: {what}")
        bad += outcome != "harmless"
    print(f"{bad} things wrong")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
