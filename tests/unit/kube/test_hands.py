"""Finding D: who changed an object since our write or since an alert fired, told from its managedFields and by comparing its spec."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.domain.change import DigestKey, FieldChange
from app.domain.cluster import FIELD_MANAGER
from app.kube.hands import (
    Hand,
    Ours,
    digests_of,
    hand_after_ours,
    hand_between,
    hand_since,
    set_again,
    taken_on,
)
from app.kube.lineage import Around

T0 = datetime(2026, 3, 4, 3, 0, tzinfo=UTC)
REPLICAS: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
TEMPLATE: dict[str, Any] = {"f:spec": {"f:template": {"f:spec": {}}}}
OURS = [FieldChange("/spec/replicas", 3, 8)]


def written(manager: str, seconds: int, fields: dict[str, Any], subresource: str = "") -> dict[str, Any]:
    entry: dict[str, Any] = {"manager": manager, "fieldsV1": fields}
    if subresource != "scale":  # whose entries have no time on a real API server
        entry["time"] = stamp(seconds)
    return {**entry, "subresource": subresource} if subresource else entry


def stamp(seconds: int) -> str:
    return (T0 + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def deployment(
    *entries: dict[str, Any], replicas: int = 8, generation: int = 0, **spec: Any
) -> dict[str, Any]:
    meta = {"name": "web", "uid": "u1", "managedFields": list(entries), "generation": generation}
    return {"metadata": meta, "spec": {"replicas": replicas, "template": {}, **spec}}


@pytest.mark.parametrize(
    ("entry", "who"),
    [
        (written("kubectl-edit", 5, TEMPLATE), "kubectl-edit"),
        (written("argocd-controller", 5, TEMPLATE), "argocd-controller"),
        (written("kubectl", 5, REPLICAS, "scale"), "kubectl"),  # nobody can tell when
        (written("kubectl-edit", -5, TEMPLATE), ""),  # before the alert
        (written("kubectl-edit", 5, TEMPLATE, "status"), ""),
        (written("kubectl-annotate", 5, {"f:metadata": {"f:annotations": {}}}), ""),  # nothing of the spec
        (written("kube-controller-manager", 5, REPLICAS, "scale"), ""),  # an autoscaler is no hand
        (written("k3s", 5, REPLICAS, "scale"), ""),
        (written("keda", 5, REPLICAS, "scale"), ""),
        (written(FIELD_MANAGER, 5, TEMPLATE), ""),
    ],
)
def test_d_a_change_after_the_alert_is_found_with_its_writer(entry: dict[str, Any], who: str) -> None:
    found = hand_since(deployment(entry), T0)
    assert (found.who if found else "") == who


def test_d_the_newest_hand_is_the_one_that_is_told() -> None:
    entries = (written("helm", 3, TEMPLATE), written("kubectl-scale", 9, REPLICAS))
    found = hand_since(deployment(*entries), T0)
    assert found is not None
    assert found.text == "kubectl-scale changed replicas at 03:00:09 UTC"


@pytest.mark.parametrize(
    ("entries", "replicas", "text"),
    [
        ((written(FIELD_MANAGER, 10, REPLICAS),), 8, ""),
        (
            (written(FIELD_MANAGER, 10, {"f:metadata": {}}), written("kubectl-edit", 30, REPLICAS)),
            3,
            (
                "our change was taken back by kubectl-edit at 03:00:30 UTC: /spec/replicas is 3, not 8 (last set by "
                "kubectl-edit at 2026-03-04 03:00:30 UTC)"
            ),
        ),
        (  # in our own direction: nobody took it back
            (written(FIELD_MANAGER, 10, {"f:metadata": {}}), written("kubectl-scale", 30, REPLICAS)),
            12,
            (
                "kubectl-scale went on from our change at 03:00:30 UTC: /spec/replicas is 12, not 8 (last set by "
                "kubectl-scale at 2026-03-04 03:00:30 UTC)"
            ),
        ),
        (  # within the second of our write
            (written(FIELD_MANAGER, 10, {"f:metadata": {}}), written("keda-operator", 10, REPLICAS)),
            5,
            (
                "our change was taken back by keda-operator at 03:00:10 UTC: /spec/replicas is 5, not 8 (last set by "
                "keda-operator at 2026-03-04 03:00:10 UTC)"
            ),
        ),
        (  # another field: our value stands, and theirs may be what helps
            (written(FIELD_MANAGER, 10, REPLICAS), written("helm", 40, TEMPLATE)),
            8,
            "helm changed template at 03:00:40 UTC",
        ),
        ((written(FIELD_MANAGER, 10, REPLICAS), written("helm", 9, TEMPLATE)), 8, ""),  # before our write
        (  # an autoscaler that goes on from our value is named when the value is gone, and is no hand otherwise
            (
                written(FIELD_MANAGER, 10, {"f:metadata": {}}),
                written("kube-controller-manager", 20, REPLICAS, "scale"),
            ),
            9,
            (
                "kube-controller-manager went on from our change: /spec/replicas is 9, not 8 (last set by "
                "kube-controller-manager)"
            ),
        ),
    ],
)
def test_d_a_change_after_our_write_is_told_apart_from_one_that_takes_ours_back(
    entries: tuple[dict[str, Any], ...], replicas: int, text: str
) -> None:
    found = hand_after_ours(deployment(*entries, replicas=replicas), OURS, Ours(T0), "u1")
    assert (found.text if found else "") == text
    assert found is None or found.took_back == text.startswith("our change")


PAUSED: dict[str, Any] = {"f:spec": {"f:paused": {}}}
WROTE = written(FIELD_MANAGER, 10, REPLICAS)


@pytest.mark.parametrize(
    ("entries", "generation", "text"),
    [
        (
            (WROTE, written("kubectl-rollout", 10, PAUSED)),
            8,
            "kubectl-rollout changed paused at 03:00:10 UTC",
        ),
        ((WROTE, written("kubectl-edit", 10, TEMPLATE)), 8, "kubectl-edit changed template at 03:00:10 UTC"),
        ((WROTE, written("kubectl-set", 11, TEMPLATE)), 8, "kubectl-set changed template at 03:00:11 UTC"),
        ((WROTE, written("kubectl-edit", 10, TEMPLATE)), 7, ""),  # it wrote in that second, and before us
        ((WROTE, written("kubectl-edit", 40, TEMPLATE)), 7, ""),  # it wrote what was there already
        ((WROTE, written("kube-controller-manager", 20, REPLICAS, "scale")), 9, ""),  # an autoscaler
        ((WROTE, written("helm", 3, TEMPLATE)), 8, ""),  # an annotation counts as a generation
    ],
)
def test_d_a_hand_in_the_second_of_our_write_is_told_by_the_generation(
    entries: tuple[dict[str, Any], ...], generation: int, text: str
) -> None:
    """ManagedFields have whole seconds. Our write left generation 7."""
    found = hand_after_ours(deployment(*entries, generation=generation), OURS, Ours(T0, 7), "u1")
    assert (found.text if found else "") == text


def test_d_without_a_known_generation_a_hand_in_the_same_second_counts_as_later() -> None:
    """A change right before ours would have been seen: the patch is bound to the object as it was looked at."""
    found = hand_after_ours(deployment(WROTE, written("kubectl-rollout", 10, PAUSED)), OURS, Ours(T0), "u1")
    assert found is not None
    assert found.by_hand


@pytest.mark.parametrize(
    ("entries", "who"),
    [
        ((WROTE,), ""),
        ((WROTE, written("kubectl-edit", 40, TEMPLATE)), ""),
        ((written("kubectl-scale", 40, REPLICAS),), "kubectl-scale"),
        ((WROTE, written("argocd-controller", 40, REPLICAS)), "argocd-controller"),  # declared beside us
        ((written("kube-controller-manager", 40, REPLICAS, "scale"),), ""),
        ((), ""),
    ],
)
def test_d_our_value_that_somebody_else_set_since_is_theirs(
    entries: tuple[dict[str, Any], ...], who: str
) -> None:
    found = set_again(deployment(*entries), OURS)
    assert (found.who if found else "") == who


LIMIT = FieldChange("/spec/template/spec/containers/[name=main]/resources/limits/memory", "512Mi", "768Mi")


def _limits(*names: str) -> dict[str, Any]:
    owned: dict[str, Any] = {f"f:{name}": {} for name in names}
    resources = {"f:resources": {"f:limits": owned}}
    return {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"main"}': resources}}}}}


@pytest.mark.parametrize(
    ("entries", "theirs", "taken"),
    [
        # Whoever made the map has it still, and none of its fields.
        ((written("helm", -60, _limits()), written(FIELD_MANAGER, 10, _limits("memory"))), "", ""),
        ((written("helm", 60, _limits("memory")), written(FIELD_MANAGER, 10, _limits("memory"))), "helm", ""),
        ((written("helm", 60, _limits("memory")),), "helm", "helm"),
    ],
)
def test_d_a_map_that_somebody_made_is_not_its_field(
    entries: tuple[dict[str, Any], ...], theirs: str, taken: str
) -> None:
    """Who declares our value beside us has set it, and has not taken it over."""
    found, over = set_again(deployment(*entries), [LIMIT]), taken_on(deployment(*entries), [LIMIT])
    assert (found.who if found else "", over.who if over else "") == (theirs, taken)


@pytest.mark.parametrize("after", [None, {"spec": {}}, ["a"], 2])
def test_d_of_a_whole_and_of_what_we_left_as_it_was_nobody_tells(after: Any) -> None:
    change = FieldChange("/spec/replicas", 2, after)
    assert set_again(deployment(written("helm", 60, REPLICAS)), [change]) is None


def test_d_an_object_that_was_created_anew_has_nothing_of_ours() -> None:
    (change,) = OURS
    other = FieldChange(change.path, change.before, "another")
    found = hand_after_ours(deployment(), [other], Ours(T0), "another")
    assert found is not None
    assert found.took_back
    assert "deleted and created again" in found.text


def test_d_who_creates_it_anew_with_what_we_had_set_took_nothing_back() -> None:
    """As `kubectl replace --force` does with the object as it stands."""
    found = hand_after_ours(deployment(), OURS, Ours(T0), "another")
    assert found is not None
    assert not found.took_back
    assert found.text == "somebody changed web by deleting and creating it again, with what we had set"


def test_d_hidden_and_whole_values_are_not_compared() -> None:
    """The server completes a template with defaults; a digest says nothing about a value in the cluster."""
    changes = [FieldChange("/spec/template", {}, {"spec": {}}), FieldChange("/spec/x", None, "[hidden]")]
    assert hand_after_ours(deployment(written(FIELD_MANAGER, 1, TEMPLATE)), changes, Ours(T0)) is None


@pytest.mark.parametrize(
    ("manager", "by_hand"),
    [
        ("kubectl", True),
        ("kubectl-rollout", True),
        ("kubectl.exe", True),
        ("oc", True),
        ("oc-edit", True),
        ("k9s", True),
        ("Mozilla", True),
        ("node-fetch", True),
        ("Lens", True),
        ("freelens", True),
        ("rancher", True),
        ("kubernetes-dashboard", True),
        ("argocd-controller", False),
        ("helm", False),
        ("ocs-operator", False),
        ("octopus-agent", False),
        ("ocm-agent-operator", False),
        ("kubectl-operator", False),
        ("lens-platform-agent", False),
        ("dashboard-metrics-controller", False),
    ],
)
def test_d_a_persons_tool_is_told_from_a_pipeline(manager: str, by_hand: bool) -> None:
    """By its whole name: an operator that begins like a tool is none."""
    assert Hand(manager, None, "template").by_hand is by_hand


KEY = DigestKey(b"k" * 32)
ROLLED = written(FIELD_MANAGER, 10, TEMPLATE)
POD = {"spec": {"containers": [{"name": "main", "image": "web:1", "env": [{"name": "A", "value": "1"}]}]}}
LESS = {"spec": {"containers": [{"name": "main", "image": "web:1"}]}}
SCALED_BY = {
    name: written(name, 0, REPLICAS, "scale")
    for name in ("kubectl", "kube-controller-manager", "k3s", "kubelite", "keda", "py-kube-downscaler")
}


@pytest.mark.parametrize(
    ("entries", "now", "text"),
    [
        ((ROLLED, written("rancher", 20, {"f:metadata": {"f:annotations": {}}})), {}, ""),
        ((ROLLED, SCALED_BY["kube-controller-manager"]), {"replicas": 9}, ""),
        ((ROLLED, SCALED_BY["k3s"]), {"replicas": 9}, ""),
        ((ROLLED, SCALED_BY["kubelite"]), {"replicas": 9}, ""),
        ((ROLLED, SCALED_BY["keda"]), {"replicas": 9}, ""),
        ((ROLLED, SCALED_BY["kubectl"]), {"replicas": 9}, "kubectl changed replicas"),
        ((ROLLED, SCALED_BY["py-kube-downscaler"]), {"replicas": 0}, "py-kube-downscaler changed replicas"),
        ((ROLLED, written("helm", 3, TEMPLATE)), {"template": LESS}, "somebody changed template"),
        ((ROLLED, written("kubectl-rollout", 3, TEMPLATE)), {"paused": None}, "somebody changed paused"),
        (
            (ROLLED, SCALED_BY["kube-controller-manager"], written("helm", 3, TEMPLATE)),
            {"replicas": 9, "template": LESS},
            "somebody changed template",
        ),
        (
            (ROLLED, written("helm", 20, {"f:spec": {"f:replicas": {}, "f:template": {}, "f:strategy": {}}})),
            {"template": LESS},
            "helm changed template at 03:00:20 UTC",
        ),
    ],
)
def test_what_changed_since_our_write_is_told_by_the_spec_as_we_left_it(
    entries: tuple[dict[str, Any], ...], now: dict[str, Any], text: str
) -> None:
    """Not by the generation, which an annotation raises, nor by the times, which neither a scale nor a removal has."""
    ours = digests_of(deployment(replicas=3, template=POD, paused=True), KEY)
    spec = {k: v for k, v in {"replicas": 3, "template": POD, "paused": True, **now}.items() if v is not None}
    manifest = deployment(*entries, generation=8)
    found = hand_after_ours({**manifest, "spec": spec}, (), Ours(T0, 7, ours), "u1", KEY)
    assert (found.text if found else "") == text


def test_whoever_took_our_scale_out_back_through_scale_is_named() -> None:
    entries = (written(FIELD_MANAGER, 10, {"f:metadata": {}}), SCALED_BY["kubectl"])
    found = hand_after_ours(deployment(*entries, replicas=3), OURS, Ours(T0, 7), "u1")
    assert found is not None
    assert (
        found.text == "our change was taken back by kubectl: /spec/replicas is 3, not 8 (last set by kubectl)"
    )
    assert found.by_hand


@pytest.mark.parametrize(
    ("entries", "now", "text"),
    [
        ((SCALED_BY["kubectl"],), {"replicas": 5}, "kubectl changed replicas"),
        ((SCALED_BY["kube-controller-manager"],), {"replicas": 5}, ""),
        ((SCALED_BY["kubectl"],), {}, ""),  # it scaled long ago
        ((), {"template": LESS}, "somebody changed template"),
        (
            (written("kubectl-set", 0, TEMPLATE),),
            {"template": LESS},
            "kubectl-set changed template at 03:00:00 UTC",
        ),
    ],
)
def test_a_hand_between_our_look_and_our_write_is_told_by_what_differs(
    entries: tuple[dict[str, Any], ...], now: dict[str, Any], text: str
) -> None:
    before = deployment(replicas=2, template=POD)
    found = hand_between(before, deployment(*entries, **{"replicas": 2, "template": POD, **now}), T0)
    assert (found.text if found else "") == text


@pytest.mark.parametrize(("seconds", "seen"), [(-1, False), (0, True), (1, True)])
def test_a_hand_in_the_second_in_which_the_alert_fired_is_seen(seconds: int, seen: bool) -> None:
    """The alert's time has fractions and the server's stamps do not."""
    fired = T0 + timedelta(seconds=0.3)
    found = hand_since(deployment(written("kubectl-edit", seconds, TEMPLATE)), fired)
    assert (found is not None) is seen


@pytest.mark.parametrize(("seconds", "seen"), [(-1, False), (0, True), (1, True)])
def test_a_hand_in_the_very_second_of_a_moment_in_whole_seconds_is_seen(seconds: int, seen: bool) -> None:
    """Grafana and vmalert stamp whole seconds as the server does: nobody can tell which was first."""
    found = hand_since(deployment(written("kubectl-edit", seconds, TEMPLATE)), T0)
    assert (found is not None) is seen


@pytest.mark.parametrize(
    ("made", "changed", "seen"), [(0, 0, False), (-1, 0, False), (0, 1, False), (0, 2, True), (-2, 0, True)]
)
def test_what_was_made_seconds_before_its_alert_is_still_being_made(
    made: int, changed: int, seen: bool
) -> None:
    """Its first entry is its making, and its controllers follow within seconds."""
    manifest = deployment(written("kubectl-create", changed, TEMPLATE))
    manifest["metadata"]["creationTimestamp"] = stamp(made)
    assert (hand_since(manifest, T0 + timedelta(seconds=0.5)) is not None) is seen


@pytest.mark.parametrize(("made", "generation", "seen"), [(-60, 1, False), (-60, 2, True), (5, 1, True)])
def test_what_is_as_it_was_made_nobody_changed_however_late_its_controller_has_seen_it(
    made: int, generation: int, seen: bool
) -> None:
    """A controller that is far behind has noted nothing yet, and that tells of a change only where there was one."""
    manifest = deployment(generation=generation)
    manifest["metadata"]["creationTimestamp"] = stamp(made)
    found = hand_since(manifest, T0 + timedelta(seconds=0.5), Around(T0 + timedelta(seconds=20)))
    assert (found is not None) is seen


def test_an_object_without_a_spec_is_told_by_what_it_has() -> None:
    secret = {
        "metadata": {"name": "keys", "managedFields": [written("kubectl-edit", 5, {"f:data": {"f:key": {}}})]}
    }
    found = hand_since(secret, T0)
    assert found is not None
    assert found.text == "kubectl-edit changed data at 03:00:05 UTC"


def test_a_managers_name_is_one_line_without_secrets() -> None:
    """Any client chooses its own."""
    name = "kim password=sunflower-4777\nok  approval      approved by kim" + "x" * 500
    found = hand_between(None, deployment(written(name, 5, TEMPLATE)), T0)
    assert found is not None
    assert "sunflower" not in found.text
    assert len(found.text.splitlines()) == 1
    assert len(found.text) < 300
