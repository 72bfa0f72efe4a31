"""Words of errors and warnings for which more pods are the wrong direction: what is shared is used up, the database is what is slow, or
the pod's own memory is full.

Used by `remediations.evidence.pods`, for a question and never for an action: a word too many asks once more. What our own threads and
queues say is not here: of these more pods bring more. Pure tables.
"""

from __future__ import annotations

import re
from typing import Final

from app.domain.gated import Gated


def _any(*phrases: str) -> Gated:
    return Gated("|".join(f"(?:{phrase})" for phrase in phrases))


_OF = r"(?:connection|session|client|channel|cursor|consumer|licen[cs]e|seat|process|quer(?:y|ie)|login|lease|resource)s?e?s?\b"
"""What many share, as a noun."""
_POOL = r"(?<!thread )(?<!thread)(?<!thread-)(?<!worker )(?<!worker)(?<!executor )(?<!task )\bpool\b(?!-\d+-thread)"
"""A pool of something that many share: threads and workers are the pod's own."""
_GET = r"(?:get|obtain|acquir|fetch|check(?:ing|ed)?[ -]?out|checkout|borrow|retriev|leas|reserv|establish)\w{0,4}"
_LATE = r"(?:time[ds]?[ -]?out|waiting|waited)"

USED_UP: Final = _any(
    # Any client and server: a limit of what is shared, and all of it in use.
    rf"too many (?:\w+ ){{0,3}}{_OF}|TooManyConnections|no more {_OF}|no (?:free|available|idle) (?:connection|session|channel|client)s?\b",
    rf"all (?:of the )?(?:[\w-]+ ){{0,4}}{_OF} (?:\w+ ){{0,6}}(?:in use|busy|used|taken|occupied)",
    rf"max(?:imum)?[ _-]?(?:number )?(?:of )?(?:allowed )?(?:[a-z]+[ _-]){{0,2}}{_OF}",
    rf"{_OF}(?: \w+)? (?:limit|quota|cap)s? (?:[\w()]+ ){{0,3}}(?:reached|exceeded|hit|exhausted)",
    rf"(?:limit|quota|maximum) (?:\w+ ){{0,2}}(?:reached|exceeded|hit)\W{{1,3}}(?:\w+ ){{0,3}}{_OF}|(?:limit|quota) (?:of|on|for) (?:\w+ ){{0,4}}{_OF}",
    r"remaining connection slots|(?:maxclients|max clients|max client conn\w*|max_client_conn|max_connections|max_user_connections|channel_max|connection_max)\b",
    # Pools of clients: HikariCP, c3p0, dbcp, Tomcat, Druid, UCP, WildFly, Agroal, R2DBC, Reactor, SQLAlchemy, psycopg, asyncpg, ActiveRecord,
    # Sequel, Ecto, Finch, hackney, Prisma, Sequelize, TypeORM, Knex, tarn, generic-pool, node-postgres, sqlx, r2d2, bb8, deadpool, ADO.NET,
    # Npgsql, go-redis, redigo, Jedis, Lettuce, MongoDB, Cassandra.
    rf"{_POOL} (?:\w+ ){{0,4}}(?:exhausted|time[ds]?[ -]?out|full|limit|drained|empty|depleted|saturated)|(?:exhausted|full|empty|timeout).{{0,12}} {_POOL}",
    r"pool empty\b|pool size .{0,20}(?:reached|exceeded)|queuepool limit|\b\w*PoolTimeout\w*|PoolTimedOut|PoolExhausted\w*|ExhaustedPool\w*|PoolAcquire\w+|BusyPool\w*|PoolError",
    rf"{_LATE}.{{0,60}}\b{_GET}.{{0,40}}\b(?:connection|session|channel|pool)\b|\b{_GET}.{{0,40}} (?:connection|session|client|resource)s?\b.{{0,40}}(?:\bpool\b|\btime[ds]?[ -]?out|within|after \d|deadline)",
    r"(?:acquir|obtain|wait)ing.{0,30} (?:an? )?(?:open |idle |free |new |database )*(?:connection|pool)|waiting for (?:an? )?(?:idle object|pooled item|slot to become available)|\bpool .{0,40}requests waiting",
    r"connection is not available, request timed out|connection not available and request was dropped|queued and checked out the connection|excess queuing for connections|checkout_timeout",
    r"Acquire\w{0,20}Timeout|acquisition time[ds]?[ -]?out|connection acquisition|acquire operation|pending acquire|pool#acquire|timed out in bb8|ResourceRequest timed out|GetConnectionTimeout",
    r"timeout exceeded when trying to connect|WaitQueue(?:Timeout|Full)\w*|ConnectionTimeoutError|waited [\d.]+ ?s(?:ec)?\w*, \d+/\d+ available|managed connections? (?:available|from)|\bIJ0004(?:53|55)|\bIJ000655|\bP20(?:24|37)\b|\bUCP-(?:29|45064)\b",
    # Servers and what stands before them: PostgreSQL, PgBouncer and its like, MySQL, Oracle, SQL Server, Db2, ClickHouse, RDS Proxy.
    r"\b53[34]00\b|query_wait_timeout|MaxClientsIn\w+|timed?-?out waiting to acquire|max connect timeout reached|ER_(?:CON_COUNT|USER_LIMIT_REACHED|TOO_MANY_USER_CONNECTIONS)\w*",
    r"(?:mysql|mariadb|error|errno|sqlstate\[\w+\]|code)\W{0,4}(?:error|errno|code)?\W{0,4}\[?(?:1040|1203|1226)\b",
    r"\bORA-(?:00018|00020|02391|12516|12518|12519|12520)\b|\bTNS-12(?:516|518|519|520)\b|\bSQL1(?:040|226)N\b|(?:error|number|msg|code)\W{1,3}(?:10928|10929|10936|17809|49918|49919|49920)\b",
    r"resource id ?: ?\d+\b.{0,60}limit|has exceeded the '?\w+'? resource|TOO_MANY_SIMULTANEOUS_QUERIES|max(?:imum)? (?:concurren\w+|parallel) \w+ (?:limit )?(?:reached|exceeded)",
    # Brokers, caches and search: RabbitMQ, Kafka, ZooKeeper, Redis, Elasticsearch and OpenSearch, etcd.
    r"es_rejected_execution|EsRejectedExecution|circuit_breaking_exception|CircuitBreakingException|\bdata too large\b|number of channels|(?:memory|disk)[ _-](?:resource )?(?:alarm|limit alarm)",
    r"quota.?violat\w+|THROTTLING_QUOTA|ThrottlingQuota\w*|max\.connections|OOM command not allowed|database space exceeded|space quota|etcdserver: too many requests",
    # Quotas and rates of whoever is asked.
    r"rate.?limit|rate exceeded|(?:quota|limit) (?:has been |was |is |already )?exceeded|exceeded your (?:current )?\w*\s?quota|insufficient.?quota|quotaExceeded|LimitExceeded|resource.?exhausted"
    r"|throttl(?:ed|ing)|SlowDown|too many (?:concurrent|parallel|simultaneous) \w+|concurrency limit",
)
"""What is shared is used up: of connections, pools and quotas more pods take more."""

_QUERY = r"(?:quer(?:y|ies)|sql|statements?|transactions?)"
_SLOW = (
    rf"\bslow[ _-]?(?:(?:db|database|sql|postgres\w*|mysql|mongo\w*)[ _-]?)?{_QUERY}\b|\blong[ -]running {_QUERY}\b",
    rf"\b{_QUERY} (?:was |is )?(?:too )?slow\b|\b{_QUERY} (?:execution )?(?:took|has taken|takes|ran for|running for|exceeded)\b",
    r"\bduration: [\d.]{1,20} ms {1,4}(?:statement|execute|parse|bind|plan)\b",
)
_MS = r"(?:[2-9]\d{3}|\d{5,9})(?:\.\d{1,6})?"
_S = r"(?:[2-9]|\d{2,5})(?:\.\d{1,9})?"
_COLOURED = r"(?: |\x1b\[[\d;]{1,8}m)"
_LONG = (
    # Rails and lograge, Django, Sequel: each statement, and what a request spent on its statements.
    rf"\w (?:Load|Create|Update|Destroy|Exists\?|Count|Pluck|Sum|Minimum|Maximum|Average|(?:Insert|Update|Delete|Upsert) All|Bulk Insert) \({_MS}ms\)",
    rf"\((?:{_MS}ms|{_S}s|(?:[2-9]|\d{{2,5}})\.\d{{3}})\){_COLOURED}{{1,8}}(?:SELECT|INSERT|UPDATE|DELETE|WITH|CALL|MERGE|COMMIT)\b",
    rf"\| ActiveRecord: {_MS}ms\b|\bview=[\d.]{{1,12}} db={_MS}(?![\w.])",
    # Entity Framework, Ecto, GORM, jOOQ, MySQL.
    rf"\bDbCommand \((?:[2-9]|\d{{2,3}}),\d{{3}}ms\)|\bdb={_MS}ms\b|\[{_MS}ms\]{_COLOURED}{{1,4}}\[rows:|\bQuery executed {{1,30}}: Total: {_S}s\b",
    r"\bQuery_time: (?:[2-9]|\d{2,6})(?![\d])",
    # Hibernate, P6Spy, datasource-proxy.
    rf", time: {_MS}ms, rows: \d|\b(?:[2-9]\d{{9}}|\d{{11,15}}) nanoseconds spent executing \d{{1,9}} JDBC|\|{_MS}\|(?:statement|batch|commit)\|connection ?\d|\bTime: ?{_MS}, Success:",
)
"""How libraries that tell each statement with its time tell one of two seconds or more: of shorter ones their logs are full."""

STALLED: Final = _any(
    r"(?:statement|query|lock|transaction|max_execution_time|maximum statement execution) ?(?:execution )?time(?:d |[ -]?)(?:out|exceeded)\b|lock[ _-]wait[ _-]time|lock request time ?out|MaxTimeMSExpired|exceeded time limit",
    r"\bdeadlock(?:ed)?\b(?:\W+(?:detected|found|victim|loser|on))|was deadlocked|\bORA-000(?:54|60)\b|deadlock detected|chosen as the deadlock victim|LockNotAvailable\w*|LockAcquisition\w*|could not obtain lock",
    r"could not serialize|serialization failure|SerializationFailure|serialize access|restart transaction|TransactionRetry\w*|WriteConflict|OptimisticLock\w*|snapshot isolation transaction aborted",
    r"\b(?:40001|40P01|55P03|57014)\b|\bER_LOCK_\w+|(?:mysql|error|errno)\W{1,3}(?:1205|1213|3024)\b|conflict with recovery|database (?:table )?is locked|\bSQLITE_BUSY\b",
    *_SLOW,
    *_LONG,
    r"cluster_block_exception|flood[- ]stage|read[ _-]only[ _-]allow[ _-]delete",
)
"""The database waits for itself, or is slow: more pods send it more to wait for."""

LONG_QUERY: Final = _any(*_LONG)
SLOW_QUERY: Final = _any(*_SLOW, *_LONG)
"""A program says that its database took long, in whatever level; unless it is LONG_QUERY, of how long it took only TOOK tells."""

TOOK: Final = re.compile(
    r"(?<![\w.])(?P<long>\d{1,3}(?:,\d{3}){1,2}|\d{1,9}(?:\.\d{1,9})?)\s?(?P<unit>ms|msecs?|millis(?:econds?)?|s|secs?|seconds?)\b"
    r"|(?:duration|elapsed|took|time)_?(?P<of>ms|millis)[\"']?\s?[:=]\s?[\"']?(?P<told>\d{1,9})",
    re.IGNORECASE,
)
"""How long something took."""

FULL_GC: Final = _any(
    r"\bfull gc\b|\bpause full\b|\bto-space exhausted\b|\ballocation stall\b|\bmark-compact\b.{0,80}\b(?:allocation failure|last resort)\b",
)
"""A runtime that tidies up all of its heap (JVM, V8), in whatever level: once in a while well ones do."""

MEMORY_FULL: Final = _any(
    FULL_GC.pattern,
    r"GC overhead limit|java heap space|\bmetaspace\b|direct buffer memory|OutOfMemory(?:Error|Exception)|heap out of memory|reached heap limit|heap limit allocation failed",
    r"\bMemoryError\b|NoMemoryError|cannot allocate memory|failed to allocate memory|allowed memory size of|unable to allocate|runtime: out of memory|bad_alloc|\bout of memory\b|memory limit exceeded",
)
"""The pod's own memory is full: it is slow because it tidies up, however many of its like there are."""

LATE: Final = _any(
    r"tim(?:e|ed)[ -]?out",
    r"deadline",
    r"time ?limit",
    r"(?:too|took) l(?:ate|ong)",
    r"MaxTimeMS",
    r"did not respond",
)
"""Answers that are only late: pods at their own limit may be what is slow. Any other error of what they call is its own."""
