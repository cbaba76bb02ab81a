"""Chat on a disk that fills up: `python -m torture.full`.

The data folder is a separate file system, of every size from 4 KB up to one that is large enough, page by
page, among them 64 KB. The program runs a conversation in it line by line; and then one that `chat -c`
continues with that much space left beside the existing data (`again`). All four answers must be printed, or
the start must fail with an error message; at most one notice that nothing more is saved may be shown;
everything acknowledged before it must be in the database exactly once, also for `sessions list` on the full
disk; and the database must be undamaged. Then space is freed: the next run must save everything again, in
addition to the existing messages. Exits 1 if one of these does not hold. Needs root, to mount a file system.
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
"""They are so long that the disk fills up between them."""


@contextmanager
def disk(folder: Path, size: int) -> Iterator[None]:
    """Mount a file system of `size` bytes at a folder."""
    folder.mkdir(mode=0o700, parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "hermes-torture", str(folder)]
    subprocess.run(mount, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S607 - like mount


def resize(folder: Path, size: int) -> None:
    """Give the mounted file system another size."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)  # noqa: S607 - see above


def one_size(place: Path, size: int, *, again: bool) -> tuple[str, int, list[str]]:
    """Return the outcome on a disk of `size` bytes, the number of saved messages, and the errors."""
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
        copy = Path(shutil.copytree(data, place / "copy")) / FILE  # off the full disk
        outcome, wrong = conversation.judge(ended, copy, conversation.EARLIER if again else set(), ANSWERS)
        kept = look.texts(copy)
        if kept:
            listed = _run(["sessions", "list"], home, said)
            wrong += [] if listed.code == 0 else [f"while it is full: {listed}"]
        wrong += _with_room_again(place, {key for key in kept if key[1] == "complete"})
    return outcome, sum(kept.values()), wrong


def _with_room_again(place: Path, before: set[look.Key]) -> list[str]:
    """Free space, and return the errors in the messages of the next run and in the earlier ones."""
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
    """Fill disks of many sizes, print the outcomes, and return the exit code."""
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
