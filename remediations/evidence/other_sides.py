"""Words of errors that name no fault of the program and yet speak of another side: of somebody else's address, of what has to be paid for, of a call that is
not even made because others failed, or of what a server does not have or does not do.

Used by `remediations.evidence.pods`, for a question and never for an action: a word too many asks once more. Pure tables.
"""

from __future__ import annotations

from typing import Final

from app.domain.gated import Gated

_CALL = r"(?:GET|HEAD|POST|PUT|PATCH|DELETE)"

OTHER_SIDES: Final = Gated(
    "|".join(
        f"(?:{phrase})"
        for phrase in (
            # An address that is not the pod's own.
            r"\bhttps?://(?!localhost\b|127\.|0\.0\.0\.0|\[::1?\])[a-z0-9\[]",
            rf"\b(?:executing|during|calling|for) \[?{_CALL}\b",
            # An answer that says no, or that nobody can read.
            r"\b(?:error code|status(?: code)?|unexpected response|http)\W{1,3}(?:4(?:0[0-79]|1[0-9]|2[0-8])|50[0-25-9])\b|\bcode = (?:Unimplemented|NotFound|PermissionDenied|InvalidArgument|FailedPrecondition|Unknown|Internal)\b",
            r"JSONDecodeError|\bis not valid JSON\b|\bunexpected (?:end of JSON|token '?<)|Your account|our servers",
            # Money, credit, licences and plans.
            r"\bpayment required\b|\b402\b|\bbilling\b|\blicen[cs]ed? (?:users?|seats?|limit|expired|has|is|key)|\b(?:users?|seats?) licen[cs]e|\bsubscription\b",
            r"\b(?:credits?|balance|funds|quota|plan|licen[cs]e|trial|budget)\b.{0,60}\b(?:too low|insufficient|exceeded|exhausted|expired|used up|reached|depleted|empty)\b",
            r"\b(?:insufficient|not enough|no (?:more|remaining)|out of|exceeded|maximum|exhausted)\W{1,3}(?:\w+ ){0,3}(?:credits?|balance|funds|quota|licen[cs]es?|budget)\b",
            # A call that is not made: breakers and bulkheads.
            r"circuit[ -]?breaker|\bcircuit (?:is )?open\b|\bbulkhead|CallNotPermitted|BrokenCircuit|\bhystrix\w*|short-circuited",
            # What a database, broker or store does not have, or does not do now.
            r"not accepting (?:commands|writes|connections)|wraparound|read[- ]only (?:transaction|replica|mode|database)|UnknownTopic\w*|unknown topic|leader not available|NotEnoughReplicas\w*",
            r"violates \w+(?: \w+)? constraint|duplicate (?:key|entry)|\w{4,30}Violation\b|out of range for (?:type|column)|NumericValueOutOfRange|InFailedSqlTransaction|current transaction is aborted",
            r"\bNotLeader\w*|\bRecordTooLarge\w*|\bUnknownServer\w*",
            r"\bno (?:such )?(?:queue|exchange|topic|stream|bucket|index|keyspace|vhost|shard|primary|leader|master)\b|\bNOT_FOUND - |(?:query|command|socket|request) read time[d ]?-?out",
        )
    )
)
