"""Tests of the workflows of the public host: their permissions, and that they run targets of the Makefile."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[1]
GITHUB = PROJECT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
PINNED = re.compile(r"- uses: [\w.-]+/[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+")
MAKE = re.compile(r"make ([a-z-]+)(?: [A-Z]+=\w+)*")

each_workflow = pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)


def parsed(file: Path) -> Any:
    """Return the content of a YAML file. YAML 1.1 reads the key `on` as true."""
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def steps(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the steps of all jobs."""
    for job in parsed(file)["jobs"].values():
        yield from job["steps"]


def test_the_workflows_are_those_of_the_documentation() -> None:
    """A test without files would always succeed."""
    assert [file.stem for file in WORKFLOWS] == ["release", "tests", "weekly"]


@each_workflow
def test_every_action_is_pinned_by_its_commit(file: Path) -> None:
    """The comment has the version. A tag could be moved to other code."""
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    assert lines
    assert [line for line in lines if not PINNED.fullmatch(line)] == []


def test_an_action_has_the_same_commit_everywhere() -> None:
    """Otherwise one of the comments is wrong."""
    text = "".join(file.read_text(encoding="utf-8") for file in WORKFLOWS)
    pins = set(re.findall(r"uses: (\S+)@(\S+)  # (\S+)", text))
    assert len({name for name, *_ in pins}) == len(pins)


@each_workflow
def test_every_command_is_a_target_of_the_makefile(file: Path) -> None:
    """A command contains no expression of the workflow, whose value could be shell code."""
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    for command in (step["run"] for step in steps(file) if "run" in step):
        found = MAKE.fullmatch(command)
        assert found is not None, command
        assert re.search(rf"^{found[1]}:", makefile, re.MULTILINE), command


@each_workflow
def test_a_workflow_has_no_permissions_but_those_of_its_jobs(file: Path) -> None:
    """Only the release may write, in jobs that run no code of the repository."""
    workflow = parsed(file)
    assert workflow["permissions"] == {}
    assert "concurrency" in workflow
    for name, job in workflow["jobs"].items():
        assert "timeout-minutes" in job
        if file.stem == "release" and name in {"attest", "publish"}:
            assert not [step for step in job["steps"] if "run" in step or "checkout" in step["uses"]]
        else:
            assert job["permissions"] == {"contents": "read"}


@each_workflow
def test_no_step_keeps_the_token_of_the_checkout(file: Path) -> None:
    """A test could read it from the settings of git."""
    checkouts = [step for step in steps(file) if step.get("uses", "").startswith("actions/checkout@")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@each_workflow
def test_no_workflow_runs_code_of_others_with_rights(file: Path) -> None:
    """`pull_request_target` and `workflow_run` have the rights of this repository."""
    triggers = parsed(file)[True]
    assert not {"pull_request_target", "workflow_run"} & set(triggers)


def test_only_an_approved_release_is_published() -> None:
    """After the tests, from the files of another job, and without a password."""
    jobs = parsed(GITHUB / "workflows" / "release.yml")["jobs"]
    assert jobs["publish"]["environment"] == "pypi"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert set(jobs["publish"]["needs"]) == {"test", "build", "attest"}
    assert "secrets" not in (GITHUB / "workflows" / "release.yml").read_text(encoding="utf-8")


def test_other_systems_are_experimental() -> None:
    """A failure there fails no change."""
    jobs = parsed(GITHUB / "workflows" / "tests.yml")["jobs"]
    assert jobs["other-systems"]["continue-on-error"] is True
    assert "experimental" in jobs["other-systems"]["name"]
    assert jobs["linux"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]


def test_a_bug_report_asks_for_the_command_and_for_doctor() -> None:
    """All questions must be answered."""
    form = parsed(GITHUB / "ISSUE_TEMPLATE" / "bug.yml")
    questions = {field["id"]: field for field in form["body"] if "id" in field}
    assert questions.keys() == {"command", "output", "doctor"}
    assert "hermes doctor --json" in questions["doctor"]["attributes"]["label"]
    assert all(question["validations"]["required"] for question in questions.values())


@pytest.mark.parametrize("name", ["dependabot.yml", "ISSUE_TEMPLATE/config.yml"])
def test_the_other_files_can_be_parsed(name: str) -> None:
    """The host ignores a file with a syntax error."""
    assert parsed(GITHUB / name)


def test_the_pull_request_template_has_three_lines() -> None:
    """A longer one would not be filled in."""
    assert len((GITHUB / "pull_request_template.md").read_text(encoding="utf-8").splitlines()) == 3


def test_the_security_policy_links_to_the_promises() -> None:
    """And it says how to report."""
    policy = (PROJECT / "SECURITY.md").read_text(encoding="utf-8")
    assert "(docs/security.md)" in policy
    assert (PROJECT / "docs" / "security.md").is_file()
    assert "private vulnerability reporting" in policy
