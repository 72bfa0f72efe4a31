"""Process settings: environment variables with the prefix REMEDIATOR_, each secret also as ..._FILE, never both.

Owns names, defaults and refusals: a value that does not parse ends the start with the setting's name. Policy is not
here: it lives in documents that a team reviews.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.domain.decision import Mode
from app.domain.errors import BadInput
from app.domain.json import decoded
from app.domain.urls import fault_in
from app.intake.auth import Access, parse_secrets, parse_tokens
from app.notify.pagerduty import PagerDutyAccess

PREFIX = "REMEDIATOR_"
_HALF = re.compile("[\ud800-\udfff]")  # what Python makes of bytes in the environment that are not UTF-8
_SLACK_ID = re.compile(r"[USW][A-Z0-9]{2,30}", re.ASCII)
_MEMBER = re.compile(r"[A-Za-z0-9._-]{1,64}|slack:[UW][A-Z0-9]{2,30}", re.ASCII)
_URLS = (
    "prometheus_url",
    "alertmanager_url",
    "slack_api_url",
    "pagerduty_api_url",
    "pagerduty_events_url",
    "status_page_url",
)


class Settings(BaseSettings):
    """All settings. Every one is documented in the README's table; a test holds both together."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    state_dir: Path = Field(Path("state"), description="folder of the SQLite files")
    database_url: SecretStr | None = Field(
        None, description="SQLite in STATE_DIR without it; postgresql://... to scale out"
    )
    policy_dir: Path = Field(Path("policies"), description="folder of the policy documents")
    cluster: Literal["", "kubeconfig", "in-cluster", "simulated"] = Field(
        "", description="which cluster; empty: in-cluster when running in a pod, else kubeconfig"
    )
    kube_context: str = Field("", description="context of the kubeconfig; empty: the current one")
    host: str = Field("127.0.0.1", description="address to bind")
    port: int = Field(8080, ge=0, le=65535, description="port to bind; 0 takes a free one")
    mode: Literal["observe", "normal"] = Field(
        "normal", description="observe: a ceiling over all rules, nothing is changed"
    )
    replica: str = Field("", description="name of this replica, kept across restarts; empty: the host name")
    slack_bot_token: SecretStr | None = Field(
        None, description="without it, messages print to the console in full"
    )
    slack_app_token: SecretStr | None = Field(None, description="Socket Mode token")
    slack_signing_secret: SecretStr | None = Field(None, description="checks button clicks")
    slack_operators: str = Field(
        "",
        description="comma-separated Slack users (U...) and user groups (S...) who may undo and pause, and answer where a "
        "rule names nobody; empty: nobody from Slack",
    )
    people: str = Field(
        "",
        description="comma-separated persons, each all of their token names and Slack users joined by `+`: "
        "alice+alice-laptop+slack:U...; all of one person count once",
    )
    slack_channel: str = Field("#incidents", description="channel of all messages")
    slack_api_url: str = Field("https://slack.com/api/", description="Slack's Web API")
    pagerduty_webhook_secrets: SecretStr | None = Field(
        None, description="comma-separated: all active signing secrets"
    )
    pagerduty_api_token: SecretStr | None = Field(
        None, description="REST token; alert bodies are fetched when set"
    )
    pagerduty_from: str = Field("", description="e-mail of the PagerDuty user we act as")
    pagerduty_agents: str = Field(
        "", description="comma-separated PagerDuty ids we act as; their events are not alerts"
    )
    pagerduty_routing_key: SecretStr | None = Field(
        None, description="Events v2 key; pages when a person is needed"
    )
    pagerduty_api_url: str = Field("https://api.pagerduty.com", description="PagerDuty REST API")
    pagerduty_events_url: str = Field("https://events.pagerduty.com", description="PagerDuty Events API")
    status_page_url: str = Field(
        "", description="webhook of the status page, told what the policy's escalation.status_page says"
    )
    status_page_token: SecretStr | None = Field(None, description="bearer token of the status page's webhook")
    orchestration_secret: SecretStr | None = Field(
        None, description="value of X-Remediator-Token from Event Orchestration"
    )
    tokens: SecretStr | None = Field(None, description="name:scope[+scope]:sha256-of-token, comma-separated")
    prometheus_url: str = Field("", description="evidence and leak checks; empty: not asked")
    alertmanager_url: str = Field("", description="is it still firing; empty: only webhooks tell")
    dependencies: SecretStr | None = Field(
        None, description="JSON object name -> postgres://... or redis://... for dependency checks"
    )
    audit_key: SecretStr | None = Field(
        None,
        description="keys the hashes of the audit trail, 32 characters at least; to change it, the new one, a comma, the old one",
    )
    secret_key: SecretStr | None = Field(
        None,
        description="key of the digests that stand for hidden values, 32 characters or more; empty: one made at the first "
        "start and kept in the database",
    )
    encryption_key: SecretStr | None = Field(
        None,
        description="comma-separated Fernet keys for the values kept to carry out and undo changes, the first encrypts; "
        "empty: kept unencrypted",
    )
    retention_days: int = Field(30, ge=1, description="days that closed incidents are kept")

    @model_validator(mode="before")
    @classmethod
    def _from_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {**values, **_file_secrets(os.environ, values)}

    @field_validator("*")
    @classmethod
    def _some_text(cls, value: Any) -> Any:
        # A secret that somebody has yet to fill in must never mean "no secret is asked for".
        if isinstance(value, SecretStr) and _is_blank(value.get_secret_value()):
            raise ValueError("is empty; give it a value or unset it")
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(text, str) and _HALF.search(text):
            raise ValueError("is not UTF-8")
        return value

    @field_validator(*_URLS)
    @classmethod
    def _http(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must be an http(s) URL")
        if value and (fault := fault_in(value)):
            raise ValueError(fault)
        return value

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value() if value else "sqlite:///"
        if not text.startswith(("sqlite:///", "postgresql://")):
            raise ValueError("must begin with sqlite:/// or postgresql://")
        if text.startswith("postgresql://") and (fault := fault_in(text)):
            raise ValueError(fault)
        return value

    @field_validator("dependencies")
    @classmethod
    def _dsns(cls, value: SecretStr | None) -> SecretStr | None:
        for name, dsn in _dsns_in(value).items():
            if fault := fault_in(dsn):
                raise ValueError(f"dependency {name}: {fault}")
        return value

    @field_validator("secret_key")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 32:
            raise ValueError("must have 32 characters or more")
        return value

    @field_validator("slack_operators")
    @classmethod
    def _slack_ids(cls, value: str) -> str:
        if wrong := [p for p in _listed(value) if _SLACK_ID.fullmatch(p) is None]:
            raise ValueError(f"{wrong[0]!r} is no id of a Slack user (U...) or user group (S...)")
        return value

    @field_validator("people")
    @classmethod
    def _known_people(cls, value: str) -> str:
        members = [member.strip() for person in _listed(value) for member in person.split("+")]
        if not all(_MEMBER.fullmatch(member) for member in members):
            raise ValueError("expected name+name+slack:U..., separated by commas")
        if len(set(members)) < len(members):
            raise ValueError("a token's name or a Slack user stands there twice")
        return value

    @property
    def operators(self) -> frozenset[str]:
        """Slack users and user groups that may undo and pause."""
        return frozenset(_listed(self.slack_operators))

    @property
    def persons(self) -> dict[str, str]:
        """The person behind each audited name (a token's name or `slack:U...`): the first name of the entry."""
        entries = ([member.strip() for member in person.split("+")] for person in _listed(self.people))
        return {member: entry[0] for entry in entries for member in entry}

    @property
    def dsns(self) -> dict[str, str]:
        """DSNs by the name of the dependency."""
        return _dsns_in(self.dependencies)

    @property
    def access(self) -> Access:
        """How callers prove who they are. Raises BadInput (`bad_setting`) for tokens that cannot be read."""
        return Access(
            tokens=None if self.tokens is None else parse_tokens(self.tokens.get_secret_value()),
            pagerduty_secrets=parse_secrets(_revealed(self.pagerduty_webhook_secrets)),
            orchestration_secret=_revealed(self.orchestration_secret),
            slack_secret=_revealed(self.slack_signing_secret),
        )

    @property
    def pagerduty_access(self) -> PagerDutyAccess:
        """Where and as whom PagerDuty is called."""
        return PagerDutyAccess(
            events_url=self.pagerduty_events_url,
            api_url=self.pagerduty_api_url,
            routing_key=_revealed(self.pagerduty_routing_key),
            api_token=_revealed(self.pagerduty_api_token),
            from_email=self.pagerduty_from,
        )

    @property
    def reach(self) -> tuple[bool, bool, bool]:
        """Which ways out beside the chat are configured: pages, notes, the status page."""
        access = self.pagerduty_access
        return access.pages, access.notes, bool(self.status_page_url)

    @property
    def interactive(self) -> bool:
        """Somebody receives the clicks of buttons: the HTTP endpoint or Socket Mode."""
        return self.slack_signing_secret is not None or self.slack_app_token is not None

    @property
    def open(self) -> bool:
        """No way to authenticate a caller of the API is configured: what `access` says, and nothing else."""
        return self.access.open

    @property
    def ceiling(self) -> Mode:
        """The strongest mode that any rule may have."""
        return Mode.OBSERVE if self.mode == "observe" else Mode.AUTO

    @property
    def store_url(self) -> str:
        """Where the domain store lives."""
        return _revealed(self.database_url) or f"sqlite:///{self.state_dir / 'remediator.sqlite'}"


def _is_blank(secret: str) -> bool:
    """Nothing is in it that anybody could see: blanks of any alphabet, a byte order mark, commas."""
    return not any(c.isprintable() and c not in " ," for c in secret)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _revealed(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()


def _dsns_in(secret: SecretStr | None) -> dict[str, str]:
    try:
        found = decoded(_revealed(secret) or "{}")
    except ValueError:  # its text would show a part of the value
        found = None
    if not isinstance(found, dict) or not all(isinstance(dsn, str) for dsn in found.values()):
        raise ValueError("must be a JSON object of name to DSN")
    return found


SECRETS = tuple(name for name, field in Settings.model_fields.items() if field.annotation == SecretStr | None)


def _file_secrets(environ: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in SECRETS:
        variable = f"{PREFIX}{name.upper()}"
        path = environ.get(f"{variable}_FILE")
        if path is None:
            continue
        if given.get(name) is not None or variable in environ:
            raise BadInput(f"set {variable} or {variable}_FILE, not both", code="bad_setting", where=variable)
        try:
            found[name] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise BadInput(
                f"cannot read the file: {reason}", code="bad_setting", where=f"{variable}_FILE"
            ) from None
        if not found[name]:
            raise BadInput("the file is empty", code="bad_setting", where=f"{variable}_FILE")
    return found


def load_settings(**overrides: Any) -> Settings:
    """Read the environment. Raises BadInput that names the first bad setting and what is wrong with it."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    known |= {f"{PREFIX}{name.upper()}_FILE" for name in SECRETS} | {f"{PREFIX}URL", f"{PREFIX}TOKEN"}
    for variable in os.environ:
        if variable.startswith(PREFIX) and variable not in known:
            raise BadInput("there is no such setting", code="bad_setting", where=variable)
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = f"{PREFIX}{str(first['loc'][0]).upper()}" if first["loc"] else PREFIX
        raise BadInput(str(first["msg"]), code="bad_setting", where=name) from error
    _refuse_open_to_the_world(settings)
    return settings


def _refuse_open_to_the_world(settings: Settings) -> None:
    if settings.open and not _is_loopback(settings.host):
        raise BadInput(
            "without REMEDIATOR_TOKENS only a loopback address may be bound",
            code="bad_setting",
            where=f"{PREFIX}HOST",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
