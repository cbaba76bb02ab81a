"""Tests of the requirements that the wheel check reads, for each Python version."""

from tools.check_wheels import requirements

TEXT = "# a comment\nrich==15.0.0\n\naichar==1.0.5; python_version < '3.14'  # another\n"


def test_markers_are_evaluated_for_the_given_python_version() -> None:
    """The version of the running interpreter makes no difference."""
    assert requirements(TEXT, "3.13") == ["rich==15.0.0", "aichar==1.0.5"]
    assert requirements(TEXT, "3.14") == ["rich==15.0.0"]
