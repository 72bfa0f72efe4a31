"""What has a name is documented: settings, commands, routes, gates, reasons, metrics, audit records, remediations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.domain.decision import Code
from app.domain.events import EventKind
from app.setting_texts import PREFIX
from app.settings import FILES, Settings
from remediations import CATALOGUE
from tests.unit.docs import tables
from tests.unit.docs.fences import DOCUMENTS, names, table_under
from tests.unit.docs.tables import ROOT

_REPAIR = "run: python -m tests.unit.docs.tables"


@pytest.fixture(scope="module")
def reference() -> str:
    """The text of the reference."""
    return tables.REFERENCE.read_text(encoding="utf-8")


async def test_the_made_tables_are_up_to_date(reference: str) -> None:
    for name, table in (await tables.tables()).items():
        assert table in reference, f"the table {name} is out of date; {_REPAIR}"


def test_the_parameters_of_procedures_are_told_as_they_are() -> None:
    text = tables.PROCEDURES.read_text(encoding="utf-8")
    assert tables.markdown(tables.orders()) in text, _REPAIR
    told = {name for row in table_under("docs/procedures.md", "What there is") for name in names([row[0]])}
    assert told == {name for name, r in CATALOGUE.items() if r.procedure}
    for row in tables.orders():
        assert row[-1], f"{row[0]} {row[1]} says nothing"


def test_placing_a_table_replaces_the_old_one_and_nothing_else() -> None:
    text = "a\n<!-- table: x -->\nold\n<!-- /table -->\nb\n"
    once = tables.placed(text, {"x": "| new |"})
    assert once == "a\n<!-- table: x -->\n| new |\n<!-- /table -->\nb\n"
    assert tables.placed(once, {"x": "| new |"}) == once


def test_a_table_without_a_place_is_told() -> None:
    with pytest.raises(ValueError, match="0 places for the table x"):
        tables.placed("no mark", {"x": ""})


def test_every_reason_has_its_line_in_the_order_of_the_code() -> None:
    assert names([row[0] for row in table_under("docs/reference.md", "Reasons")]) == [c.value for c in Code]


def test_every_audit_record_has_its_line() -> None:
    documented = names([row[0] for row in table_under("docs/reference.md", "Audit records")])
    assert sorted(documented) == sorted(k.value for k in EventKind)


def test_every_gate_names_at_least_one_reason_and_every_reason_of_a_gate_exists() -> None:
    rows = list(tables.gates())[1:]
    codes = {c.value for c in Code}
    for gate, _, reasons in rows:
        assert names([reasons]), gate
        assert set(names([reasons])) <= codes, gate


def test_the_readme_lists_the_gates_in_their_order() -> None:
    made = [name for row in list(tables.gates())[1:] for name in names([row[0]])]
    assert [row[0] for row in table_under("README.md", "The gates")] == made


def test_the_readme_counts_the_gates_right() -> None:
    count = len(list(tables.gates())) - 1
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"(\d+) gates|(\d+) of \d+ gates", text)) <= {(str(count), ""), ("", str(count))}


def test_the_readme_tells_every_remediation_with_its_steps_in_order() -> None:
    """Procedures have their own page."""
    rows = table_under("README.md", "The remediations")
    assert len(rows) == sum(r.procedure is None for r in CATALOGUE.values())
    for row in rows:
        (name,) = names([row[1]])
        handler = CATALOGUE[name]
        assert handler.runbook.partition(" (")[0] in row[0]
        assert tuple(n for n in names([row[3]]) if n in handler.steps) == handler.steps, name


def test_the_readme_tells_every_route() -> None:
    made = {name for row in _routes() for name in names([row[0]])}
    assert {name for row in table_under("README.md", "HTTP API") for name in names([row[0]])} == made


def _routes() -> list[list[str]]:
    return table_under("docs/reference.md", "HTTP")


def test_the_readme_shows_every_command_that_a_person_on_call_needs() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for words, _ in tables.walk():
        if len(words) == 1 and words != (
            "demo",
        ):  # `make demo`; the groups are for those who keep policy and audit
            assert f"\nremediator {words[0]}" in text, words


def test_every_command_has_its_exit_codes_and_a_test_that_shows_them(reference: str) -> None:
    rows = re.findall(r"^\| (`.*) \| .* \| `([\w/.]+)::(\w+)` \|$", reference, re.MULTILINE)
    told = [name for cell, _, _ in rows for name in names([cell])]
    assert sorted(told) == sorted(" ".join(words) for words, _ in tables.walk())
    for _, file, name in rows:
        assert f"def {name}(" in (ROOT / "tests" / "unit" / file).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_only_settings_that_exist(document: str) -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | {f"{PREFIX}URL", f"{PREFIX}TOKEN"}
    known |= {f"{PREFIX}{name.upper()}_FILE" for name in FILES}
    text = (ROOT / document).read_text(encoding="utf-8")
    assert set(re.findall(r"REMEDIATOR_[A-Z_]*[A-Z]", text)) - known == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files_that_exist(document: str) -> None:
    folder = (ROOT / document).parent
    text = (ROOT / document).read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (folder / link).exists(), link


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_in_backquotes_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for path in re.findall(r"`((?:app|remediations|tests|policies|docs)/[\w/.-]+)`", text):
        if path != "remediations/add_replicas.py" and "my_" not in path:
            assert (ROOT / path).exists() or Path(ROOT / path).suffix == "", path


def test_the_limits_of_bodies_are_the_documented_ones() -> None:
    from app.intake import alertmanager, manual, orchestration, pagerduty
    from app.web.services import Limits

    assert alertmanager.MAX_BYTES == Limits().alertmanager_bytes == 16 * 1024**2
    assert pagerduty.MAX_BYTES == orchestration.MAX_BYTES == 512 * 1024
    assert (manual.MAX_BYTES, Limits().body_seconds) == (64 * 1024, 10.0)
