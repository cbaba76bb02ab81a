"""The plan as table rows and as a JSON object."""

import json
from typing import Any

import pytest

from hermes_cli.models.plan.planner import choose
from hermes_cli.models.plan.refusal import DoesNotFit
from hermes_cli.models.plan.report import candidates_of, plan_object, stacked, table
from hermes_cli.screen.columns import fitted
from tests.models.plan.machines import gpu, machine, openhermes

SMALL = machine(gpu("RTX 3070", 8, 7.6, (8, 6)), ram=32, free=27)


def test_the_rows_show_the_sizes_of_each_option() -> None:
    """The rows show the sizes of each option; one is marked as chosen, one shows its shortfall."""
    head, *rows = table(choose(SMALL, openhermes()).considered)
    assert head[3:9] == ("context", "weights", "KV cache", "headroom", "needs", "free")
    assert rows[0] == ("", "bf16", "cuda:0", "8,192", "13.5", "1.0", "1.3", "15.8", "7.6", "8.2 GiB short")
    assert rows[2] == ("→", "4-bit nf4", "cuda:0", "8,192", "3.8", "1.0", "0.6", "5.4", "7.6", "chosen")


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_terminal_shows_each_option_in_short_lines(width: int) -> None:
    """Only a long reason is wrapped."""
    text = stacked(choose(SMALL, openhermes()).considered)
    first, sizes, parts, *_ = text.split("\n")
    assert first == "  bf16 on cuda:0: 8.2 GiB short"
    assert sizes == "   context 8,192, needs 15.8 of 7.6 GiB"
    assert parts == "   weights 13.5, KV 1.0, headroom 1.3"
    rows = fitted(text, width, is_table=True).split("\n")
    assert max(map(len, rows)) <= width
    assert [row for row in rows if row.startswith("   context")] == text.split("\n")[1::3]


def test_the_object_holds_the_model_the_plan_and_the_reason() -> None:
    """The object can be encoded as JSON and holds the model, the plan and the reason."""
    model = openhermes()
    report: dict[str, Any] = json.loads(json.dumps(plan_object(model, choose(SMALL, model), fetched=False)))
    assert (report["model"], report["fetched"], report["error"]) == ("openhermes-2:16bit", False, None)
    assert (report["plan"]["devices"], report["plan"]["quantisation"]) == (["cuda:0"], "nf4")
    assert report["plan"]["memory_needed"] == report["considered"][2]["memory_needed"]
    assert report["reason"]


def test_the_object_of_a_refusal_holds_the_error_and_no_plan() -> None:
    """The object of a refusal holds the error and the considered options, and no plan."""
    model = openhermes()
    with pytest.raises(DoesNotFit) as caught:
        choose(machine(gpu("GTX 1650", 4, 3.8, (7, 5))), model)
    report = json.loads(json.dumps(plan_object(model, caught.value, fetched=True)))
    assert report["plan"] is None
    assert "does not fit" in report["error"]
    assert len(candidates_of(caught.value)) == len(report["considered"]) == 5
