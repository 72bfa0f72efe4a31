"""The chart without helm: what its schema takes and refuses, what is made from the code, and what it says to people."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry

from app.flow.deciding import decide
from app.kube.wire import WRITE_SECONDS
from app.observe.metrics import Metrics
from app.policy.load import load_policy
from app.settings import FILES, Settings
from remediations import CATALOGUE
from tests.unit.chart import generate
from tests.unit.chart.generate import CHART

VALIDATOR = jsonschema_rs.Draft202012Validator(json.loads(generate.SCHEMA.read_text("utf-8")))
CI = sorted(CHART.glob("ci/*-values.yaml"))
ROOT = CHART.parents[1]


def merged(base: Any, over: Any) -> Any:
    """As helm merges values."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return {**base, **{key: merged(base.get(key), value) for key, value in over.items()}}


def with_values(path: Path = CHART / "ci" / "default-values.yaml", **over: Any) -> dict[str, Any]:
    """The defaults under the values of a file under these (`a__b=1` for a.b)."""
    found = merged(generate.values(), yaml.safe_load(path.read_text("utf-8")))
    for words, value in over.items():
        nested: Any = value
        for word in reversed(words.split("__")):
            nested = {word: nested}
        found = merged(found, nested)
    assert isinstance(found, dict)
    return found


def faults(given: dict[str, Any]) -> str:
    """All refusals as text: place and reason."""
    found = list(VALIDATOR.iter_errors(given))
    inner = [c for e in found for c in getattr(e, "context", ())]
    return "\n".join(f"/{'/'.join(map(str, e.instance_path))}: {e.message}" for e in [*found, *inner])


def test_the_parts_made_from_the_code_are_up_to_date() -> None:
    assert generate.SCHEMA.read_text("utf-8") == generate.schema_text()
    assert generate.RIGHTS.read_text("utf-8") == generate.rights_text()
    assert generate.REFERENCE.read_text("utf-8") == generate.reference_text()


def test_there_are_values_for_each_way_to_install_it() -> None:
    names = {path.name.removesuffix("-values.yaml") for path in CI}
    assert names == {"default", "postgres", "minimal-rights", "everything", "upgrade"}


@pytest.mark.parametrize("path", CI, ids=lambda p: p.name)
def test_the_schema_takes_the_values_of_ci(path: Path) -> None:
    assert faults(with_values(path)) == ""


def test_two_values_are_enough() -> None:
    (path,) = [p for p in CI if p.name.startswith("default")]
    said = yaml.safe_load(path.read_text("utf-8"))
    assert {key: set(value) for key, value in said.items()} == {"policy": {"files"}, "secret": {"name"}}


@pytest.mark.parametrize("missing", ["policy__files", "secret__name"])
def test_without_one_of_the_two_it_is_refused(missing: str) -> None:
    bare = generate.values()
    other = with_values()
    keep = {"policy": other["policy"]} if missing == "secret__name" else {"secret": other["secret"]}
    assert faults({**bare, **keep})


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ({"replicas": 2}, "/replicas: 2 is greater than the maximum of 1"),
        ({"store__kind": "postgres"}, "DATABASE_URL"),
        ({"store__kind": "mysql"}, '"sqlite"'),
        ({"settings__OIDC_ISSUER": "https://id.example.org"}, "OIDC_CLIENT_SECRET"),
        ({"settings__OIDC_ISSUER": "https://id.example.org"}, "EXTERNAL_URL"),
        ({"store__migrateKey": "x"}, "/store/migrateKey"),
        ({"policy__existingConfigMap": "x"}, "/policy/files"),
        ({"policy__existingConfigMap": "x", "policy__files": {}}, "/rbac/roles"),
        ({"ingress__enabled": True}, "/ingress/host"),
        ({"httpRoute__enabled": True}, "/httpRoute/parentRefs"),
        ({"alertmanagerConfig__enabled": True}, "/alertmanagerConfig/tokenSecret/name"),
        ({"serviceAccount__create": False}, "/serviceAccount/name"),
        ({"terminationGracePeriodSeconds": 30}, "less than the minimum of 60"),
        ({"image__digest": "latest"}, "/image/digest"),
        ({"webhookPaths": ["/api/v1/pause"]}, "/webhookPaths/0"),
        (
            {"rbac__roles": {"a": [{"apiGroups": ["*"], "resources": ["pods"], "verbs": ["get"]}]}},
            "apiGroups/0",
        ),
        (
            {"rbac__roles": {"a": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["watch"]}]}},
            "verbs/0",
        ),
        ({"settings__SLACK_BOT_TOKEN": "xoxb"}, "SLACK_BOT_TOKEN"),
        ({"settings__STATUS_PAGE_URL": "https://hooks.example.org/very-secret"}, "STATUS_PAGE_URL"),
        ({"settings__PROMETHEUS_URL": "prometheus:9090"}, "/settings/PROMETHEUS_URL"),
        ({"settings__EXTERNAL_URL": "remediator.example.org"}, "/settings/EXTERNAL_URL"),
        ({"extraEnv": [{"value": "x"}]}, '"name" is a required property'),
        ({"settings__STATE_DIR": "/x"}, "STATE_DIR"),
        ({"settings__RETENTION_DAYS": "30"}, "/settings/RETENTION_DAYS"),
        ({"settings__MODE": "off"}, "/settings/MODE"),
        ({"settings__HOST": "127.0.0.1"}, '/settings/HOST: "127.0.0.1" is not one of "0.0.0.0" or "::"'),
        ({"settings__HOST": "localhost"}, "/settings/HOST"),
        ({"secret__keys__PASSWORD": "x"}, "PASSWORD"),
        ({"settings__PROMETHEUS_URL": "http://p:99999"}, "/settings/PROMETHEUS_URL"),
        ({"networkPolicy__apiServer__cidrs": ["10.0.0.1"]}, "/networkPolicy/apiServer/cidrs/0"),
        ({"networkPolicy__apiServer__cidrs": ["10.0.0.1/33"]}, "/networkPolicy/apiServer/cidrs/0"),
        ({"networkPolicy__apiServer__cidrs": ["fd00::1"]}, "/networkPolicy/apiServer/cidrs/0"),
        ({"auditVerify__schedule": "every day at noon please"}, "/auditVerify/schedule"),
        ({"auditVerify__schedule": "61 3 * * *"}, "/auditVerify/schedule"),
        ({"auditVerify__schedule": "17 3 * * 7"}, "/auditVerify/schedule"),
        ({"ingress__host": "Host_X"}, "/ingress/host"),
        ({"ingress__host": "host..example.org"}, "/ingress/host"),
        ({"unknown": 1}, "unknown"),
    ],
    ids=lambda v: str(v)[:60],
)
def test_what_cannot_be_is_refused_with_its_key(over: dict[str, Any], told: str) -> None:
    assert told in faults(with_values(**over))


@pytest.mark.parametrize(
    "over",
    [
        {"auditVerify__schedule": "*/15 0-6,22 1,15 jan-Mar MON-FRI"},
        {"auditVerify__schedule": "@daily"},
        {"networkPolicy__apiServer__cidrs": ["10.0.0.0/8", "fd00::/8", "::1/128", "0.0.0.0/0"]},
        {"ingress__host": "*.example.org"},
        {"settings__PROMETHEUS_URL": "https://[fd00::1]:65535/prom?x=1"},
        {"settings__PROMETHEUS_URL": ""},
    ],
    ids=str,
)
def test_what_the_api_server_takes_is_taken(over: dict[str, Any]) -> None:
    assert faults(with_values(**over)) == ""


def _flip(value: object) -> Any:
    return [] if isinstance(value, dict | str) else "wrong"


def test_every_value_has_a_type_and_no_level_takes_a_key_that_nobody_knows() -> None:
    taken = []
    for path, _ in generate.walk(json.loads(generate.SCHEMA.read_text("utf-8"))):
        given = copy.deepcopy(with_values())
        place: Any = given
        for word in path[:-1]:
            place = place[word]
        if path == ("global",):
            continue
        place[path[-1]] = _flip(place[path[-1]])
        if not faults(given):
            taken.append((path, "wrong type"))
        if len(path) > 1:
            given = copy.deepcopy(with_values())
            place = given
            for word in path[:-1]:
                place = place[word]
            place["nobodyKnowsThis"] = 1
            if not faults(given):
                taken.append((path, "unknown key"))
    assert taken == []


def test_every_value_has_a_default_and_every_default_a_value() -> None:
    def keys(part: Any, schema: dict[str, Any], path: str) -> set[str]:
        known = schema.get("properties", {})
        if not known:
            return {path}
        assert set(part) <= set(known), path
        return {k for name in part for k in keys(part[name], known[name], f"{path}.{name}")}

    schema = json.loads(generate.SCHEMA.read_text("utf-8"))
    documented = {f".{'.'.join(path)}" for path, _ in generate.walk(schema)} - {".global"}
    assert keys(generate.values(), schema, "") == documented


def test_secrets_are_named_by_the_settings_and_by_nothing_else() -> None:
    found = json.loads(generate.SCHEMA.read_text("utf-8"))["$defs"]
    assert set(found["secretKeys"]["properties"]) == {name.upper() for name in FILES}
    ours = {name.upper() for name in generate.OURS}
    every = {name.upper() for name in Settings.model_fields}
    assert set(found["settings"]["properties"]) | set(found["secretKeys"]["properties"]) | ours == every


@pytest.mark.parametrize("path", CI, ids=lambda p: p.name)
def test_the_policies_and_settings_of_ci_are_good_ones(path: Path) -> None:
    given = with_values(path)
    if given["policy"]["files"]:
        assert load_policy(given["policy"]["files"], CATALOGUE).rules
    Settings(**{name.lower(): value for name, value in given["settings"].items()})


def test_the_grace_period_is_longer_than_the_longest_step() -> None:
    longest = decide.LIMIT + WRITE_SECONDS + 5  # an investigation, a write, and the server's own end
    least = json.loads(generate.SCHEMA.read_text("utf-8"))["properties"]["terminationGracePeriodSeconds"][
        "minimum"
    ]
    assert generate.values()["terminationGracePeriodSeconds"] >= least > longest


def test_chart_and_service_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'version = "{chart["appVersion"]}"' in project
    assert f"From {chart['version'].rpartition('.')[0]}" in (CHART / "UPGRADE.md").read_text("utf-8")


# --- alerts, dashboard, examples ---

REPLACED = {
    "JOB": "x",
    "QUIET": "24h",
    "REPLICAS": "3",
    "NAMESPACE": "ns",
    "AUDIT": "x-audit",
    "OVERDUE": "172800",
}
FOREIGN = {"up", "kube_job_status_failed", "kube_cronjob_status_last_successful_time", "kube_cronjob_created"}


def alerts() -> list[dict[str, str]]:
    text = (CHART / "files" / "alerts.yaml").read_text("utf-8")
    for word, value in REPLACED.items():
        text = text.replace(word, value)
    found: list[dict[str, str]] = yaml.safe_load(text)
    return found


def queries() -> list[str]:
    dashboard = json.loads((CHART / "files" / "dashboard.json").read_text("utf-8"))
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert panels
    return [*(a["expr"] for a in alerts()), *(p.replace("$job", "x") for p in panels)]


def test_alerts_and_dashboard_ask_for_metrics_that_exist_by_labels_that_they_have() -> None:
    collectors = [c for c in vars(Metrics(CollectorRegistry())).values() if hasattr(c, "_labelnames")]
    labels = {}
    for c in collectors:
        for ending in {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(c._type, [""]):
            labels[f"{c._name}{ending}"] = {*c._labelnames, "job", "le"}
    for query in queries():
        promql_parser.parse(query)
        for name, matchers in re.findall(r"([a-z_]+)\{([^}]*)\}", query):
            if name not in FOREIGN:
                assert name in labels, query
                assert set(re.findall(r"(\w+)\s*[=!]", matchers)) <= labels[name], query
        used = {n for by in re.findall(r"by \(([^)]*)\)", query) for n in re.split(r",\s*", by)}
        named = [labels[n] for n in re.findall(r"remediator_\w+", query)]
        assert used <= set().union(*named) if named else not used, query


def test_each_alert_has_a_section_that_says_what_to_do() -> None:
    text = (ROOT / "docs" / "alerts.md").read_text("utf-8")
    sections = re.findall(r"^## (\w+)$", text, re.MULTILINE)
    assert sections == [a["alert"] for a in alerts()]
    for section in text.split("\n## ")[1:]:
        assert len(section.split()) > 20, section[:40]


def test_each_trouble_that_people_must_hear_of_has_an_alert() -> None:
    wanted = {
        "HearsNothing",
        "IntakeFails",
        "RunStuck",
        "MessagesWait",
        "BudgetUsedUp",
        "AuditBroken",
        "AuditOverdue",
        "AuditMissing",
        "ReplicaGone",
    }
    assert {f"AlertRemediator{name}" for name in (*wanted, "ApprovalsExpire")} <= {
        a["alert"] for a in alerts()
    }


def test_the_examples_name_the_services_own_routes_and_scopes() -> None:
    slack = yaml.safe_load((CHART / "examples" / "slack-app.yaml").read_text("utf-8"))
    readme = (ROOT / "README.md").read_text("utf-8")
    for scope in slack["oauth_config"]["scopes"]["bot"]:
        assert f"`{scope}`" in readme
    assert slack["settings"]["interactivity"]["request_url"].endswith("/webhooks/slack/interactions")
    pager = json.loads((CHART / "examples" / "pagerduty-webhook.json").read_text("utf-8"))[
        "webhook_subscription"
    ]
    assert pager["delivery_method"]["url"].endswith("/webhooks/pagerduty")
    assert all(f"`{event}`" in readme for event in pager["events"])
    mail = yaml.safe_load((CHART / "examples" / "alertmanager.yml").read_text("utf-8"))
    (hook,) = mail["receivers"][1]["webhook_configs"]
    assert hook["url"].endswith("/webhooks/alertmanager")


def test_ingress_and_route_lead_to_webhooks_alone() -> None:
    """The web page, the API and the metrics are not for the outside."""
    paths = generate.values()["webhookPaths"]
    assert paths
    assert all(path.startswith("/webhooks/") for path in paths)
    template = (CHART / "templates" / "ingress.yaml").read_text("utf-8")
    assert template.count("range .Values.webhookPaths") == 2
    assert re.findall(r"- path: (\S+ . \S+)|type: Exact, value: (\{\{ . \}\})", template) == [
        ("{{ . }}", ""),
        ("", "{{ . }}"),
    ]


def test_the_values_of_the_guide_to_the_login_make_a_service_with_a_login() -> None:
    (text,) = re.findall(
        r"```yaml\n# values.yaml\n(.*?)```", (ROOT / "docs/login.md").read_text("utf-8"), re.DOTALL
    )
    values = yaml.safe_load(text)
    assert faults(merged(with_values(), values)) == ""
    assert set(values["secret"]["keys"]) <= {name.upper() for name in FILES}
    secrets = {"tokens": f"a:read:{'ab' * 32}", "oidc_client_secret": "a-secret-of-some-length"}
    given = {name.lower(): value for name, value in values["settings"].items()}
    login = Settings(**{**given, **secrets}).login
    assert login is not None
    assert login.redirect_uri in (ROOT / "docs/login.md").read_text("utf-8")
