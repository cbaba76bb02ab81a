"""Which packages are looked for, by Python version."""

from tools.check_wheels import requirements

TEXT = "# a comment\nrich==15.0.0\n\naichar==1.0.5; python_version < '3.14'  # another\n"


def test_markers_are_those_of_the_version_that_is_asked_for() -> None:
    """The interpreter that runs the check does not decide."""
    assert requirements(TEXT, "3.13") == ["rich==15.0.0", "aichar==1.0.5"]
    assert requirements(TEXT, "3.14") == ["rich==15.0.0"]
