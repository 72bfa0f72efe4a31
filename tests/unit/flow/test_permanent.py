"""What a question about an object kept in Git offers instead of a fight with its controller."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.plan import Action, FieldChange
from app.domain.target import Kind
from app.domain.workload import Manager, Workload
from app.flow.notifying.gitops_patch import for_git
from app.kube import actions
from tests.unit.kube import manifests as m
from tests.unit.kube.fake import FakeCluster
from tests.unit.kube.test_actions import built


def scaled(*managers: Manager) -> tuple[Workload, Action]:
    cluster = FakeCluster(m.deployment())
    workload = replace(m.workload(cluster.of(Kind.DEPLOYMENT, "langgraph")), managers=managers)
    return workload, built(actions.scale(workload, 5))


@pytest.mark.parametrize("manager", [Manager.ARGO_CD, Manager.FLUX, Manager.HELM])
def test_an_object_kept_in_git_comes_with_the_patch_for_its_source(manager: Manager) -> None:
    workload, action = scaled(manager)
    assert for_git(workload, [action]) == (
        """kubectl patch deployment langgraph -n rag7 -p '{"spec":{"replicas":5}}'"""
    )


@pytest.mark.parametrize("managers", [(), (Manager.HPA,)], ids=["nobody", "an autoscaler"])
def test_other_objects_come_without(managers: tuple[Manager, ...]) -> None:
    workload, action = scaled(*managers)
    assert for_git(workload, [action]) == ""
    assert for_git(None, [action]) == ""


def test_a_rollback_names_the_fields_that_differ_and_no_value_that_may_be_a_secret() -> None:
    workload, action = scaled(Manager.ARGO_CD)
    before = m.template(
        m.container(image="registry.test/api:v2", env=[{"name": "PASSWORD", "value": "hunter2"}])
    )
    after = m.template(
        m.container(image="registry.test/api:v1", env=[{"name": "PASSWORD", "value": "hunter1"}])
    )
    change = FieldChange("/spec/template", before, after)
    assert for_git(workload, [replace(action, changes=(change,))]).splitlines() == [
        "in the source of rag7/Deployment/langgraph:",
        "  /spec/template/spec/containers/[name=app]/env/[name=PASSWORD]/value: [hidden]",
        '  /spec/template/spec/containers/[name=app]/image: "registry.test/api:v1"',
    ]


def test_a_template_of_another_shape_is_named_as_a_whole_and_not_shown() -> None:
    workload, action = scaled(Manager.FLUX)
    change = replace(action.changes[0], path="/spec/template", after={"spec": {"n" * 2_000: 1}})
    assert for_git(workload, [replace(action, changes=(change,))]).splitlines() == [
        "in the source of rag7/Deployment/langgraph:",
        "  /spec/template: [hidden]",
    ]
