"""The words of log lines, as tables: what natures there are, which types of exceptions tell which, where a status stands, and what
counts as a word of a connection, a login, a place, a limit or load.

Used by `remediations.evidence.error_lines`, which judges by them. Of types, CODE never speaks of anything else than the program; VALUE is
raised for bad input of any sort, so that only plain words of a connection count against it; DATABASE is the driver's, whose words tell
schema from connection; a type that is not here tells nothing. Pure tables.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from app.domain.gated import Gated


class Nature(StrEnum):
    """What an error says about its cause, as far as its words tell. DEPENDENCY: what cannot be connected to; ANSWER: what can, and
    answers with an error or too late; LOGIN: who does not let us in; PLACE: what the node or a volume lacks; CAPACITY: that we
    ourselves have too much to do."""

    CODE = "code"
    DEPENDENCY = "dependency"
    ANSWER = "answer"
    CAPACITY = "capacity"
    RATE_LIMIT = "rate_limit"
    LOGIN = "login"
    PLACE = "place"


# Access logs: what our own server answered, by method, path and status.

METHOD = r"(?:GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS)"
CODE = r"(?P<status>[1-5]\d\d)(?![\w.%])"
ACCESS: Final = (
    # NGINX, Apache, gunicorn, uvicorn, Werkzeug, Envoy, chi.
    re.compile(
        rf"\"{METHOD} (?P<target>[^\s\"]{{1,300}})(?: HTTP/[\d.]+)?\"(?P<origin> from \S{{1,80}})?\s{{0,3}}(?:[-:] |-> )?{CODE}"
    ),
    # Gin and Fiber: columns.
    re.compile(
        rf"\|\s{{0,3}}{CODE}\s{{0,3}}\|[^\"]{{0,120}}\b{METHOD}\b\s{{0,8}}[|\"\s]{{0,4}}(?P<target>/[^\s\"]{{0,300}})"
    ),
    # ASP.NET, Rails, morgan and their like.
    re.compile(
        rf"\bRequest finished HTTP/[\d.]+ {METHOD} (?P<target>\S{{1,300}}) (?P<origin>[^\s\"]{{0,40}}\s){{0,3}}- {CODE}"
    ),
    re.compile(rf"\bCompleted {CODE} [A-Z][\w ]{{1,40}} in (?P<target>)\d"),
    re.compile(rf"(?:^|[\s\]:]){METHOD} (?P<target>/\S{{0,300}})(?: HTTP/[\d.]+)? {CODE}"),
)
ASKED: Final = re.compile(rf"\b(?:request_)?method[\"']?\s?[=:]\s?[\"']?{METHOD}\b", re.IGNORECASE)
PATH: Final = re.compile(r"\b(?:path|uri|url|route|request_uri)[\"']?\s?[=:]\s?[\"']?/", re.IGNORECASE)
FIELD: Final = re.compile(rf"\b(?:status(?:_?code)?|code)[\"']?\s?[=:]\s?[\"']?{CODE}", re.IGNORECASE)
URL: Final = re.compile(r"\b(?:https?|grpc|wss?)://[^\s\"'<>)\]]{1,300}", re.IGNORECASE)


# Statuses in other lines, and whether somebody else gave them.

ANY = r"[45]\d\d(?![\w%]|\.\d)"
PHRASE = (
    r"Bad Request|Unauthorized|Forbidden|Not Found|Request Timeout|Conflict|Too Many Requests|RESOURCE_EXHAUSTED|Internal Server Error|Bad Gateway"
    r"|Service (?:Temporarily )?Unavailable|Gateway Time-?out|Server Error|Client Error|Slow Down|UNAVAILABLE|DEADLINE_EXCEEDED"
)
STATUS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\bHTTP/[\d.]+\"? (?P<status>{ANY})",
        rf"\bHTTP(?: error| status| response)?(?: code)?[ :=]{{1,2}}(?P<status>{ANY})",
        rf"(?<!unknown )(?<!invalid )(?<!unsupported )(?<!unmapped )\bstatus(?:[ _-]?code)?[\"']?(?: of| was| is)?[\s=:(]{{1,3}}[\"']?(?P<status>{ANY})",
        rf"\b(?:error )?code[\"']?\s?[=:]\s?[\"']?(?P<status>{ANY})",
        (
            rf"\b(?:returned|answered|answers|responded|replied|got|received|failed|response|said)(?: with|:)?(?: an?)?(?: HTTP)? [\"']?(?P<status>{ANY})"
            r"(?=[\"']?(?:\W*$|[,;:.)\]]|\s+(?:(?-i:[A-Z]{2})|from|for|on|after|while|by|when|calling|error|bad|service|gateway|too|unauth|forbidden|internal|to|at)\b))"
        ),
        rf"<url>[\"']?(?: HTTP/[\d.]+)?[ :,-]{{1,3}}(?P<status>{ANY})",
        rf"[:,] (?P<status>{ANY}) from\s{{1,3}}\S",
        rf"(?P<status>\b{ANY})[\"']?[ :,-]{{1,3}}(?:{PHRASE})\b",
        rf"\b\w{{0,60}}(?:Error|Exception|Unavailable|Requests|Forbidden|Timeout|Exhausted|Gateway)(?:: ?\(?|\()(?P<status>{ANY})",
        rf"\b(?:error|errors?:) [\"']?(?P<status>{ANY})(?=[\"']?(?:\W*$|[,;:)\]]|\s+(?:from|for|on|while|by|when|calling)))",
    )
)
REMOTE: Final = Gated(
    r"\bupstream\b|\bfor url\b|\bwhen calling\b|\bcalling \S|\brpc error\b|\bremote (?:server|service|host|end)\b|\bpartner\b|\bprovider\b|\bthird[- ]party\b"
    r"|\bdownstream\b|\bbackend\b|\bwebhook\b|\b(?:request|call|connect(?:ion)?|POST|GET) to \S|\bhttp request\b|\bReceived HTTP response\b"
    r"|\boutbound\b|\blicen[cs]e server\b|\b[\w-]{0,40}(?:-\w{1,40}|service|gateway) (?:returned|answered|responded|replied)\b|\bServices?: (?:Amazon|AWS)|\b(?:[a-z0-9-]{1,63}\.){1,6}(?:com|net|org|io|dev|cloud|svc|internal|local|test)\b(?!\.\w)",
)
"""Words of a request of ours to somebody else."""
IN_BRACKETS: Final = re.compile(r"\((?P<status>401|403|429|50[0234])\)")


# Words. Hard ones say what happened, whoever says it; soft ones are words of everyday that count with no other sign.


def _words(*patterns: str) -> Gated:
    return Gated(rf"(?<![\w-])(?:{'|'.join(patterns)})(?![\w-])")


SCHEMA: Final = _words(
    r"unknown column", r"no such (?:table|column|function|index|collation)", r"invalid (?:column|object) name", r"ORA-0(?:0904|0942|0001|2291|1400)",
    r"(?:column|relation|table|view|function|operator|type|schema|index|sequence|constraint|procedure|trigger)\b(?!.{0,90}(?:addrinfo|name resolution)).{0,90} (?:does not exist|doesn.t exist|already exists)",
    r"table <.{0,90}> doesn.t exist", r"(?:sql )?syntax error", r"error in your SQL syntax", r"has no column(?: named)?", r"duplicate column",
    r"(?:unique|foreign key|check|not.null|primary key)\b.{0,40}constraint", r"violates .{0,60}constraint", r"duplicate (?:key|entry)", r"cannot be null",
    r"datatype mismatch", r"doesn.t have a default value", r"data too long for column", r"near <.{0,60}>: syntax error", r"multiple primary keys",
    r"\((?:1048|1050|1051|1054|1060|1062|1064|1091|1136|1146|1364|1406|1451|1452),", r"SQLSTATE\[(?:42|23|22)\w{3}\]", r"42(?:P01|703|601|883|S02|S22)",
    r"can.t locate revision", r"(?:missing|unapplied|pending) migrations?",
)  # fmt: skip
"""What a database says of the query, the schema or the data: the code asked for something that is not so."""
DATA: Final = _words(
    # What is stored there already, or not yet: relational databases, document stores, ORMs.
    r"E11000", r"duplicate (?:key|entry|record|document)", r"(?:unique|foreign key|primary key|check|exclusion)\b.{0,60}(?:constraint|violat\w+|index)", r"violates .{0,60}constraint", r"violation of (?:unique|primary|foreign)\b.{0,60}", r"(?:Unique|ForeignKey|Check|Exclusion|Constraint)(?:Constraint)?Violation\w*", r"\w{0,20}DuplicateKey\w*", r"IntegrityError", r"RecordNotUnique", r"InvalidForeignKey", r"\w{0,20}UniqueConstraint\w*", r"\w{0,20}ForeignKeyConstraint\w*", r"DataIntegrityViolationException",
    r"ER_(?:DUP_ENTRY|NO_REFERENCED_ROW\w*|ROW_IS_REFERENCED\w*)", r"\((?:1062|1451|1452),", r"ORA-0(?:0001|2291|2292|1438|2290)", r"SQL0(?:803|530|532)N", r"SQLCODE=-?(?:803|530|532)", r"SQLSTATE\[(?:23|22)\w{3}\]", r"(?:23503|23505|23514|23P01)", r"P20(?:02|03|25)", r"version_conflict_engine_exception", r"document already exists", r"ConditionalCheckFailed\w*", r"document failed validation", r"ConstraintValidationFailed",
    # Values that a stored type does not hold.
    r"NumericValueOutOfRange", r"(?:integer|bigint|smallint|numeric field|numeric value|value) (?:is )?out of range(?: for (?:type|column)\b.{0,40})?", r"out of range value for column", r"value too long for type", r"data too long(?: for column)?", r"(?:string or binary )?data would be truncated", r"StringDataRightTruncation", r"reached maximum value of sequence",
    # A message that this reader cannot read: Avro, Protobuf, Thrift, MessagePack and the brokers' own wrappers.
    r"Avro\w{0,20}(?:Exception|Error)", r"SchemaResolution(?:Exception|Error)", r"protobuf\.message\.DecodeError", r"(?:prost::)?DecodeError", r"InvalidProtocolBuffer\w*", r"proto: .{0,20}(?:cannot|can.t) parse.{0,40}", r"(?:invalid|illegal) wire[- ]?(?:type|format)", r"(?:pars|decod|deserializ|unmarshal)\w{2,5} (?:the )?(?:kafka |protobuf |avro )?(?:message|record|event)s?\b.{0,40}", r"(?:Record)?Deseriali[sz]ationException", r"SerializationException", r"error deseriali[sz]ing (?:key|value|avro|json)\b.{0,60}", r"unknown magic byte", r"TProtocolException", r"MessageConversionException", r"ListenerExecutionFailedException", r"(?:msgpack|messagepack|cbor|bson|thrift|flatbuffers?)\b.{0,60}(?:error|exception|invalid|unpack|decode)\w*", r"(?:partition|offset)s?[ =:-]{1,2}\d+\b.{0,40}(?:partition|offset)s?[ =:-]{1,2}\d+", r"poison (?:message|pill)",
)  # fmt: skip
"""What a database or a broker holds, or what a message brought: a release and somebody's data fit it alike."""
LIMITED: Final = _words(
    r"rate[ _-]?limit(?:s|ing)?(?: has been| was| is)? (?:reached|exceeded|hit)", r"rate_limit_(?:exceeded|error)", r"rateLimitExceeded", r"rate[- ]limited",
    r"(?:exceeded|hit|over|reached)\b.{0,40}\brate[ -]?limit(?:s|ing)?", r"(?<!disk )quota(?: has been)? exceeded", r"exceeded .{0,40}\bquota", r"insufficient_quota", r"SlowDown", r"please slow down",
    r"reduce your request rate", r"request was throttled", r"RESOURCE_?EXHAUSTED", r"resource (?:has been )?exhausted", r"es_rejected_execution_exception",
    r"(?:request )?throttl(?:ed|ing) (?:by|exception)", r"ThrottlingException", r"TooManyRequestsException", r"ProvisionedThroughputExceeded(?:Exception)?", r"overloaded_error",
    r"RequestLimitExceeded", r"secondary rate limit",
)  # fmt: skip
LOGIN: Final = _words(
    r"authenti?cation failed(?: for)?", r"(?:password|peer|ident) authentication fail(?:ed|ure)", r"(?:sasl|scram|ldap|smtp|kerberos)\b.{0,30} fail(?:ed|ure)", r"login (?:failed|denied)",
    r"permission denied for (?:table|schema|relation|database|sequence|view)",
    r"access denied for user", r"access ?denied(?:exception)?", r"no pg_hba(?:\.conf)?", r"invalid (?:api[ -]?key|password|credentials?|username|client secret|access key)",
    r"invalid_(?:client|grant|api_key)", r"incorrect api key", r"(?:credentials?|access token|api token|token|jwt|secret|password)\b.{0,30}\b(?:expired|revoked|not yet valid)",
    r"ExpiredToken(?:Exception)?", r"InvalidClientTokenId", r"UnrecognizedClientException", r"SignatureDoesNotMatch", r"unable to locate credentials",
    r"(?:could not|failed to|unable to) (?:load|find|automatically determine) .{0,20}credentials", r"NOAUTH", r"WRONGPASS", r"UNAUTHENTICATED", r"PERMISSION_DENIED",
    r"code = (?:Unauthenticated|PermissionDenied)", r"unauthori[sz]ed", r"bad credentials", r"role <.{0,60}> (?:does not exist|is not permitted to log in)",
    r"(?:no valid|invalid|expired|missing) licen[cs]e", r"licen[cs]e\b.{0,40}\b(?:expired|revoked|invalid|not valid|exceeded|check failed|unreachable)", r"licen[cs]e server",
    r"(?:user|role|account|principal|identity|subject|client|service)\b.{0,80} not (?:allowed|permitted|authori[sz]ed|entitled) to\b.{0,60}", r"not authori[sz]ed (?:on|for)\b.{0,60}", r"(?:insufficient|not enough) (?:privileges?|permissions?|rights?|access rights)", r"InsufficientPrivilege\w*", r"ORA-01031",
    r"(?:lacks?|missing|(?:has|have) no|(?:does|do)(?: not|n.t) have(?: the)?) (?:\w{1,20} )?(?:privileges?|permissions?)", r"NOPERM", r"command denied to user", r"permission was denied on", r"permission denied (?:in|on) (?:database|table|schema|topic|queue|bucket|key|object|stream|collection|column)", r"access to \S{1,60} \S{0,60} ?refused for user", r"security_exception",
    r"no\s+entry for host", r"access[_ ]?refused", r"not authori[sz]ed to (?:access|perform|use|consume|publish|assume|connect)\b.{0,60}", r"(?:cluster|topic|group|client)? ?authori[sz]ation (?:failed|violation|error)", r"unable to authenticate", r"NoCredentialProviders", r"no valid providers in chain",
    r"token used before issued", r"clock skew(?: detected)?", r"mechanism .{0,40}not (?:enabled|supported) by (?:the )?server", r"handshake failed: ssh", r"no supported methods remain", r"login was refused", r"account (?:is )?(?:locked|disabled|suspended)", r"certificate (?:has been )?rejected",
)  # fmt: skip
PLACE: Final = _words(
    r"enospc", r"no space left(?: on device)?", r"(?:disk|volume|filesystem) (?:is )?full", r"disk quota exceeded", r"read-only file ?system", r"erofs", r"emfile",
    r"too many open files", r"(?:input/output|I/O) error", r"cannot allocate memory", r"not enough space", r"unable to open database(?: file)?", r"structure needs cleaning", r"stale (?:NFS )?file handle",
    r"resource temporarily unavailable", r"unable to create (?:new )?native thread", r"failed to create new OS thread", r"pthread_create(?: failed)?", r"fork: retry", r"already locked by another process", r"failed to obtain node locks?", r"could not (?:open|acquire|create|obtain) (?:the )?lock ?file",
    r"(?:lock|database|file|index|store) (?:is )?(?:already )?(?:held|locked|in use) by another (?:process|instance|node)", r"user limit on\b.{0,30}inotify", r"inotify_add_watch", r"cannot write to\b.{0,60} read-only", r"quota (?:is )?exceeded on (?:disk|volume|device)", r"transport endpoint is not connected",
    # Ports and tables of the node that are used up, and accelerators that fail, whoever computes on them.
    r"(?:connect\w*|dial|request|socket)\b(?!.{0,80}\b(?:bind|listen)).{0,80}cannot assign requested address", r"connect EADDRNOTAVAIL", r"(?:ephemeral|local|source|snat) ports? (?:are |is |were )?(?:all )?(?:exhausted|used up|depleted|in use)", r"ports? exhaustion", r"nf_conntrack: .{0,60}", r"conntrack table (?:is )?full", r"no buffer space available", r"ENOBUFS",
    r"uncorrectable ECC(?: error)?", r"no (?:CUDA|ROCm|HIP|NVIDIA|TPU|GPU)(?:-capable)? (?:GPUs?|devices?)\b.{0,40}", r"GPU has fallen off the bus", r"NVRM: Xid", r"Xid \(PCI.{0,80}", r"(?:NVML|nvidia-smi)\b.{0,40}(?:fail\w*|error|mismatch|unknown)", r"(?:CUDA|cuDNN|HIP|HSA|NCCL|RCCL|ROCm|TPU|XPU|NPU)\b.{0,60}(?:unspecified launch failure|unhandled (?:system|cuda) error|initiali[sz]ation error|not yet initiali[sz]ed|busy or unavailable|hardware error|remote (?:process|peer) .{0,20}|device (?:is )?(?:lost|unavailable|removed))",
)  # fmt: skip
DEPENDENCY: Final = _words(
    r"connection ?(?:was |has been |is |has |already |unexpectedly )*(?:refused|reset|timed out|timeout|aborted|closed|lost|terminated|failed|broken)(?: by \w+)?",
    r"(?:connect|dial|lookup) ?(?:has |operation )?timed? ?out", r"timed out (?:while )?(?:connecting|waiting for (?:a )?connection)",
    r"(?:could not|couldn.t|cannot|can.t|unable to|failed to) (?:connect(?! (?!to\b|because|after|over|via|within|in|on|at)\w)|reach|contact|translate host|update metadata|(?:obtain|open|get|acquire|establish) (?:a )?(?:new )?(?:jdbc )?connection)",
    r"resol(?:ve|ving) (?:the )?(?:host|hostname|address|dns|domain|server name|remote name)",
    r"E(?:CONN(?:REFUSED|RESET|ABORTED)|TIMEDOUT|NOTFOUND|AI_AGAIN|HOSTUNREACH|NETUNREACH|PIPE)", r"name or service not known", r"temporary failure resolving", r"no leader", r"read.only replica",
    r"no (?:servers?|hosts?|nodes?|endpoints?) (?:are )?available", r"nodename nor servname", r"no such host", r"nxdomain",
    r"host not found", r"unknown ?host(?:exception)?", r"temporary failure in name resolution", r"no address associated", r"getaddrinfo(?: failed)?", r"gaierror", r"server misbehaving",
    r"too many (?:clients|connections)(?: already)?", r"remaining connection slots", r"queuepool limit", r"(?:connection )?pool (?:is )?(?:exhausted|timed out)", r"connection is not available, request timed out",
    r"server closed the connection", r"server has gone away", r"lost connection to", r"terminating connection", r"no route to host", r"network is unreachable", r"broken pipe",
    r"14 unavailable", r"code = unavailable", r"statuscode[.=\"']{1,3}unavailable", r"(?-i:UNAVAILABLE):", r"no connection established",
    r"dial (?:tcp|udp|unix)", r"(?:tls|ssl) handshake (?:timeout|timed out|failed)", r"certificate verify failed", r"x509: (?!cannot parse|failed to parse|malformed|asn1|invalid|trailing|unsupported|negative|no pem|decryption|provided).{0,40}", r"certificate (?:has |is )?(?:expired|not yet valid|revoked)", r"cert(?:ificate)?\b.{0,120} (?:(?:is|was) )?(?:not (?:yet )?|no longer |only )valid\b(?: (?:after|before|until|since|from|on|any))?.{0,40}", r"cert(?:ificate)?\b.{0,120} expired (?:on|at|since|in)\b.{0,40}",
    r"(?:no|all|zero) (?:reachable servers|brokers?(?: available)?)", r"server selection(?: timed out| timeout)?", r"no primary (?:available|found|server)", r"node is not (?:primary|master)", r"cluster ?is ?down", r"clusterdown", r"replicasetnoprimary",
    r"database <.{0,60}> does not exist", r"unknown database",
    r"LEADER_NOT_AVAILABLE", r"the database system is (?:starting up|shutting down|in recovery mode)", r"max retries exceeded",
    r"(?:network|(?<!upstream )connect) error", r"communications link failure", r"server_down", r"can.t contact \w{1,20} server", r"error (?:while )?connecting to",
    r"connection to \S{1,120} (?:was )?(?:refused|failed|closed|lost|reset)", r"PoolTimedOut", r"pool timed out", r"KeeperErrorCode = \w+", r"ConnectionLoss", r"SessionExpired", r"timeout expired(?: while fetching .{0,40})?", r"topic metadata", r"failed to (?:get|fetch|refresh|update) (?:cluster |topic )?metadata", r"broker transport failure", r"no resolvable bootstrap urls",
    r"TNS:\s?\w.{0,60}", r"ORA-(?:12[0-9]\d\d|0311[34]|0103[34]|01089|17002|17410)", r"network-related or instance-specific error", r"server was not found or was not accessible", r"SQL30081N", r"SQLCODE=-?(?:4499|30081)\w*", r"08(?:001|003|004|006|S01)(?=[\]:) ])",
    r"master_not_discovered(?:_exception)?", r"cluster_block_exception", r"no cluster leader", r"(?:vault|barrier|it|server) is sealed", r"MISCONF", r"OOM command not allowed", r"(?-i:LOADING) redis", r"MASTERDOWN", r"read-only transaction", r"ssl is not enabled on the server", r"(?:server|it) (?:is|has been) (?:in maintenance|shut(?:ting)? down|stopped|not running)",
    r"bad address", r"name does not resolve", r"unknown (?:mysql )?server host", r"UnresolvedAddressException", r"(?:host ?name|dns|name|address|host) (?:lookup|resolution) (?:failure|failed|error|timed out)", r"dns error", r"lookup failed", r"could not be resolved", r"cannot resolve \S{1,80}", r"SERVFAIL", r"no nameservers?",
    r"(?:timed? ?out|timeout)\b.{0,30}\bwaiting\b.{0,40}\b(?:for|on)\b.{0,60}", r"\S{1,80}:\d{2,5} - no response", r"waiting (?:for|on) \S{1,60}.{0,60}(?:giving up|gave up|timed? ?out|not ready|unavailable|unreachable|failed|to (?:become|be) (?:available|ready|healthy|up|reachable))", r"(?:gave|giving) up (?:waiting|connecting|on connecting|after \d+ (?:attempts|retries|tries))\b.{0,40}", r"dependenc(?:y|ies)\b.{1,60}(?:unhealthy|not ready|unavailable|unreachable|down)",
    r"on any known server", r"client not connected", r"failed to req api", r"failed reaching server", r"last connection error", r"could not obtain lease", r"(?:lost|losing) (?:the )?(?:lease|leadership|leader ?election|lock)", r"(?:leader ?election|lease|leadership) (?:was |is )?lost", r"unable to handle the request", r"failed to initiali[sz]e (?:in|within|after) \d{1,9} ?\w*", r"could not read from remote repository", r"FetchError",
    r"(?:failed|unable|could not|couldn.t|cannot|can.t|error) (?:to )?(?:fetch|retriev|download|get|pull|read|load|obtain)(?:e|ing)?\b.{0,60} from (?:the )?(?:remote|consul|vault|apollo|nacos|etcd|zookeeper|spring cloud|config ?server|config service|s3|gcs|git|keycloak|secrets? ?manager|parameter store|metadata|kms|ssm|kubernetes|api server|upstream|registry|<url>|\w{1,30} (?:server|service|api))", r"(?:failed|could not|unable|cannot) (?:to )?fetch (?:remote )?(?:config|configuration|secrets?|jwks|keys|token|metadata|discovery)\b.{0,60}", r"could not fetch remote config\w*",
    r"connection not available", r"dropped from queue", r"could not find your database", r"NoDatabaseError", r"nats: (?:timeout|no \w+|\w+ closed|slow consumer|\w+ violation)", r"Local: (?:Queue full|Message timed out|Broker transport failure|All broker connections are down)", r"could not acquire (?:change ?log )?lock", r"currently locked by", r"another (?:migration|instance|process) is (?:already )?running", r"failed to lock the database", r"lock wait timeout exceeded",
    r"self[- ]signed certificate", r"unable to verify the (?:first|leaf) (?:signature|certificate)", r"unable to get (?:local )?issuer certificate", r"tls: (?:bad|unknown|expired|internal|handshake|failed to verify|access)\b.{0,60}", r"certificate (?:chain|signed by unknown|is not trusted|verification failed|relies on legacy)\b.{0,40}", r"unknown (?:certificate )?authority", r"ssl3_\w+", r"wrong version number", r"alert (?:handshake failure|unknown ca|bad certificate|certificate \w+|protocol version|number \d+)", r"pkix path\b.{0,40}", r"NonExistentQueue", r"NoSuchBucket", r"specified (?:bucket|queue|topic|stream|secret|container|table) does not exist",
)  # fmt: skip
ANSWER: Final = _words(
    r"(?:read|i/o|request|response|socket|upstream|query|statement|rpc|call) ?(?:has |operation )?timed? ?out", r"timed out (?:while )?waiting for (?:a )?(?:response|reply|server|broker)",
    r"(?:context )?deadline exceeded", r"DEADLINE_EXCEEDED", r"DeadlineExceeded", r"Client\.Timeout exceeded", r"no (?:healthy upstream|live upstreams)", r"upstream (?:prematurely closed|connect error)",
    r"bad gateway", r"gateway time-?out", r"socket hang up", r"remote end closed connection", r"server disconnected", r"\w{1,20} did not respond",
    r"(?:broker|leader|service|server|host|node|database|coordinator|backend|upstream|registry|bucket)\b.{0,60} (?:is |are )?(?:currently |temporarily )*(?:not available|unavailable|unreachable|down|offline)(?! (?:in|on|for) this)",
    r"timeout of \d+ ?ms exceeded", r"HttpClient\.Timeout", r"operation (?:has )?timed out", r"exceeded (?:the )?(?:timeout|time limit)", r"time ?limit exceeded", r"socket\.timeout", r"unexpected response code:? 5\d\d", r"(?:no|empty) (?:response|reply) from (?:the )?\w+", r"(?:read|write) timed out", r"MaxTimeMSExpired",
)  # fmt: skip
OWN_FULL: Final = _words(
    r"worker_connections are not enough", r"reached (?:pm\.)?max_children", r"(?:server )?reached MaxRequestWorkers", r"(?:all|no free) (?:\d{1,6} )?(?:worker )?threads?(?: \(\d{1,6}\))? (?:are )?(?:currently )?busy",
    r"listen queue of socket\b.{0,80}full", r"exceeded concurrency limit", r"thread ?pool starvation", r"asyncio\.QueueFull", r"queue\.Full",
)  # fmt: skip
"""Servers' own words that they take no more, whatever else stands in the line."""
OWN_QUEUE: Final = _words(
    r"queue (?:is |was )?full", r"full queue", r"no (?:free|available|idle) (?:worker|thread|slot)s?", r"thread ?pool .{0,60}exhausted", r"thread ?pool (?:is )?full",
    r"(?:queue|executor|worker|thread|server)s? (?:is |are |was )?saturated", r"load shed(?:ding)?", r"RejectedExecutionException",
)  # fmt: skip
"""What a program says of its own queue and workers, unless it speaks of somebody else's."""
CAPACITY: Final = _words(
    r"too many requests", r"service (?:temporarily )?unavailable", r"(?:server|service|system|worker|we|is|are|currently|node) overload(?:ed)?", r"overloaded", r"queue (?:is |was )?full", r"full queue",
    r"(?:queue|executor|pool|worker|thread|server)s? (?:is |are |was )?saturated", r"backpressure", r"no (?:free|available|idle) (?:worker|thread|slot)s?", r"worker timeout",
    r"thread ?pool .{0,60}exhausted", r"thread ?pool (?:is )?full", r"load shed(?:ding)?", r"RejectedExecutionException", r"server (?:is )?busy", r"limiting (?:requests|connections)", r"local_rate_limited",
)  # fmt: skip
NO_LOAD: Final = re.compile(r"overloaded (?:method|function|constructor|operator|definition)", re.IGNORECASE)

# Names that somebody quotes, and places in the source, are no words of the message.

ERRNO: Final = re.compile(r"E[A-Z_]{3,20}")
FIELD_OF_CODE: Final = re.compile(r"\b(?:type|code|error|reason)[\"']?\s?[:=]\s?$")
QUOTED: Final = re.compile(
    r"(?P<before>[=(]|[:] )?(?<!\w)(?P<q>[\"'`])(?P<inner>[^\"'`\n]{1,80})(?P=q)(?!\w)"
)
SOURCE: Final = re.compile(
    r"(?<!:/)(?<![\w/])[\w./@\\$-]{0,160}\.(?:py|[cm]?[jt]sx?|go|java|kt|scala|rb|rs|php|cs|c|cc|cpp|h|exs?|erl|swift|vue|ya?ml|toml|conf|json|lua|pl|sh|sql)(?::\d{1,6}){0,2}\b"
    r"|\b(?:on |at |in )?line \d{1,6}\b|(?<![\w:/.])(?:\.{1,2}|~)?/[\w./@$-]{1,200}(?::\d{1,6}){0,2}"
)


class ErrorKind(StrEnum):
    """What a type tells."""

    CODE = "code"
    VALUE = "value"
    DATABASE = "database"
    DEPENDENCY = "dependency"
    ANSWER = "answer"
    RATE_LIMIT = "rate_limit"
    LOGIN = "login"
    CLIENT = "client"
    """Of a client library: the status in it, and what it complains of, is somebody else's."""
    UNKNOWN = "unknown"


def _names(text: str) -> frozenset[str]:
    return frozenset(text.lower().split())


OF: Final = (
    (ErrorKind.CODE, _names(
        # Python
        "ModuleNotFoundError ImportError NameError AttributeError KeyError IndexError TypeError SyntaxError IndentationError TabError UnboundLocalError"
        " NotImplementedError RecursionError ZeroDivisionError OverflowError UnicodeDecodeError UnicodeEncodeError LookupError FileNotFoundError StopIteration"
        " NotADirectoryError IsADirectoryError FileExistsError JSONDecodeError ValidationError TemplateNotFound TemplateSyntaxError UndefinedError TemplateDoesNotExist"
        " ImproperlyConfigured AppRegistryNotReady ProgrammingError IntegrityError DataError UndefinedColumn UndefinedTable UndefinedFunction UniqueViolation"
        " NotNullViolation ForeignKeyViolation DuplicateColumn DuplicateTable NoSuchTableError NoReferencedTableError ArgumentError InvalidRequestError MissingGreenlet"
        " DetachedInstanceError CommandError FieldError DoesNotExist MultipleObjectsReturned NoReverseMatch PydanticUserError"
        # Java and its like
        " NullPointerException ClassNotFoundException NoClassDefFoundError NoSuchMethodError NoSuchMethodException NoSuchFieldError ClassCastException IndexOutOfBoundsException"
        " ArrayIndexOutOfBoundsException StringIndexOutOfBoundsException NumberFormatException UnsupportedClassVersionError ArithmeticException AbstractMethodError"
        " ExceptionInInitializerError IncompatibleClassChangeError VerifyError NoSuchElementException UnsupportedOperationException ConcurrentModificationException"
        " MappingException SQLGrammarException BadSqlGrammarException ConstraintViolationException DataIntegrityViolationException SQLSyntaxErrorException"
        " NoSuchBeanDefinitionException NoUniqueBeanDefinitionException BeanDefinitionStoreException BeanCurrentlyInCreationException FlywayValidateException JsonMappingException"
        " JsonParseException MismatchedInputException UnrecognizedPropertyException HttpMessageNotReadableException MissingKotlinParameterException StackOverflowError"
        " FileNotFoundException NoSuchFileException MatchError UninitializedPropertyAccessException ClassFormatError"
        # JavaScript
        " ReferenceError RangeError EvalError ERR_MODULE_NOT_FOUND MODULE_NOT_FOUND ERR_REQUIRE_ESM PrismaClientValidationError CastError ZodError"
        # Ruby, PHP, .NET
        " NoMethodError LoadError FrozenError UninitializedConstantError RoutingError ActionNotFound UnknownAttributeError RecordInvalid RecordNotFound"
        " ArgumentCountError ParseError DivisionByZeroError ErrorException BadMethodCallException BindingResolutionException NullReferenceException ArgumentNullException"
        " InvalidCastException KeyNotFoundException IndexOutOfRangeException FormatException MissingMethodException TypeLoadException TypeInitializationException"
        " UndefinedFunctionError FunctionClauseError CaseClauseError CompileError BadMapError UnsatisfiedLinkError LinkageError IllegalAccessError NotImplementedException"
        " StackOverflowException AccessViolationException BadImageFormatException OptionsValidationException PendingMigrationError MissingSchemaError NotRegistered GemNotFound MemoryError"
        " JsonException DivideByZeroException ObjectDisposedException ArgumentOutOfRangeException FileLoadException EntryPointNotFoundException"
    )),
    (ErrorKind.VALUE, _names(
        "ValueError AssertionError AssertError InterfaceError IllegalArgumentException InvalidArgumentException ArgumentException UnexpectedValueException RuntimeWarning"
        " AssertionFailedError ConfigException ConfigError ConfigurationError InvalidConfigurationException ConfigurationException SettingsError UsageError"
    )),
    (ErrorKind.DATABASE, _names("OperationalError")),
    (ErrorKind.DEPENDENCY, _names(
        "ConnectionError ConnectionRefusedError ConnectionResetError ConnectionAbortedError BrokenPipeError ConnectTimeout ConnectError ReadError ConnectionTimeout"
        " ConnectTimeoutError PoolTimeout MaxRetryError NewConnectionError gaierror BusyLoadingError ClusterDownError MasterDownError NoBrokersAvailable"
        " KafkaTimeoutError KafkaConnectionError NodeNotReadyError ServerSelectionTimeoutError AutoReconnect NotPrimaryError NetworkTimeout SMTPServerDisconnected SMTPConnectError"
        " AMQPConnectionError ConnectionClosedByBroker StreamLostError SERVER_DOWN ClientConnectorError ServerDisconnectedError ClientOSError ConnectionDoesNotExistError"
        " CannotConnectNowError TooManyConnectionsError ConnectException UnknownHostException NoRouteToHostException SocketException SSLHandshakeException"
        " CommunicationsException CannotGetJdbcConnectionException JDBCConnectionException SQLTransientConnectionException SQLRecoverableException RedisConnectionException"
        " RedisConnectionFailureException JedisConnectionException MongoTimeoutException MongoSocketOpenException MongoSocketReadException"
        " NoNodeAvailableException AllNodesFailedException ResourceAccessException WebClientRequestException HttpHostConnectException ConnectTimeoutException"
        " ClosedChannelException AlreadyClosedException BrokerNotAvailableException MongoNetworkError MongoServerSelectionError MongooseServerSelectionError"
        " SequelizeConnectionError SequelizeConnectionRefusedError SequelizeHostNotFoundError SequelizeConnectionAcquireTimeoutError PrismaClientInitializationError"
        " KafkaJSConnectionError KafkaJSNumberOfRetriesExceeded KafkaJSBrokerNotFound MaxRetriesPerRequestError ConnectionNotEstablished CannotConnectError ConnectionBad"
        " RedisException BrokerUnreachableException SERVERSELECTIONERROR EndpointConnectionError ConnectionClosedError"
        " APIConnectionError SdkClientException OpenTimeout ConnectionLossException SessionExpiredException UnresolvedAddressException NacosException FetchError"
        " ConnectionLoss LockException NoDatabaseError SQLNonTransientConnectionException ConnectionFailed NoHostAvailable PoolTimedOut"
    )),
    (ErrorKind.ANSWER, _names(
        "ReadTimeout ReadTimeoutError SocketTimeoutException ReadTimeoutException ServiceUnavailable DeadlineExceeded GatewayTimeout RedisCommandTimeoutException"
        " TimeoutError TaskCanceledException TransportException NetReadTimeout HttpTimeoutException WebServiceException"
    )),
    (ErrorKind.RATE_LIMIT, _names(
        "RateLimitError RateLimitExceeded TooManyRequests TooManyRequestsException TooManyRequestsError ThrottlingException ThrottledException Throttling ResourceExhausted SlowDown"
        " ProvisionedThroughputExceededException RequestLimitExceeded OverloadedError LimitExceededException"
    )),
    (ErrorKind.LOGIN, _names(
        "AuthenticationError AuthenticationException InvalidPasswordError InvalidAuthorizationSpecificationError InvalidPassword PasswordAuthenticationFailed SaslAuthenticationException"
        " SMTPAuthenticationError NoCredentialsError PartialCredentialsError DefaultCredentialsError RefreshError CredentialsProviderError ExpiredTokenException AccessDeniedException"
        " AuthenticationFailureException ProbableAuthenticationError AccessRefused MongoAuthenticationException ClientAuthenticationError TopicAuthorizationException ClusterAuthorizationException"
        " GroupAuthorizationException UnrecognizedClientException Unauthenticated Unauthorized PermissionDenied Forbidden TokenExpiredError ExpiredSignatureError INVALID_CREDENTIALS NoAuthError CredentialUnavailableException"
    )),
    (ErrorKind.CLIENT, _names(
        "HTTPError HTTPStatusError HttpServerErrorException HttpClientErrorException WebClientResponseException FeignException AxiosError ApiError ApiException APIStatusError"
        " ClientError ClientResponseError TransportError HttpRequestException HttpResponseError HttpResponseException RestClientException S3Exception AmazonS3Exception"
        " AmazonServiceException AwsServiceException HTTPFatalError HTTPServerError ServerException RequestException StatusCodeError ResponseError InternalServerError"
        " APIError StripeError HttpError GoogleAPICallError ServiceException RequestError TwilioRestException UnexpectedHttpStatus"
    )),
)  # fmt: skip
CLIENTS: Final = Gated(
    r"(?<![\w.])(?:Redis|Predis|RedisClient|Aws|Google|Stripe|Elasticsearch|Elastic|OpenSearch|Twilio|Faraday|RestClient|HTTParty|Kafka|Rdkafka|Bunny|Mongo|Sentry|Azure)(?:::|\\)\w"
    r"|(?<![\w.])(?:redis|stripe|botocore|boto3|snowflake|pymysql|MySQLdb|elasticsearch\d?|opensearchpy|cassandra|pymongo|kafka|confluent_kafka|cimpl|pika|aiokafka|hvac|kazoo|consul|grpc|grpc_status"
    r"|google\.api_core|google\.auth|azure|openai|anthropic|twilio|ldap3?|requests|httpx|aiohttp|urllib3|etcd3?|nats|zeep|paramiko)\.(?:\w+\.){0,6}\w"
    r"|(?<![\w.])(?:org\.apache\.(?:kafka|pulsar|zookeeper|http)|org\.elasticsearch|com\.stripe|com\.amazonaws|software\.amazon|redis\.clients|io\.lettuce|com\.hazelcast|io\.grpc|feign|retrofit2|okhttp3)\.\w"
    r"|\ban error occurred \(\w{1,80}\) when calling the \w{1,80} operation\b",
)  # fmt: skip
"""Types of libraries that ask somebody else, by their packages: what they are called like means nothing of the program (`Redis::CommandError`)."""
GAVE_ERROR: Final = re.compile(
    r"\{:?error, ?(?::?\b(?:timeout|closed|nxdomain|econn\w{0,12}|etimedout|ehostunreach|enetunreach|einval|no_\w{1,40})\b"
    r"|%(?:Mint|Finch|HTTPoison|Req|Tesla|DBConnection|Postgrex|MyXQL|Redix|Mongo|Xandra|AMQP|Gun|Jason|GRPC)\.[\w.]{1,80})",
    re.IGNORECASE,
)
"""What a client of Elixir or Erlang gave back: no clause of the program matches it, and the program is not what failed."""
KINDS: Final = {name: kind for kind, names in OF for name in names}
LEADING: Final = re.compile(
    r"(?:(?:Uncaught|Unhandled|fatal|Caused by:?|PHP Fatal error:|Exception in thread \S{1,60}) {1,2}){0,2}"
    r"(?:[A-Za-z_][\w$]{0,60}(?:\.|::|\\|\$|/)){0,12}(?P<name>[A-Za-z_]\w{2,60})(?:\$\w{1,40})?(?: \[[\w-]{1,40}\])?(?=:(?: |$)|\(|$| \(|;)"
)
ELIXIR: Final = re.compile(r"\*\* \((?P<name>[A-Z][\w.]{1,80})\) ")
WRAPPED: Final = re.compile(
    r"(?:[A-Za-z_][\w$]{0,60}(?:\.|::|\\)){0,12}(?P<name>[A-Z]\w{2,60}(?:Error|Exception))(?=: )"
)

# How lines are laid out, and what varies in them.

TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?")
LOGFMT = re.compile(r"(?:^|\s)(?:level|lvl|severity)=\"?([A-Za-z]+)")
LOGFMT_MESSAGE = re.compile(r"(?:^|\s)(?:msg|message|err|error)=(?:\"((?:[^\"\\]|\\.)*)\"|(\S+))")
BARE = re.compile(
    r"^(?:\[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d\S*\s+)?(?:\([^)]{1,60}\) )?"
    r"(?:PHP (?:Fatal|Parse) error: {1,2})?(?:Uncaught |Unhandled (?:exception[.:] )?|UnhandledPromiseRejectionWarning: )?"
    r"(?P<name>(?:[A-Za-z_]\w*[.\\]){0,8}[A-Z]\w{0,60}(?:Error|Exception)|Error|error|fatal)"
    r"(?: \[\w{1,40}\]| \(\w{1,12}\))?: (?P<text>\S.*)"
)
"""A line that only names its error, as Node, gRPC and command line tools write it: `Error: 14 UNAVAILABLE: ...`."""
_STAMP = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_STREAM = r"(?:std(?:out|err) [FP] )?"
STAMPED = re.compile(rf"^({_STAMP}) {_STREAM}\{{(?=\s{{0,9}}\")")
"""A record of JSON behind the time that a runtime or a collector writes before each line."""
KLOG = re.compile(rf"^(?:{_STAMP} {_STREAM})?[EF]\d{{4,8}} \d\d:\d\d:\d\d\.\d+ +\d+ [^\]]{{1,80}}\] ")
COLOUR = re.compile(r"\x1b\[[\d;]{0,20}m")
"""What a logger that takes its output for a terminal writes around its words."""
PHP_TIME = re.compile(r"^\[\d\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d(?:\.\d{1,6})?(?: [\w/+:-]{1,40})?\] ")
PHP = re.compile(
    r"^(?:(?:NOTICE|WARNING): )?(?:\[pool [\w.-]{1,60}\] child \d{1,9} said into stderr: \"(?:NOTICE: )?)?(?:FastCGI sent in stderr: \")?(?:PHP message: )?(?:PHP )?(?:(?:Fatal|Parse|Compile|Core|(?:Recoverable|Catchable) fatal) error|Parse error): {1,2}(?:Uncaught )?(?P<text>\S.*)"
)
"""PHP's own errors, as its log and FPM have them."""
_CLOCKED = r"(?:\d{4}[-/]\d\d[-/]\d\d[T ])?\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?: ?[AP]M)?(?:Z|[ ]?[+-]\d\d:?\d\d)?"
LEVEL_AT = re.compile(
    rf"^\[?{_CLOCKED}\]?(?:[ \t|]{{1,4}}(?:- )?)(?:[\w/-]{{1,80}}\.go:\d{{1,6}}: )?(?:(?-i:ERR|FTL|EROR|CRT|PNC)(?=[\s\]|:])\]?|[\[(<]?(?:error|err|fatal|critical|crit|panic|severe)(?: *[\])>|]|[:\t]|  (?=\S)))[\s|:-]*",
    re.IGNORECASE,
)
"""A level in small letters or shortened behind the time: Serilog, zerolog, winston, spdlog, Vapor."""
DOTNET = re.compile(
    rf"^(?:\[?{_CLOCKED}\]? {{1,3}})?(?:fail|crit): [A-Za-z_][\w.+`<>,\[\] -]{{0,160}}\[-?\d{{1,10}}\](?: =>[^\n]{{0,200}})?(?: {{1,8}}(?P<text>\S.*))?$"
)
"""The head of an error of .NET's console; its message stands below it, or behind it where all is on one line."""
DOTNET_THROWN = re.compile(r"(?:[A-Za-z_]\w{0,80}\.){1,12}\w{1,80}(?:Exception|Error)\b")
TYPE = re.compile(
    r"(?<![\w/.])(?:[A-Za-z_]\w*\.)*(?P<name>[A-Z]\w{0,60}(?:Error|Exception|Timeout|Failure|Refused|Fault)|"
    r"(?:Key|System|Generator|Keyboard)(?:Interrupt|Exit))\b(?:\s*\([\w.]{1,80}\))?(?P<rest>:\s*(?P<text>.*))?"
)
RAISED = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:: .*)?$")
TRACE = "Traceback (most recent call last):"
CHAINED = ("During handling of the above exception", "The above exception was the direct cause")
THROWN = re.compile(r"^Exception in thread \"[^\"]*\" (?P<text>.*)")
CAUSED = re.compile(r"^Caused by: (?:[A-Za-z_]\w*\.){0,12}(?P<name>[A-Za-z_][\w$]{1,80})(?:: (?P<text>.*))?$")
"""The cause below a Java exception: the last one is where it began, as the first of a chain of Python tracebacks is."""
_GO_LOG = r"(?:\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d\S{0,20} )?(?:[\w/-]{1,80}\.go:\d{1,6}: )?"
PANIC = re.compile(
    rf"^{_GO_LOG}(?:\[[^\]]{{1,60}}\] (?:\d{{4}}/\d\d/\d\d - [\d:]{{8}} )?){{0,2}}(?: ?[Pp]anic: |(?:https?2?: panic serving \S{{1,80}}|panic recovered|[Rr]ecovered (?:from )?panic|PANIC|\[PANIC RECOVER\]):? ?"
    r"|thread '[^']{0,80}' (?:\(\d{1,9}\) )?panicked at (?:[\w./-]{1,200}:\d{1,6}:\d{1,6}:(?: |$))?)(?P<text>.*)"
)
"""A panic that ends a program of Go or Rust, or that a server of Go caught while it answered a request."""
PANICKED = re.compile(r"thread '[^']{0,80}' .{0,20}panicked at \S{1,220}:|.{0,120}\bpanic recovered:")
"""The head of a panic of Rust, and of one that Gin caught; its message stands on a line below."""
ASKING = re.compile(r"[A-Z]{3,7} \S{1,2000} HTTP/\d|[A-Z][\w-]{1,60}: \S")
"""The request that Gin writes between the two."""
ANOTHER = re.compile(r" panicked at |^(?:\S{1,40} ){0,2}\[?(?:TRACE|DEBUG|INFO|WARN|WARNING|ERROR)\b")
"""The next line is no such message, but the next head, or has a level."""


VARYING: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE), "<uuid>"),
    (TIME, "<time>"),
    (re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]{1,190}"), "<email>"),
    (re.compile(r"\b127(?:\.\d{1,3}){3}(?::\d{1,5})?\b|\[::1\](?::\d{1,5})?"), "localhost"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b"), "<ip>"),
    (re.compile(r"\[?\b(?:[0-9a-f]{1,4}:){3,7}:?[0-9a-f]{0,4}\]?(?::\d{1,5})?", re.IGNORECASE), "<ip>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "<hex>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9]*[a-f])[0-9a-f]{8,}\b", re.IGNORECASE), "<hex>"),
    # Any other word of letters with at least two digits in it, e.g. a request's or a pod's generated part.
    (re.compile(r"\b(?=[a-z]*\d[a-z]*\d)(?=\d*[a-z])[a-z0-9]{5,}\b", re.IGNORECASE), "<id>"),
)
NUMBER = re.compile(
    r"(?P<status>\b(?:status|http|code|error|response|answered)(?:[ _]code)?\W{1,3}'?[1-5]\d\d\b(?!\.\d))|\d+(?:\.\d+)?",
    re.IGNORECASE,
)
