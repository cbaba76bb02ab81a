"""Chat on a disk that fills up: `python -m torture.full`.

The data folder is a separate file system of every size from 4 KB up to one that is large enough, page by
page. The program runs a conversation in it line by line; and then one that `chat -c` continues with that much
space left beside the existing data (`again`). The rules of `checks.judge` must hold, and `sessions list` must
work on the full disk. Then space is freed: the next run must save everything again, in addition to the
existing messages. Exits 1 if one of these does not hold. Needs root, to mount a file system.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from torture import checks, child

PAGE = 4096
LARGEST = 64 * PAGE
ROOM = 2048 * PAGE
FILE = "conversations.db"
ANSWERS = [f"{n}:" + "".join(f" word{word}" for word in range(n * 300)) for n in range(1, 5)]
"""They are so long that the disk fills up between them."""


def one_size(place: Path, size: int, *, again: bool) -> tuple[str, list[str]]:
    """Return the outcome on a disk of `size` bytes with the number of saved messages, and the errors."""
    home, output, data = place / "home", place / "output", place / "home" / "data"
    data.mkdir(mode=0o700, parents=True)
    _mount(data, f"size={ROOM if again else size},mode=700")
    try:
        if again:
            earlier = child.script(place / "earlier.toml", ["0: Earlier."])
            child.run(["chat", "-m", earlier], home, output, b"earlier\n")
            facts = os.statvfs(data)
            _mount(data, f"remount,size={(facts.f_blocks - facts.f_bfree) * facts.f_frsize + size}")
        model = child.script(place / "script.toml", ANSWERS, 10**6)
        ended = child.run(["chat", *["-c"] * again, "-m", model], home, output, checks.LINES)
        copy = Path(shutil.copytree(data, place / "copy")) / FILE  # off the full disk
        outcome, wrong = checks.judge(ended, copy, checks.EARLIER if again else set(), ANSWERS)
        kept = checks.texts(copy)
        if kept and (listed := child.run(["sessions", "list"], home, output)).code != 0:
            wrong.append(f"while it is full: {listed}")
        _mount(data, f"remount,size={ROOM}")
        later = child.script(place / "later.toml", ["Later."])
        ended = child.run(["chat", "-m", later], home, output, b"later\n")
        wrong += [] if ended == child.Ended(0, "Later.\n") else [f"with room again: {ended}"]
        new = {("user", "complete", "later"), ("assistant", "complete", "Later.")}
        file = data / FILE
        wrong += checks.damage(file)
        wrong += checks.not_once(file, new | {key for key in kept if key[1] == "complete"})
        return f"{outcome} with {kept.total()} messages kept", wrong
    finally:
        subprocess.run(["umount", str(data)], check=True)  # noqa: S607 - of the system


def _mount(folder: Path, options: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", options, "hermes-torture", str(folder)]
    subprocess.run(command, check=True)


def main() -> int:
    if os.geteuid() != 0:
        print("not measured: mounting a file system needs root")
        return 0
    bad = 0
    for again in (False, True):
        outcomes = Counter[str]()
        for size in range(PAGE, LARGEST + PAGE, PAGE):
            with tempfile.TemporaryDirectory() as folder:
                outcome, wrong = one_size(Path(folder), size, again=again)
            outcomes[outcome] += 1
            bad += len(wrong)
            for what in wrong:
                print(f"{'again' if again else 'new'}, {size} bytes: {what}", flush=True)
        for what, count in outcomes.items():
            print(f"  {count} sizes: {what}")
        bad += not outcome.startswith("harmless")
    print(f"{bad} things wrong")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
