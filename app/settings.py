"""Process settings: environment variables with the prefix REMEDIATOR_, each secret also as ..._FILE, never both.

Owns names, defaults and refusals: a value that does not parse ends the start with the setting's name. Policy is not
here: it lives in documents that a team reviews.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.domain.decision import Mode
from app.domain.errors import BadInput
from app.domain.no_secret import fault_in_secret, is_left, visible_characters
from app.domain.urls import fault_in, fault_of_place, is_loopback
from app.intake.auth import Access, parse_secrets, parse_tokens
from app.intake.oidc import NAME as OIDC_NAME
from app.intake.oidc import PREFIX as OIDC
from app.intake.oidc import OidcTerms, is_audited_name, read_terms
from app.notify.pagerduty import PagerDutyAccess
from app.setting_texts import (
    BARE,
    IN_HEADERS,
    OF_A_HEADER,
    PREFIX,
    SettingsInvalid,
    dsns_in,
    fault_of,
    in_files,
    listed,
    revealed,
)

_HALF = re.compile("[\ud800-\udfff]")  # what Python makes of bytes in the environment that are not UTF-8
SLACK_ID = re.compile(r"[USW][A-Z0-9]{2,30}", re.ASCII)
MEMBER = re.compile(rf"[A-Za-z0-9._-]{{1,64}}|slack:[UW][A-Z0-9]{{2,30}}|{OIDC_NAME}", re.ASCII)
_HEADER = re.compile(r"[A-Za-z0-9_-]{1,100}\s*=\s*[\x21-\x7e][\x20-\x7e]{0,4000}", re.ASCII)
URLS = (
    "prometheus_url",
    "alertmanager_url",
    "slack_api_url",
    "pagerduty_api_url",
    "pagerduty_events_url",
    "status_page_url",
    "oidc_issuer",
    "external_url",
    "traces_url",
)
_APIS = ("prometheus_url", "alertmanager_url")


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
        description="comma-separated persons, each all of their token names, Slack users and OpenID names joined by `+`: "
        "alice+alice-laptop+slack:U...+oidc:alice@example.com; all of one person count once",
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
        "",
        repr=False,
        description="webhook of the status page, told what the policy's escalation.status_page says",
    )
    status_page_token: SecretStr | None = Field(None, description="bearer token of the status page's webhook")
    orchestration_secret: SecretStr | None = Field(
        None, description="value of X-Remediator-Token from Event Orchestration"
    )
    tokens: SecretStr | None = Field(None, description="name:scope[+scope]:sha256-of-token, comma-separated")
    oidc_issuer: str = Field(
        "",
        description="OpenID provider where people log in to the web page, exactly as it names itself; empty: by token only",
    )
    oidc_client_id: str = Field("", description="this service as the provider knows it")
    oidc_client_secret: SecretStr | None = Field(None, description="its secret there")
    oidc_scopes: str = Field(
        "openid email", description="what the provider is asked for, separated by blanks"
    )
    oidc_name_claim: str = Field(
        "email",
        description="claim that names a person in the audit trail; an email only when the provider verified it",
    )
    oidc_groups_claim: str = Field(
        "groups",
        description="claim with a person's groups; one inside another by JSON Pointer: /realm_access/roles",
    )
    oidc_groups: str = Field(
        "",
        description='JSON object of group to scopes: {"sre": "read+operate"}; whoever is in none may do nothing',
    )
    external_url: str = Field(
        "", description="where browsers reach the web page; the provider sends them back below it"
    )
    traces: Literal["off", "otlp"] = Field(
        "off",
        description="otlp: traces go to a collector by OTLP over HTTP; needs the extra otel, which the image has",
    )
    traces_url: str = Field(
        "",
        description="the collector's endpoint for traces, with its path; empty: as OTEL_EXPORTER_OTLP_... say",
    )
    traces_headers: SecretStr | None = Field(
        None,
        description="headers for the collector: name=value, comma-separated; empty: as OTEL_EXPORTER_OTLP_... say",
    )
    prometheus_url: str = Field("", repr=False, description="evidence and leak checks; empty: not asked")
    alertmanager_url: str = Field("", repr=False, description="is it still firing; empty: only webhooks tell")
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
    retention_days: int = Field(30, ge=1, le=36_500, description="days that closed incidents are kept")

    @field_validator("*")
    @classmethod
    def _some_text(cls, value: Any, info: ValidationInfo) -> Any:
        # A secret that somebody has yet to fill in must never mean "no secret is asked for".
        if isinstance(value, SecretStr) and not visible_characters(value.get_secret_value()).strip(","):
            raise ValueError("is empty; give it a value or unset it")
        if info.field_name == "slack_channel" and not str(value).strip():
            raise ValueError("is empty: no message would have a place")
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(text, str) and _HALF.search(text):
            raise ValueError("is not UTF-8")
        return value

    @field_validator(*BARE)
    @classmethod
    def _a_secret(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        for part in listed(revealed(value)):
            if fault := fault_in_secret(part):
                raise ValueError(fault)
        if info.field_name in IN_HEADERS and OF_A_HEADER.fullmatch(revealed(value)) is None:
            raise ValueError("has a line break, a blank or a character beyond ASCII: no header can carry it")
        return value

    @field_validator("audit_key", "secret_key", "encryption_key")
    @classmethod
    def _a_key(cls, value: SecretStr | None) -> SecretStr | None:
        for part in listed(revealed(value)):
            if fault := fault_in_secret(part, 32):
                raise ValueError(fault)
        return value

    @field_validator("host")
    @classmethod
    def _address(cls, value: str) -> str:
        """Brackets belong into URLs; who writes an address with them means it."""
        return value[1:-1] if value.startswith("[") and value.endswith("]") and ":" in value else value

    @field_validator(*URLS)
    @classmethod
    def _http(cls, value: str, info: ValidationInfo) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must be an http(s) URL")
        if value and (fault := fault_in(value) or fault_of_place(value, api=info.field_name in _APIS)):
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
        for name, dsn in dsns_in(value).items():
            if fault := fault_in(dsn):
                raise ValueError(f"dependency {name}: {fault}")
        return value

    @field_validator("slack_operators")
    @classmethod
    def _slack_ids(cls, value: str) -> str:
        if wrong := [n for n, part in enumerate(listed(value), 1) if SLACK_ID.fullmatch(part) is None]:
            # By its number: what stands there instead may be a token.
            raise ValueError(f"entry {wrong[0]} is no id of a Slack user (U...) or user group (S...)")
        return value

    @field_validator("people")
    @classmethod
    def _known_people(cls, value: str) -> str:
        members = [member.strip() for person in listed(value) for member in person.split("+")]
        if not all(MEMBER.fullmatch(member) for member in members):
            raise ValueError("expected name+name+slack:U...+oidc:NAME, separated by commas")
        if len(set(members)) < len(members):
            raise ValueError("a token's name, a Slack user or an OpenID name stands there twice")
        return value

    @field_validator("traces_headers")
    @classmethod
    def _headers(cls, value: SecretStr | None) -> SecretStr | None:
        if not all(_HEADER.fullmatch(part) for part in listed(revealed(value))):
            raise ValueError("expected name=value, separated by commas")
        return value

    @property
    def trace_headers(self) -> dict[str, str]:
        """Headers for the collector of traces."""
        pairs = (part.partition("=") for part in listed(revealed(self.traces_headers)))
        return {name.strip().lower(): unquote(value.strip()) for name, _, value in pairs}

    @property
    def operators(self) -> frozenset[str]:
        """Slack users and user groups that may undo and pause."""
        return frozenset(listed(self.slack_operators))

    @property
    def persons(self) -> dict[str, str]:
        """The person behind each audited name (a token's name, `slack:U...` or `oidc:...`): the first name of the entry."""
        entries = ([member.strip() for member in person.split("+")] for person in listed(self.people))
        return {member: entry[0] for entry in entries for member in entry}

    @property
    def dsns(self) -> dict[str, str]:
        """DSNs by the name of the dependency."""
        return dsns_in(self.dependencies)

    @property
    def access(self) -> Access:
        """How callers prove who they are. Raises BadInput (`bad_setting`) for tokens that cannot be read."""
        return Access(
            tokens=None if self.tokens is None else parse_tokens(self.tokens.get_secret_value()),
            pagerduty_secrets=parse_secrets(revealed(self.pagerduty_webhook_secrets)),
            orchestration_secret=revealed(self.orchestration_secret),
            slack_secret=revealed(self.slack_signing_secret),
        )

    @property
    def login(self) -> OidcTerms | None:
        """The login at an OpenID provider, if there is one. Raises BadInput (`bad_setting`) for terms that do not fit together."""
        names = [n for n in type(self).model_fields if n.startswith("oidc_") and n not in SECRETS]
        given = {name: str(getattr(self, name)) for name in (*names, "external_url")}
        terms = read_terms({**given, "oidc_client_secret": revealed(self.oidc_client_secret)})
        if terms is not None and self.tokens is None:
            where = f"{PREFIX}OIDC_ISSUER"
            raise BadInput("without REMEDIATOR_TOKENS the API is open", code="bad_setting", where=where)
        named = [name for name in self.persons if name.startswith(OIDC)]
        if terms is not None and not all(is_audited_name(name, terms.name_claim) for name in named):
            text = "an OpenID name stands there as no login makes it: an address in small letters, the rest percent-encoded (%2B)"
            raise BadInput(text, code="bad_setting", where=f"{PREFIX}PEOPLE")
        return terms

    @property
    def pagerduty_access(self) -> PagerDutyAccess:
        """Where and as whom PagerDuty is called."""
        return PagerDutyAccess(
            events_url=self.pagerduty_events_url,
            api_url=self.pagerduty_api_url,
            routing_key=revealed(self.pagerduty_routing_key),
            api_token=revealed(self.pagerduty_api_token),
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
        return revealed(self.database_url) or f"sqlite:///{self.state_dir / 'remediator.sqlite'}"


SECRETS = tuple(name for name, field in Settings.model_fields.items() if field.annotation == SecretStr | None)
CREDENTIALS = (*SECRETS, "status_page_url")
"""What nobody may read: the URL of a webhook is its credential."""
FILES = (*CREDENTIALS, "prometheus_url", "alertmanager_url")
"""What may stand in a file: the URL of a server may bear its login."""


def load_settings(**overrides: Any) -> Settings:
    """Read the environment and the files that it names. Raises SettingsInvalid that names each bad setting and what is wrong with it."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    known |= {f"{PREFIX}{name.upper()}_FILE" for name in FILES} | {f"{PREFIX}URL", f"{PREFIX}TOKEN"}
    unknown = [name for name in os.environ if name.startswith(PREFIX) and name not in known]
    faults = [BadInput("there is no such setting", code="bad_setting", where=name) for name in unknown]
    read, unread = in_files(FILES, PREFIX, os.environ, overrides)
    faults += unread
    # Its URL is its credential: one that is still to be filled in must not switch the page off.
    page = {"status_page_url": os.environ.get(f"{PREFIX}STATUS_PAGE_URL", "unset"), **overrides, **read}
    if is_left(str(page["status_page_url"])):
        faults.append(fault_of("status_page_url", "is empty or a placeholder; give it a value or unset it"))
    try:
        settings = Settings(**{**overrides, **read})
        faults += () if unread else _at_odds(settings)  # what a file would have said may be what fits
    except ValidationError as error:
        for entry in error.errors(include_input=False, include_url=False):
            faults.append(fault_of(str(entry["loc"][0]) if entry["loc"] else "", entry["msg"]))
    if faults:
        raise SettingsInvalid(faults)
    return settings


def _at_odds(settings: Settings) -> Iterator[BadInput]:
    """What does not fit together, where each is good in itself."""
    for check in (_refuse_open_to_the_world, lambda given: given.login):
        try:
            check(settings)
        except BadInput as fault:
            yield fault


def _refuse_open_to_the_world(settings: Settings) -> None:
    if settings.open and not is_loopback(settings.host):
        raise BadInput(
            "without REMEDIATOR_TOKENS only a loopback address may be bound",
            code="bad_setting",
            where=f"{PREFIX}HOST",
        )
