"""Run the README's commands on minimal installations of Debian releases, and print a table of what happened.

`python3 -m tools.fresh_machine [RELEASE …]`, as root, with debootstrap. Each release is installed with
nothing but Python, make, git and certificates; the committed state of this checkout is cloned into it. The
commands run as root and as a user without rights, each in a copy of its own. Package mirror, certificates and
pip's settings are those of the machine that runs this.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[1]
RELEASES: Final = {"12": "bookworm", "13": "trixie", "testing": "testing"}
PUBLIC_MIRROR: Final = "http://deb.debian.org/debian"
PACKAGES: Final = "python3,python3-venv,make,git,ca-certificates"
USER: Final = "newcomer"
QUESTION: Final = "What is the capital of France?"
SHORT_ANSWER: Final = "OPENHERMES_TEMPERATURE=0 OPENHERMES_MAX_TOKENS=64"
"""Without a limit the starter may ramble for minutes, and the time would be that of its answer."""
COMMANDS: Final = (f"echo '{QUESTION}' | {SHORT_ANSWER} make --silent chat", "make --silent test")
CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
NETWORK_FILES: Final = (Path("/etc/resolv.conf"), Path("/etc/hosts"), CERTIFICATES)
PASSED_ON: Final = re.compile(r"PIP_|SSL_CERT_|(HTTPS?|NO|ALL)_PROXY$", re.IGNORECASE)
"""The variables of this machine that say how the network is reached."""
_ADVICE: Final = re.compile(r"run as root: (.+)")


@dataclass(frozen=True)
class Run:
    """One command on one machine: its exit code, the wall time in seconds, and the line that tells most.

    `advice` is the command for root that a failed one asked for.
    """

    release: str
    python: str
    user: str
    command: str
    code: int
    seconds: float
    answer: str
    advice: str


@dataclass(frozen=True)
class Machine:
    """A copy of a minimal installation, with a clone of this checkout in its user's home."""

    release: str
    root: Path
    user: str

    @property
    def clone(self) -> str:
        """The clone's folder, as it is called inside."""
        return "/root/hermes" if self.user == "root" else f"/home/{self.user}/hermes"

    def prepare(self) -> None:
        """Copy what reaches the network, make the user, and clone the committed state."""
        for file in NETWORK_FILES:
            if file.is_file():
                target = self.root / file.relative_to("/")
                target.unlink(missing_ok=True)
                shutil.copyfile(file, target)
        (self.root / "etc" / "pip.conf").write_text(pip_conf(_pip_settings()), encoding="utf-8")
        # The mirror may be a snapshot, whose lists expire; their signatures are checked all the same.
        settings = self.root / "etc" / "apt" / "apt.conf.d" / "fresh-machine"
        settings.write_text('Acquire::Check-Valid-Until "false";\n', encoding="utf-8")
        if self.user != "root":
            subprocess.run(["chroot", self.root, "useradd", "--create-home", self.user], check=True)
        bundle = str(self.root / "hermes.bundle")
        # As root, git reads another user's checkout only if it is told to.
        git = ["git", "-c", "safe.directory=*", "-c", "advice.detachedHead=false"]
        subprocess.run([*git, "-C", str(PROJECT), "bundle", "create", "--quiet", bundle, "HEAD"], check=True)
        subprocess.run([*git, "clone", "--quiet", bundle, f"{self.root}{self.clone}"], check=True)
        subprocess.run(["chroot", self.root, "chown", "--recursive", f"{self.user}:", self.clone], check=True)

    def inside(self, user: str, command: Sequence[str]) -> tuple[int, str]:
        """Run a command in the clone and return its exit code and output. What it mounts goes with it."""
        mounts = [
            f"mount -t proc proc {self.root}/proc",
            f"mount -t devpts devpts {self.root}/dev/pts -o newinstance,ptmxmode=0666,mode=620",
            f"mount -t tmpfs tmpfs {self.root}/dev/shm",  # noqa: S108 - a mount point
            *(_bind(place, self.root) for place in local_places(_pip_settings())),
        ]
        mount = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            " && ".join([*mounts, 'exec "$@"']),
        ]
        enter = ["chroot", str(self.root), "setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        login = ["env", "--ignore-environment", f"--chdir={self.clone}", *_variables(user)]
        done = subprocess.run(
            [*mount, "sh", *enter, *login, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        return done.returncode, done.stdout

    def run(self, user: str, command: str, python: str) -> Run:
        """Run a shell command and return what happened."""
        print(f"{self.root.name}, {user}: {command}", file=sys.stderr, flush=True)
        began = time.monotonic()
        code, output = self.inside(user, ["sh", "-c", command])
        seconds = time.monotonic() - began
        print(output, file=sys.stderr, flush=True)
        asked = _ADVICE.search(output) if code != 0 else None
        answer, advice = hint_line(output, code), asked[1] if asked else ""
        return Run(self.release, python, user, command, code, seconds, answer, advice)


def main() -> int:
    """Run every command on every release and return 0 if all succeeded."""
    parser = argparse.ArgumentParser(prog="fresh_machine", description=str(__doc__).partition("\n")[0])
    parser.add_argument("release", nargs="*", default=list(RELEASES), help=f"of {', '.join(RELEASES)} (all)")
    parser.add_argument("--user", choices=("root", USER), action="append", help="run as this user only")
    parser.add_argument("--folder", type=Path, help="keep the minimal installations here, to use them again")
    options = parser.parse_args()
    if problem := _obstacle():
        print(problem, file=sys.stderr)
        return 69
    with tempfile.TemporaryDirectory(prefix="fresh-machine-") as scratch:
        folder = options.folder or Path(scratch)
        runs = [
            run
            for release in options.release
            for user in options.user or ("root", USER)
            for run in try_release(RELEASES.get(release, release), user, folder, Path(scratch))
        ]
    print(table(runs))
    return int(any(run.code != 0 and not run.advice for run in runs))


def _obstacle() -> str:
    """Return why no machine can be made here, with the next step, or an empty text."""
    if os.geteuid() != 0:
        return "fresh_machine: debootstrap and chroot need root's rights: run it with sudo"
    for program in ("debootstrap", "unshare"):
        if shutil.which(program) is None:
            return f"fresh_machine: {program} is not installed: apt-get install debootstrap util-linux"
    return ""


def try_release(release: str, user: str, folder: Path, scratch: Path) -> Iterator[Run]:
    """Yield the runs of all commands as `user` on a new copy of a minimal installation."""
    base = folder / release
    if not (base / "complete").exists():
        _bootstrap(release, base)
    machine = Machine(release, scratch / f"{release}-{user}", user)
    subprocess.run(["cp", "--archive", "--reflink=auto", base, machine.root], check=True)
    try:
        machine.prepare()
        python = machine.inside(user, ["python3", "--version"])[1].split()[-1]
        for command in COMMANDS:
            tried = machine.run(user, command, python)
            yield tried
            if tried.advice:  # what an administrator would do, and then the user again
                yield machine.run("root", tried.advice, python)
                yield machine.run(user, command, python)
    finally:
        shutil.rmtree(machine.root, ignore_errors=True)


def _bootstrap(release: str, base: Path) -> None:
    """Install a release's smallest system with what the README asks for."""
    print(f"Installing {release} …", file=sys.stderr, flush=True)
    shutil.rmtree(base, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", release, str(base), mirror()]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (base / "complete").touch()


def mirror(apt: Path = Path("/etc/apt"), system: Path = Path("/etc/os-release")) -> str:
    """Return the mirror that this machine has Debian's packages from, or the public one on another system."""
    is_debian = system.is_file() and re.search(
        r"^ID=debian$", system.read_text(encoding="utf-8"), re.MULTILINE
    )
    if not is_debian:
        return PUBLIC_MIRROR
    for file in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))):
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
        found = re.search(r"^(?:deb(?:\s+\[[^\]]*\])?\s+|URIs:\s*)(\S+)", text, re.MULTILINE)
        if found and "security" not in found[1]:
            return found[1]
    return PUBLIC_MIRROR


def pip_conf(settings: str) -> str:
    """Return the text of a pip.conf with the settings of pip's files, from what `pip config list` prints."""
    lines = re.findall(r"^global\.([\w-]+)='(.*)'$", settings, re.MULTILINE)
    return "[global]\n" + "".join(f"{name} = {value}\n" for name, value in lines)


def _pip_settings() -> str:
    command = [sys.executable, "-I", "-m", "pip", "config", "list"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def local_places(settings: str) -> list[Path]:
    """Return the files and folders of this machine that pip's settings name."""
    found = re.findall(r"(?:file://)?(/[^\s'\"]+)", re.sub(r"\w+://(?=[^/])\S+", "", settings))
    paths = [Path(name) for name in dict.fromkeys(found)]
    # The pages of an index, in a folder "simple" by convention, link to files beside it.
    places = [path.parent if path.name == "simple" else path for path in paths if path != CERTIFICATES]
    return [place for place in dict.fromkeys(places) if place.exists()]


def _variables(user: str) -> list[str]:
    """Return the variables of a login, and those of this machine that say how the network is reached."""
    passed_on = [f"{name}={value}" for name, value in os.environ.items() if PASSED_ON.match(name)]
    home = "/root" if user == "root" else f"/home/{user}"
    path = "/usr/local/bin:/usr/bin:/bin" + (":/usr/local/sbin:/usr/sbin:/sbin" if user == "root" else "")
    return [*passed_on, f"HOME={home}", f"USER={user}", f"PATH={path}", "LANG=C.UTF-8", "TERM=xterm"]


def _bind(place: Path, root: Path) -> str:
    """Return the shell command that shows a file or folder of this machine inside `root`."""
    target = f"{root}{place}"
    make = f"mkdir -p {target}" if place.is_dir() else f"mkdir -p {root}{place.parent} && touch {target}"
    return f"{make} && mount --bind {place} {target}"


def hint_line(output: str, code: int) -> str:
    """Return the line of a command's output that tells most: the error, pytest's summary, or the answer."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("hermes: ") for line in lines if line.startswith("hermes: ")]
    summaries = [line for line in lines if re.search(r"\d+ (passed|failed)", line)]
    best = (errors if code != 0 else []) or summaries or lines or [""]
    return best[-1]


def table(runs: Sequence[Run]) -> str:
    """Return the runs as a Markdown table."""
    rows = [("release", "Python", "user", "command", "exit code", "seconds", "answer"), ("---",) * 7]
    for run in runs:
        command, answer = (text.replace("|", "\\|") for text in (run.command, run.answer[:100]))
        cells = (
            run.release,
            run.python,
            run.user,
            f"`{command}`",
            str(run.code),
            f"{run.seconds:.0f}",
            answer,
        )
        rows.append(cells)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
