"""Loading: several files become one policy, and everything that is wrong is told with its place."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from app.domain.decision import Mode
from app.domain.errors import BadInput
from app.domain.quantities import Percent
from app.policy.faults import PolicyFault, PolicyInvalid
from app.policy.load import load_dir, load_policy
from app.policy.model import Day, Otherwise, Rule
from tests.unit.policy.cases import CATALOGUE, HEAD, policy_of, text_of


def faults_of(*texts: str) -> list[str]:
    """The faults of files a.yaml, b.yaml, ... as they are shown."""
    with pytest.raises(PolicyInvalid) as caught:
        load_policy({f"{chr(97 + n)}.yaml": dedent(text) for n, text in enumerate(texts)}, CATALOGUE)
    return [str(fault) for fault in caught.value.faults]


def test_a_rule_takes_from_the_policy_what_it_does_not_say() -> None:
    policy = policy_of(
        "cooldown: 20m\nblast_radius: {pods: 10%, targets_in_flight: 2}\nblocked_by: [a=b]\n",
        "blast_radius: {pods: 50%}\nblocked_by: [c=d]\notherwise: [escalate]\n",
    )
    rule = policy.rules[0]
    assert rule.cooldown == timedelta(minutes=20)
    assert (rule.blast_radius.pods, rule.blast_radius.targets_in_flight) == (Percent(5_000), 2)
    assert [str(w) for w in rule.blocked_by] == ["a=b", "c=d"]
    assert rule.otherwise == (Otherwise.ESCALATE,)
    assert rule.verify.settle == timedelta(minutes=2)


def test_a_rule_that_names_no_mode_only_observes() -> None:
    rule = policy_of(
        more_rules="\n- {name: b, when: a=b, remediation: restart, target: {name: {default: x}}}\n"
    ).rules[1]
    assert rule.mode is Mode.OBSERVE


def test_a_rule_reads_back_from_its_json() -> None:
    rule = policy_of(rule="limits: {per_target: 2 per 1h}\nblocked_by: [a=b]\nparams: {scale_to: 7}\n").rules[
        0
    ]
    assert Rule.from_json(rule.to_json()) == rule


def test_rules_of_all_files_are_in_the_order_of_the_file_names() -> None:
    first = "version: 1\nrules:\n  - {name: first, when: a=b, remediation: restart, target: {name: {default: x}}}\n"
    policy = load_policy({"b.yaml": text_of(), "a.yaml": first}, CATALOGUE)
    assert [rule.name for rule in policy.rules] == ["first", "errors"]


def test_a_policy_knows_where_its_rules_stand_and_that_is_no_content() -> None:
    first = "version: 1\nrules:\n  - {name: first, when: a=b, remediation: restart, target: {name: {default: x}}}\n"
    texts = {"b.yaml": text_of(), "a.yaml": first}
    policy = load_policy(texts, CATALOGUE)
    line = text_of().splitlines().index("rules:") + 2
    assert policy.places == {"first": "a.yaml:3", "errors": f"b.yaml:{line}"}
    moved = load_policy({**texts, "a.yaml": f"# a comment\n{first}"}, CATALOGUE)
    assert (moved.places["first"], moved.version) == ("a.yaml:4", policy.version)
    assert "places" not in policy.model_dump()


def test_the_weekly_scorecard_is_posted_only_where_the_policy_says_so() -> None:
    assert policy_of().scorecard is None
    post = policy_of("scorecard: {timezone: Europe/Berlin}\n").scorecard
    assert post is not None
    assert (post.day, post.at, str(post.timezone)) == (Day.MON, 9 * 60, "Europe/Berlin")


def test_the_version_follows_the_content_and_not_the_comments() -> None:
    policy = policy_of()
    assert len(policy.version) == 12
    assert load_policy({"x.yaml": "# a comment\n" + text_of()}, CATALOGUE).version == policy.version
    assert policy_of("cooldown: 16m\n").version != policy.version


def test_all_faults_of_all_files_are_told_with_their_places() -> None:
    first = """\
        version: 1
        scope: {namespaces: [rag7]}
        colldown: 15m
        freshness: soon
        budgets:
          - {per: clutser, limit: 3 per hour}
        rules:
          - name: one
            when: alertname=~"(a+"
            remediation: high-error-rate
            mode: automatic
            target: {name: {default: x}}
          - name: two
            when: alertname="A"
            remediation: high-eror-rate
            target: {name: {default: x}}
          - name: three
            when: alertname="B"
            remediation: high-error-rate
            params: {scale_too: 5, recent_deployment: 3}
            steps: [scaleup]
            target: {name: {default: x}}
        """
    second = """\
        version: 2
        rules:
          - {name: two, when: 'alertname="A", severity="page"', remediation: restart, target: {name: {default: x}}}
          - {remediation: restart}
        """
    assert faults_of(first, second) == snapshot(
        [
            'a.yaml:3:1: unknown key "colldown", did you mean "cooldown"? (allowed: version, mode, scope, budgets, windows, freeze, storm, flapping, blocked_by, blast_radius, freshness, cooldown, verify, approval, ownership, new_pods, trust, labels, otherwise, scorecard, heartbeats, escalation, rules)',
            "a.yaml:4:12: expected a duration such as 90s, 15m, 1h or 7d, got 'soon'",
            'a.yaml:6:11: unknown value "clutser", did you mean "cluster"? (allowed: cluster, namespace, target, rule, remediation)',
            "a.yaml:6:27: expected a duration such as 90s, 15m, 1h or 7d, got 'hour'",
            "a.yaml:9:11: bad regular expression '(a+': missing ): (a+",
            'a.yaml:11:11: unknown value "automatic", did you mean "auto"? (allowed: observe, approve, auto, earned)',
            'a.yaml:15:18: unknown remediation "high-eror-rate", did you mean "high-error-rate"? (allowed: high-error-rate, restart)',
            'a.yaml:20:14: unknown key "scale_too", did you mean "scale_to"? (allowed: recent_deployment, scale_to)',
            "a.yaml:20:47: expected text, got 3",
            'a.yaml:21:13: unknown step "scaleup", did you mean "scale-up"? (allowed: roll-back, scale-up)',
            'b.yaml:1:10: unknown value "2" (allowed: 1)',
            'b.yaml:3:12: the name "two" is taken by the rule at a.yaml:13',
            'b.yaml:3:23: never reached: "two" at a.yaml:13 matches every alert that this rule matches',
            'b.yaml:4:5: the key "name" is missing',
            'b.yaml:4:5: the key "when" is missing',
        ]
    )


@pytest.mark.parametrize(
    ("head", "rule", "place", "message"),
    [
        ("", "cooldown: 0s\n", "9:15", "mode auto needs a cooldown"),
        ("", "freshness: 0s\n", "9:16", "refuses every alert"),
        ("", "verify: {settle: 10m, timeout: 10m}\n", "9:13", "timeout must be longer than settle"),
        ("", "verify: {settle: 1m, timeout: 2m, poll: 90s}\n", "9:13", "poll is longer"),
        ("", "verify: {poll: 0s}\n", "9:20", "poll above 0s"),
        ("", "approval: {expires: 30s}\n", "9:25", "nobody can answer"),
        ("", "otherwise: [next, undo]\n", "9:16", 'must be "escalate"'),
        ("", "otherwise: []\n", "9:16", 'must be "escalate"'),
        ("", "otherwise: [undo, undo, escalate]\n", "9:16", "twice"),
        ("", "steps: [roll-back, roll-back]\n", "9:24", "twice"),
        ("", "blast_radius: {targets_in_flight: 0}\n", "9:39", "greater than or equal to 1"),
        ("", "blast_radius: {pods: 130%}\n", "9:26", "at most 100%"),
        ("", "blast_radius: {pods: 0.3}\n", "9:26", "expected a percentage"),
        ("", "limits: {per_target: often}\n", "9:26", "expected limits"),
        ("", "params: [1]\n", "9:13", "expected keys with values"),
        ("", "steps: roll-back\n", "9:12", "expected a list"),
        ("", "cooldown: 900\n", "9:15", "expected a duration"),
        ("storm: {targets: 1}\n", "", "3:18", "greater than or equal to 2"),
        ("storm: {within: 0s}\n", "", "3:17", "empty span"),
        ("flapping: {within: 0s}\n", "", "3:20", "empty span"),
        ("freeze: [{name: a, from: '10:00', to: '10:00', timezone: UTC}]\n", "", "3:10", "the same"),
        (
            "freeze: [{name: a, from: '24:00', to: '10:00', timezone: UTC}]\n",
            "",
            "3:26",
            "cannot start at 24:00",
        ),
        ("freeze: [{name: a, timezone: Europe/Berln}]\n", "", "3:30", "unknown time zone"),
        ("freeze: [{name: a, timezone: UTC, days: [friday]}]\n", "", "3:42", 'unknown value "friday"'),
        ("freeze: [{name: a, timezone: UTC, dates: [24.12.2026]}]\n", "", "3:43", "expected a date"),
        (
            "freeze: [{name: a, timezone: UTC, days: [fri], dates: [2026-12-24]}]\n",
            "",
            "3:10",
            "exclude each other",
        ),
        ("windows: [{name: a, timezone: UTC}, {name: a, timezone: UTC}]\n", "", "3:44", "is taken"),
        ("windows: [{name: a}]\n", "", "3:11", 'the key "timezone" is missing'),
        ("scorecard: {day: mon}\n", "", "3:12", 'the key "timezone" is missing'),
        ("scorecard: {day: monday, timezone: UTC}\n", "", "3:18", 'unknown value "monday"'),
        ("scorecard: {at: '24:00', timezone: UTC}\n", "", "3:17", "no day has a 24:00"),
        ("scorecard: {at: soon, timezone: UTC}\n", "", "3:17", "expected a time of day"),
        ("scorecard: {timezone: Europe/Berln}\n", "", "3:23", "unknown time zone"),
        ("scorecard: {hour: '09:00', timezone: UTC}\n", "", "3:13", 'unknown key "hour"'),
        ("budgets: [{per: rule, limit: 1 per 1h}, {per: rule, limit: 1 per 1h}]\n", "", "3:10", "twice"),
        ("version: 1\n", "", "3:1", 'key "version" stands here twice'),
        ("scope: {namespaces: []}\n", "", "3:1", "twice"),
        ("mode: &m !!python/name:os.system auto\n", "", "3:7", "tag"),
        ("mode: [auto\n", "", "4:6", "not YAML"),
        ("? [a]\n: b\n", "", "3:3", "a key must be plain text"),
    ],
)
def test_each_thing_that_cannot_work_is_refused_at_its_place(
    head: str, rule: str, place: str, message: str
) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        policy_of(head, rule)
    assert [f"{f.line}:{f.column}" for f in caught.value.faults if message in f.message] == [place], str(
        caught.value
    )


TWO_RULES = """\
    version: 1
    scope: {{namespaces: [rag7], protected_kinds: [DaemonSet]}}
    rules:
      - {{name: one, when: 'a="b"', remediation: restart, target: {{name: {{default: x}}}}}}
      - {{name: {name}, when: '{when}', remediation: restart, target: {target}}}
    """
NAMED = "{name: {default: x}}"


@pytest.mark.parametrize(
    ("name", "when", "target", "message"),
    [
        ("one", 'c="d"', NAMED, 'the name "one" is taken by the rule at a.yaml:4'),
        ("two", 'a="b"', NAMED, 'never reached: "one" at a.yaml:4'),
        ("two", 'a="b", c="d"', NAMED, "never reached"),
        ("two", 'c="d"', "{name: {}}", "the target has no name"),
        ("two", 'c="d"', "{pod: {}}", "pod needs a label"),
        ("two", 'c="d"', "{kind: Pod, name: {default: x}}", "Pod is not a kind of target"),
        ("two", 'c="d"', "{kind: DaemonSet, name: {default: x}}", "the scope protects DaemonSet"),
        ("two", 'c="d"', "{name: {default: x}, namespace: {default: other}}", "outside of the scope"),
        ("two", 'c="d"', "{name: {default: x}, namespace: {default: kube-system}}", "outside of the scope"),
    ],
)
def test_rules_that_can_never_be_used_are_refused(name: str, when: str, target: str, message: str) -> None:
    (fault,) = faults_of(TWO_RULES.format(name=name, when=when, target=target))
    assert message in fault
    assert fault.startswith("a.yaml:5:")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ((HEAD, HEAD), 'b.yaml:2:1: "scope" is said in a.yaml already'),
        (("version: 1\n",), 'a.yaml:1:1: no file has a "scope"'),
        (("",), "a.yaml:1:1: the file is empty"),
        (("- 1\n",), "a.yaml:1:1: expected keys with values"),
        ((HEAD + "---\n" + HEAD,), "not YAML"),
        (("scope: {namespaces: [rag7]}\n",), 'the key "version" is missing'),
        ((HEAD + "rules: {a: b}\n",), "a.yaml:3:8: expected a list of rules"),
        ((HEAD + "rules: [a]\n",), "a.yaml:3:9: "),
        ((HEAD + "budgets: &x [*x]\n",), "an alias contains itself"),
        ((HEAD + f"budgets: {'[' * 3_000}{']' * 3_000}\n",), "nested too deep"),
        ((HEAD + "storm: !storm {targets: 3}\n",), "a.yaml:3:8: the tag !storm is not accepted"),
        ((HEAD + 'mode: "\\ud800"\n',), "a.yaml:3:7: half of a surrogate pair is no text"),
    ],
)
def test_files_that_do_not_fit_are_refused(texts: tuple[str, ...], message: str) -> None:
    assert any(message in fault for fault in faults_of(*texts)), faults_of(*texts)


def test_aliases_cannot_multiply_without_bound() -> None:
    bomb = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
        for before, name in zip("abcdef", "bcdefg", strict=True)
    )
    assert any("more than 20000 values" in fault for fault in faults_of(HEAD + bomb))


def test_no_policy_at_all_is_refused() -> None:
    with pytest.raises(PolicyInvalid, match="scope"):
        load_policy({}, CATALOGUE)


@given(st.text(max_size=60), st.sampled_from(["", HEAD, text_of()]))
def test_any_text_is_a_policy_or_a_list_of_faults(text: str, before: str) -> None:
    try:
        outcome: object = load_policy({"a.yaml": before + text}, CATALOGUE)
    except PolicyInvalid as error:
        outcome = [f for f in error.faults if f.line >= 1 and f.column >= 1 and f.message]
    assert outcome


def test_a_folder_is_read_without_its_tests(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(text_of(), "utf-8")
    (tmp_path / "policy.test.yaml").write_text("cases: []", "utf-8")
    (tmp_path / "schema.json").write_text("{}", "utf-8")
    assert load_dir(tmp_path, CATALOGUE) == policy_of()


def test_a_folder_without_a_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no policy file"):
        load_dir(tmp_path, CATALOGUE)
    with pytest.raises(BadInput, match="cannot read"):
        load_dir(tmp_path / "missing", CATALOGUE)
    (tmp_path / "a.yaml").write_bytes(b"\xff")
    with pytest.raises(BadInput, match="cannot read"):
        load_dir(tmp_path, CATALOGUE)


def test_a_fault_is_data_too() -> None:
    fault = PolicyFault("a.yaml", 3, 1, 'unknown key "x"', ("mode", "scope"))
    assert str(fault) == 'a.yaml:3:1: unknown key "x" (allowed: mode, scope)'
    assert fault.to_json() == {
        "file": "a.yaml",
        "line": 3,
        "column": 1,
        "message": 'unknown key "x"',
        "allowed": ["mode", "scope"],
    }


@pytest.mark.parametrize("name", ["Rag_7", "a b", "", "x" * 64, "rag7/"])
def test_a_namespace_that_cannot_be_is_a_slip_of_the_pen(name: str) -> None:
    (fault,) = faults_of(f'version: 1\nscope: {{namespaces: [rag7, "{name}"]}}\nrules: []\n')
    assert fault.startswith("a.yaml:2:28: ")
    assert "no namespace is called so" in fault


def test_namespaces_may_be_patterns() -> None:
    head = 'version: 1\nscope: {namespaces: ["*", "team-?", "[ab]-x"], exclude_namespaces: ["kube-*"]}\nrules: []\n'
    assert load_policy({"a.yaml": head}, CATALOGUE).scope.covers("rag7")
