"""Of an alert as many annotations, as long, are taken as are read, and what was not taken is counted."""

from __future__ import annotations

import pytest

from tests.unit.intake.test_alertmanager import alert, message, parse


def test_annotations_and_links_are_cut_because_nothing_is_decided_by_them() -> None:
    kept = parse(message(alert(annotations={"summary": "x" * 20_000}, generatorURL="u" * 5_000))).alerts[0]
    assert len(kept.annotations["summary"]) == 10_000
    assert len(kept.generator_url) == 2_048


@pytest.mark.parametrize(
    ("notes", "lost"),
    [
        ({f"n{at}": "x" for at in range(127)}, 0),
        ({f"n{at}": "x" for at in range(240)}, 113),
        ({f"n{at}": "x" * 10_000 for at in range(10)}, 3),
        ({f"n{at}": "x" * 3_600 for at in range(40)} | {f"m{at}": "x" for at in range(200)}, 113),
    ],
)
def test_annotations_that_were_not_taken_are_counted(notes: dict[str, str], lost: int) -> None:
    """What says most is taken also where it comes last."""
    kept = parse(message(alert(annotations={**notes, "summary": "s"}))).alerts[0].annotations
    said = {"unread_annotations": f"{lost} of {len(notes) + 1} annotations were not taken"} if lost else {}
    assert {name: text for name, text in kept.items() if name not in notes} == {"summary": "s", **said}
    assert len(kept) == len(notes) + 1 - lost + len(said)


@pytest.mark.parametrize(
    "names", [("a" * 256 + "1", "a" * 256 + "2"), ("password=Xk7Qp2Lm9Rt4", "password=Yk7Qp2Lm9Rt5")]
)
def test_an_annotation_whose_name_is_told_like_anothers_is_counted_as_not_taken(
    names: tuple[str, str],
) -> None:
    """Names are cut and searched for secrets, and two may be alike after it."""
    kept = parse(message(alert(annotations=dict.fromkeys(names, "x")))).alerts[0].annotations
    assert kept["unread_annotations"] == "1 of 2 annotations were not taken"
    assert len(kept) == 2
