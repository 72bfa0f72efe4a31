"""Remediations: what users extend. One handler a file, listed in `CATALOGUE`; a rule names it by `remediation:`.

To add one:
1. Write `remediations/my_alert.py`: a `Params` model (types of `remediations.shared`, the runbook's values as defaults) and
   a class with `name`, `runbook`, `steps`, `params`, `diagnose` and `ladder` (`app.domain.remediation.Remediation`).
2. `diagnose` gathers findings, with what `remediations.evidence` has; a source that cannot be read becomes a finding with
   `Certainty.UNKNOWN`, never an exception. Texts are one sentence with units; numbers for decisions go into `data`.
3. `ladder` gives all steps in the order of `steps`, each with actions from `app.kube.actions`, or saying why it does not
   apply; what only a person can do goes into `advice`. It decides from the diagnosis, so that people see why.
4. List it here, and add tests to `tests/unit/remediations`; the catalogue's tests run over it by themselves.

A handler looks and proposes. It never loops, sleeps, notifies, writes, checks limits or knows the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from app.domain.remediation import AnyRemediation
from remediations.adjust_hpa import AdjustHpa
from remediations.api_rate_limits import ApiRateLimits
from remediations.certificate_renewal import CertificateRenewal
from remediations.clean_checkpoints import CleanCheckpoints
from remediations.configuration_backup import ConfigurationBackup
from remediations.database_backup import DatabaseBackup
from remediations.database_connections import DatabaseConnections
from remediations.database_restore import DatabaseRestore
from remediations.database_vacuum import DatabaseVacuum
from remediations.deploy import Deploy, Hotfix
from remediations.high_error_rate import HighErrorRate
from remediations.high_latency import HighLatency
from remediations.logs_and_volumes import LogsAndVolumes
from remediations.out_of_memory import OutOfMemory
from remediations.pod_restarting import PodRestarting
from remediations.rollback import Rollback
from remediations.scale_order import Scale

CATALOGUE: Mapping[str, AnyRemediation] = MappingProxyType(
    {
        "high-error-rate": HighErrorRate(),
        "high-latency": HighLatency(),
        "pod-restarting": PodRestarting(),
        "out-of-memory": OutOfMemory(),
        "database-connections": DatabaseConnections(),
        "deploy": Deploy(),
        "hotfix": Hotfix(),
        "rollback": Rollback(),
        "scale": Scale(),
        "adjust-hpa": AdjustHpa(),
        "api-rate-limits": ApiRateLimits(),
        "clean-checkpoints": CleanCheckpoints(),
        "database-vacuum": DatabaseVacuum(),
        "logs-and-volumes": LogsAndVolumes(),
        "database-backup": DatabaseBackup(),
        "certificate-renewal": CertificateRenewal(),
        "configuration-backup": ConfigurationBackup(),
        "database-restore": DatabaseRestore(),
    }
)
"""All remediations by the name that rules use."""
