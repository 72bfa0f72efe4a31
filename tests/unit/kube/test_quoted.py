"""No value of a field is shown in a message of the API server or of admission, in whichever sentence it quotes it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.redact import MAX_TEXT
from app.kube.quoted import without_values

S = "Sw0rdfish9Zz"

_SENTENCES = (
    'Deployment.apps "web" is invalid: spec.template.spec.containers[0].env[0].value: Invalid value: "{}": must be x',
    "spec.x: Invalid value: '{}': x",
    'Invalid value: "ab: must {}": bad',
    'Invalid value: "a\\"{}": bad',
    'Invalid value: "ab\n{}": bad',
    'Unsupported value: "{}": supported values: "Always", "Never"',
    'Duplicate value: "{}"',
    'Duplicate value: {{"name":"{}","value":"x"}}',
    'Duplicate value: map[string]interface {{}}{{"name":"{}"}}',
    'Invalid value: core.EnvVar{{Name:"A", Value:"{}"}}: x',
    'Invalid value: &v1.EnvVar{{Name:"A", Value:"{}"}}: x',
    'Invalid value: []core.EnvVar{{core.EnvVar{{Name:"A", Value:"{}"}}}}: x',
    'Invalid value: map[string]string{{"A":"{}"}}: x',
    'Invalid value: []string{{"a", "{}"}}: x',
    'Invalid value: {{"A":"b: must", "B":"{}"}}: x',
    "Invalid value: {}: x",
    "Invalid value: `{}`: x",
    '[a: Invalid value: "{}": must be x, b: Invalid value: "{}": may not be y]',
    'Too long: may not be more than 5 bytes, got "{}"',
    'Required value: "{}"',
    'Forbidden: "{}"',
    'Not found: "{}"',
    'Forbidden: pod updates may not change fields other than `spec.containers[*].image`\n  core.PodSpec{{\n    Env: "{}",\n',
    "Forbidden: updates may not change fields\n@@ -1 +1 @@\n- map[a:{}]",
    'json: cannot unmarshal string "{}" into Go struct field EnvVar.env.value of type int',
    "json: cannot unmarshal string {}9 into Go value",
    'error decoding patch: invalid character \'x\' in "{}"',
    'unable to parse quantity "{}"',
    "couldn't parse \"{}\" as int",
    'strconv.ParseInt: parsing "{}": invalid syntax',
    'parsing time "{}" as "2006-01-02": cannot parse',
    'failed calling webhook "x": Post "https://u:{}@h/": refused',
    'failed calling webhook "x": Post "https://h/{}?timeout=10s": refused',
    'admission webhook "x" denied the request: container has env A={}',
    'admission webhook "x" denied the request: value {} not allowed',
    'admission webhook "x" denied the request: env var "A" value "{}" not allowed',
    "validation failure: path: /spec/containers/0/env/0/value/, got '{}'",
    'ValidatingAdmissionPolicy \'p\' with binding \'b\' denied request: failed expression: value == "{}"',
    'unable to decode: "{{\\"a\\":\\"{}\\"}}"',
)  # fmt: skip


@pytest.mark.parametrize("sentence", [s for s in _SENTENCES if "{}9" not in s])
def test_a_value_that_a_sentence_quotes_is_not_shown(sentence: str) -> None:
    assert S not in without_values(sentence.replace("{}", S).replace("{{", "{").replace("}}", "}"))


@pytest.mark.parametrize("sentence", [s for s in _SENTENCES if "{}9" not in s])
@pytest.mark.parametrize("value", [S, S * 200, " ".join([S] * 30)], ids=["short", "long", "of words"])
def test_a_value_that_the_cut_splits_is_not_shown(sentence: str, value: str) -> None:
    """Wherever the cut goes through it: before its quote closes, or within the word that tells that it is one."""
    if " " in value and not any(f"{mark}{{}}{mark}" in sentence for mark in "\"'`"):
        return
    text = sentence.replace("{}", value).replace("{{", "{").replace("}}", "}")
    for over in (*range(1, min(len(text), 120)), len(text) // 2, len(text) - 1):
        shown = without_values(_before(over) + text + " and more" * 300)
        assert len(shown) <= MAX_TEXT + 2
        assert not any(S[at : at + 6] in shown for at in range(len(S) - 5)), shown[-100:]


def _before(over: int) -> str:
    return ("lorem ipsum " * 1_400)[: MAX_TEXT - over - 1] + " "


@given(
    st.text(st.sampled_from("aZ9 :\"'`\\{}[](),;\n=é"), max_size=12),
    st.text(st.sampled_from("aZ9 :\"'`\\{}[](),;\n=é"), max_size=6),
)
def test_whatever_the_value_is_made_of(before: str, behind: str) -> None:
    """As Go quotes it, and as JSON."""
    value = json.dumps(f"{before}{S}{behind}", ensure_ascii=False)
    for text in (
        f"spec.x: Invalid value: {value}: must be no more than 3 bytes",
        f'spec.x: Duplicate value: {{"name":{value}}}',
        f'Invalid value: core.EnvVar{{Name:"A", Value:{value}}}: may not be so',
        f"unable to parse quantity {value}",
    ):
        assert S not in without_values(text)


@pytest.mark.parametrize(
    "text",
    [
        'pods "web-1" is forbidden: exceeded quota: small, requested: cpu=2, used: cpu=1, limited: cpu=2',
        'pods "web-1" is forbidden: error looking up service account rag7/app: serviceaccount "app" not found',
        'pods "web-1" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "web" must set securityContext)',
        'unrestricted capabilities (container "web" must set securityContext.capabilities.drop=["ALL"])',
        'seccompProfile (pod or container "web" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")',
        'Deployment.apps "web" is invalid: spec.replicas: Invalid value: must be greater than or equal to 0',
        'spec.strategy.type: Unsupported value: supported values: "Recreate", "RollingUpdate"',
        "spec.template.spec.containers[0].image: Required value",
        "spec.template.metadata.name: Too long: may not be more than 63 bytes",
        "spec.containers: Too many: must have at most 3 items",
        'no endpoints available for service "cert-manager-webhook"',
        'service "a-webhook" not found',
        'plugin type="calico" failed (add): error getting ClusterInformation: connection is unauthorized: Unauthorized',
        'failed to get sandbox runtime: no runtime for "gvisor" is configured',
        '[must-have-owner] you must provide labels: {"owner", "team"}',
        "check-limits: 'validation error: CPU and memory limits are required. rule check-limits failed at path /spec/containers/0/resources/limits/'",
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden".replace(
            "'", ""
        ),
        'admission webhook "policy.example" denied the request: no',
        'failed calling webhook "policy.example": connection refused',
        'secrets "db" not found',
        'strict decoding error: unknown field "spec.replica"',
        'deployments.apps "web" already exists',
        'no kind "Deploymnet" is registered for version "apps/v1"',
        'namespaces "rag7" not found',
    ],
)
def test_what_people_need_stays(text: str) -> None:
    assert without_values(text) == text


@pytest.mark.parametrize(
    "text",
    [
        f"check-env: 'validation error: PASSWORD={S} is not allowed. rule check-env failed at path /spec/'",
        f"check-env: 'validation error: a name of {S} is not allowed. rule check-env failed at path /spec/'",
        f'you must not have labels: {{"owner": "{S}"}}',
        f'you must provide labels: {{"owner"}} and not "{S}"',
        f'type="{S}"',
    ],
)
def test_what_stands_beside_the_name_of_an_object_is_still_a_value(text: str) -> None:
    assert S not in without_values(text)
