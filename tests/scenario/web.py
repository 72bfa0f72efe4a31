"""The HTTP side, API and pages, over a scenario's rig: the real flow, store and operations behind real requests."""

from __future__ import annotations

import httpx
from fastapi import FastAPI

from app.cli.serve import what_if
from app.flow.notifying import scorecard
from app.flow.readiness.health import Findings
from app.flow.upkeep import views
from app.intake.auth import Access
from app.page.requests import Backtest, Doctor, SignIn, Tools
from app.page.site import add_pages
from app.web.app import create_app
from app.web.services import Views, WebServices
from tests.scenario.rig import Rig

HOST = "127.0.0.1:8080"
URL = f"http://{HOST}"


def app_of(
    rig: Rig,
    access: Access | None = None,
    degraded: dict[str, str] | None = None,
    sign_in: SignIn | None = None,
    examine: Doctor | None = None,
    replay: Backtest | None = None,
) -> FastAPI:
    """The application over `rig`; open unless `access` says otherwise. With a `sign_in` people log in there too, with
    `examine` there is a page of the doctor, with `replay` a form that tries a policy. An alert that nobody raised is judged always."""

    async def ready() -> Findings:
        return Findings({}, degraded or {})

    web = WebServices(
        store=rig.store,
        access=access or Access(),
        clock=rig.clock,
        ids=rig.services.ids,
        metrics=rig.services.metrics,
        nudge=lambda: None,
        ready=ready,
        operations=rig.operations,
        views=Views(
            remediations=lambda: views.remediations(rig.services),
            policies=lambda: views.policies(rig.services),
            budgets=lambda: views.budgets(rig.services),
            schedules=lambda: views.schedules(rig.services),
            scorecard=lambda days: scorecard.last_days(rig.services, days),
            diagnosis=lambda *of: views.diagnosis(rig.services, *of),
            trust=lambda: views.trust(rig.services),
        ),
        check_order=views.order_check(rig.services),
        check_target=views.target_check(rig.services),
        tracer=rig.services.tracer,
    )
    return add_pages(create_app(web), web, rig.services, sign_in, Tools(examine, replay, what_if))


def client_of(app: FastAPI, base: str = URL) -> httpx.AsyncClient:
    """A browser without scripts: it keeps cookies and follows nothing by itself."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base)
