"""What procedures share that make a pod with the database's own image and with this service's: their params, and what has to be there.

Used by the handlers of backups and restores. Of a Secret only the names of its keys are looked at.
"""

from __future__ import annotations

import re
from typing import Final

from pydantic import Field

from app.backup.logins import KNOWS_AUTHENTICATION
from app.domain.database import Tls
from app.domain.evidence import Certainty, Finding
from app.domain.remediation import Scene
from remediations.backups import SECRETS, STORE, Image, StoreParams, keys_of, obstacle, running, store_login
from remediations.database_params import WHERE, DatabaseParams

CLIENT = "backup.client"
_OF_IMAGE = re.compile(r"(?:^|pg)(\d{1,2})(?:[.\-]|$)")


class PodParams(StoreParams, DatabaseParams):
    """`image`: the one with pg_dump; empty for the one that the server's first container runs. The rest is where the database is and
    where it goes."""

    image: Image = Field(default="", description="Image with pg_dump; empty: the server's first container's")


PLACE: Final = WHERE | STORE | {"image"}
"""Params that no order may change: else it could send a dump or a login elsewhere."""


def client_finding(image: str, tls: str) -> Finding:
    """What the image says of its pg_dump by its tag; the pod asks it itself before anything starts. An older one cannot be told to keep its
    password from a server that asks for the password itself."""
    name, _, tag = image.rpartition("/")[2].partition("@")[0].partition(":")
    found = _OF_IMAGE.search(tag) if re.search(r"postgres|pg", name) else None
    if found is None:
        text = f"The tag of {image} does not tell the version of its pg_dump; the Job asks it first"
        return Finding(CLIENT, text, Certainty.UNKNOWN)
    major, text = int(found[1]), f"{image} has pg_dump {found[1]}"
    if major < KNOWS_AUTHENTICATION and tls in (Tls.DISABLE, Tls.PREFER):
        text += f", which tells its password to whoever asks for it in the server's place, unless the Secret's URL is stricter: tls: {Tls.VERIFY_FULL} keeps it"
    return Finding(CLIENT, text, data={"major": major})


async def secrets_finding(scene: Scene, params: PodParams) -> Finding:
    """Whether the keys that the pod refers to are there; of the values nothing is looked at."""
    keys = [params.url_key] if params.url_key else [params.user_key, params.password_key]
    needed = [*keys, *([params.ca_key] if params.ca_key else [])]
    there = await keys_of(scene, params.secret)
    if isinstance(there, Finding):
        return there
    if missing := [key for key in needed if key not in there]:
        return obstacle(SECRETS, f"Secret {params.secret} has no key {missing[0]}")
    store = await store_login(scene, params)
    if store.data.get("obstacle"):
        return store
    if not params.store_secret:
        return Finding(
            SECRETS, f"Secret {params.secret} has the keys of the login; the store knows the pod's account"
        )
    return Finding(SECRETS, f"Secrets {params.secret} and {params.store_secret} have the keys of both logins")


async def running_finding(scene: Scene) -> Finding:
    """A Job of an earlier backup or restore of a database that has not ended."""
    return await running(scene, "database-backup", "database-restore")
