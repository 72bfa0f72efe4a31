"""The signs of a program's own fault in words, as tables: what is missing in its image, what it was given wrongly, where it broke, and which
lines are no words about an end at all.

Used by `remediations.evidence.natures` and `remediations.evidence.logs`, which judge by them. A line without a sign accuses nobody. Pure tables.
"""

from __future__ import annotations

import re
from typing import Final

from app.domain.gated import Gated, gate


def _words(*patterns: str) -> str:
    return rf"(?<![\w-])(?:{'|'.join(patterns)})(?![\w-])"


MISSING: Final = Gated(
    _words(
        # Modules, classes, libraries, files and commands that an image should have.
        r"cannot find (?:module|package|type|symbol|name|the (?:module|file|class))", r"no module named", r"module .{1,80} (?:was |could )?not (?:be )?found", r"cannot import name", r"cannot load such file",
        r"(?:could not|cannot|can.t|unable to|failed to) (?:find or load main class|access jarfile|load (?:the )?(?:plugin|shared (?:object|library)|native library|dynamic library)|locate the query engine|open shared object file)",
        r"error loading shared librar(?:y|ies)(?: .{1,80})?", r"could not load (?:file or assembly|the module)", r"you must install or update \.NET", r"could not find [\w.-]{1,120} in (?:locally installed gems|any of the sources)",
        r"(?:class|interface|trait|module|template|package|gem|plugin|extension|assembly|jar|bundle|chunk|entry ?point|manifest|main class) [\"'`]?[\w./:@\\-]{1,120}[\"'`]? (?:(?:was|is|could) )?(?:not found|not be found|does not exist|missing|cannot be found)",
        r"no such file or directory", r"executable file not found", r"command not found", r"/?(?:bin/)?(?:ba|da|a)?sh: (?:\d{1,4}: |line \d{1,5}: )?[\w./-]{1,80}: not found", r"is not recognized as an? (?:internal|name)", r"/?(?:bin/)?(?:ba|da|a)?sh: .{1,80}: permission denied", r"required a bean of type \S{1,120} that could not be found", r"compiled against a different \S+", r"could not find gem", r"cannot find -l\w+", r"ERR_DLOPEN_FAILED",
        r"version [`'\"]?\w{2,20}_[\d.]+[`'\"]? not found", r"(?:undefined|unresolved) (?:symbol|reference)", r"does not provide an export", r"has no exported", r"(?:manifest|chunk|bundle|asset)s? (?:file )?(?:not found|missing)",
        r"(?:python|node|java|ruby|php|go|\.net|glibc) [\d.]+ or (?:newer|later|higher) (?:is )?required", r"exec format error", r"require\(\) of ES Module\b.{0,160}", r"cannot use import statement outside a module", r"cannot execute(?: binary file|: required file not found)", r"unable to find a match",
        r"(?:not available|unavailable|not supported|not implemented|not compiled) (?:in|on|for|by|into) this (?:build|platform|version|environment|runtime|architecture)", r"ERR_(?:MODULE|REQUIRE|PACKAGE|UNKNOWN|UNSUPPORTED|INVALID)\w*",
        r"(?:following|required) (?:files|migrations|assets) (?:are|is) missing", r"license file missing", r"file missing: \S+", r"cannot get uid for user", r"unable to find user", r"(?:user|group) \S{1,60} (?:does not exist in|not found in) /etc/\w+",
        r"could not locate Gemfile", r"bundler: command not found: \S+", r"environment variable not found: \S+", r"could not load \S+\.(?:txt|json|ya?ml|xml|conf|so|dll|jar)", r"no \w+ in java\.library\.path", r"error loading (?:asgi|wsgi) app", r"failed opening required", r"(?:exec|execve|fork/exec):? [\"'`]?/[\w./-]{1,120}[\"'`]?: permission denied", r"application [\"'`]?[\w./-]{1,120}\.dll[\"'`]? does not exist",
        r"linkage ?error occurred while loading", r"compiled by a more recent version", r"could not find an? production build", r"the command could not be loaded, possibly because", r"missing encryption key to decrypt\b.{0,40}", r"missing script", r"not found in [\w./-]{1,80}\.(?:php|py|js|ts|ya?ml|toml|json|ini|conf|properties)",
    ),
)  # fmt: skip
"""What an image or the program's own files lack, whatever the exception is called."""

GIVEN: Final = Gated(
    _words(
        # Flags, settings and values of its own.
        r"(?:unknown|unrecogni[sz]ed|unexpected|undefined|unsupported|unbekannte?[rs]?|inconnue?|desconocid[ao]|no such|illegal|bad|ambiguous) (?:\w{1,20} )?(?:flag|option|argument|command|subcommand|(?:sub)?directive|field|property|parameter|setting|switch|variable|config(?:uration)?(?: \w+)?|(?:authentication )?strategy|log ?level|keyword|attribute|element|scheme|protocol scheme|dialect|driver|encoding|locale|timezone|profile|type|unit|key(?! id)|keyword)\w{0,2}",
        r"option.{0,4} --?[\w-]+", r"unrecogni[sz]ed VM option", r"(?:flag|option) (?:redefined|provided but not defined|needs an argument|requires (?:an? )?(?:argument|value))", r"(?:flags?|options?|arguments?) (?:are|is) (?:mutually exclusive|required|missing|invalid)", r"flag redefined: \S+",
        r"invalid (?:value|option|argument|flag|config(?:uration)?|number of arguments|port(?: number)?|log ?level|character|maximum heap|initial heap|duration|format|yaml|json|toml|xml|dsn|uri|type|syntax|choice|default|regex\w*|cron\w*|literal|size|escape|identifier|interpolation|range|boolean|integer|number|key size|signing key|enum|input|setting|environment|module|import|memory reference)\w{0,3}",
        r"(?:missing|lacks|without) (?:a |an |the )?(?:required |mandatory )?(?:field|argument|environment(?: variable)?s?|env(?: var(?:iable)?)?s?|config(?:uration)?(?: \w+)?|property|parameter|option|setting|directive|positional|keyword|value for|closing|operand|flag)\w?",
        r"(?:missing|no value given for) (?:the )?required \w{2,20}(?: \w{2,20})?", r"required (?:\w{1,20} )?(?:variable|property|key|option|flag|field|setting|parameter|argument|value|configuration|config)s?\b.{0,80}",
        r"(?:[A-Z][A-Z0-9]*_[A-Z0-9_]+|[\"'`][\w.-]{2,60}[\"'`]|variable \S{2,60}|property \S{2,60}|option \S{2,60}|setting \S{2,60}|configuration \S{2,60}|(?:secret|api|signing|encryption|access|private) key|environment variable\S{0,60}) (?:(?:is|are|was|must be) )?(?:not (?:been )?(?:set|defined|provided|configured|specified)|required|missing|empty|undefined|unset|set|specified|provided|defined|mandatory)",
        r"unbound variable", r"parameter (?:null or )?not set", r"could not resolve placeholder", r"no (?:configuration (?:setting|provided|found)|default value|authenticationScheme|schema specified|command specified|entry ?point)", r"configuration (?:at \S{1,80} )?was not set", r"config(?:uration)? (?:file )?(?:error|validation (?:error|failed)|is invalid|not valid|is malformed|test failed)\w{0,3}",
        r"(?:failed|unable|could not|cannot|couldn.t) (?:to )?(?:parse|decode|unmarshal|deseriali[sz]e|validate|compile|bind properties|interpolate)\b.{0,120}", r"cannot unmarshal", r"error (?:parsing|decoding|unmarshalling|compiling|in (?:config|configuration|template))\w{0,20}", r"(?:yaml|toml|json|xml|hcl|ini): .{0,80}", r"did not find expected", r"did not match (?:any|the)\b.{0,60}", r"field not found", r"no such field",
        r"must have an? \w+", r"unknown variant\b.{0,60}", r"unknown feature(?: flag)?\b.{0,40}", r"invalid (?:feature|prop|migration|schema|header)\w*", r"unsupported protocol version", r"larger value than the maximum", r"cannot query field", r"no (?:service for type|provider for)\b.{0,60}", r"multiple registrations", r"negative WaitGroup counter", r"function .{1,40} not defined", r"(?:schema|model|entity|component|service) .{0,60}(?:hasn.t|has not|not) been registered", r"pending migrations?", r"migrations are pending", r"must (?:not )?be (?:>=?|<=?|=|greater|less|at (?:least|most)|positive|negative|non\W|one of|an? |of type|in the range|between|set|specified|defined|provided|unique|absolute|empty|valid|the same|either|str|int|bool|bytes|numeric|callable|configured|Non)\b.{0,60}", r"should be (?:one of|greater|less|at least|a valid)", r"expected .{1,60}(?:,| but) (?:got|found|received|was)\b", r"(?:is|are) (?:not allowed|not permitted|deprecated and removed|no longer supported|not a valid|not valid)(?: \w+)?",
        r"could not fetch application environment", r"usage: \S+", r"aufruf: \S+", r"(?:could not|cannot|can.t) parse(?: \w+)?", r"keyword not supported", r"not (?:in|of) (?:a|the) (?:correct|expected|valid) format", r"(?:duplicate|conflicting|ambiguous) (?:field|key|directive|metrics?|definition|bean|route|name|handler|registration|mapping|option|type|symbol|declaration)\w{0,2}", r"(?<!connection )conflicts with",
        r"directive is (?:duplicate|not allowed)\w*", r"(?:already (?:been )?registered|registered twice|registration attempted)(?! by)", r"multiple head revisions", r"(?:migration|database|version|schema)\b.{0,30} is dirty", r"dirty database version", r"checksum mismatch", r"validate failed", r"migrations? (?:directory is corrupt|have failed validation|failed: (?:column|relation|table|syntax))", r"(?:unable|failed) to resolve (?:service for type|dependency|module|import|migration|symbol|expression)", r"no qualifying bean", r"can.t resolve dependencies of", r"dependencies of some of the beans\b.{0,60} form a cycle", r"no (?:enum constant|method named|handler for|mapping for|implementation (?:found|bound))",
        r"address already in use", r"port \d{1,5} (?:was |is )?(?:already )?in use(?: already)?", r"EADDRINUSE", r"only one usage of each socket address", r"(?:listen|bind)\w{0,5}\b.{0,60}(?:permission denied|EACCES|cannot assign requested address)", r"bind: .{0,60}", r"requires (?:net|read|write|env|run|sys|ffi) access", r"(?:key|secret|password) must be\b.{0,40}", r"keystore password was incorrect", r"password verification failed", r"tag mismatch", r"structure error: tags don.t match", r"(?:find|parse|decode|read) any PEM data", r"unsupported protocol scheme",
        r"run .{0,3}(?:npm|yarn|pnpm|make|rails|python|php) (?:run |artisan )?\w+\W{0,2}(?: first)?", r"(?:must|should) implement", r"is not (?:a )?registered", r"unknown (?:db|database) (?:driver|dialect|adapter|engine)", r"has been compiled by a more recent version", r"incompatible with (?:this|the) \w+", r"unable to open (?:config|configuration)\w*", r"could not open (?:config|configuration|input file)\w*", r"not callable",
    ),
)  # fmt: skip
"""Flags, settings, values and names of its own that a program refuses; the schema that it expects."""

BROKEN: Final = Gated(
    _words(
        # Where the program itself went wrong.
        r"(?:is|are) not (?:a function|a constructor|defined|iterable|subscriptable|callable|an object)", r"cannot (?:read|set|access|destructure) propert(?:y|ies)", r"cannot access .{1,60} before initiali[sz]ation", r"(?:of|on) (?:undefined|null|nil|None)", r"undefined (?:method|variable|function|local variable|index|array key|constant|property|offset|is not)", r"call to (?:undefined|a member function)",
        r"uninitiali[sz]ed constant", r"nil pointer(?: dereference)?", r"null pointer", r"invalid memory address", r"(?:nil|null) map", r"(?:index|subscript|slice bounds|array index|offset|string index|range end index)\b.{0,20} out of (?:range|bounds)", r"out of bounds", r"nil while unwrapping", r"`?Option::unwrap\(\)`? on a `?None`?(?: value)?", r"on an? `?(?:None|nil)`? value", r"(?:`?Err`? value: )NotPresent", r"interface conversion", r"type assertion", r"close of (?:closed|nil) channel", r"send on closed channel",
        r"(?:segmentation|general protection|page) fault\w*", r"sigsegv", r"unexpected signal", r"sigabrt", r"sigill", r"sigbus", r"illegal instruction", r"core dumped", r"stack smashing(?: detected)?", r"double free(?: or corruption)?", r"free\(\): .{1,40}", r"malloc\(\): .{1,40}", r"(?:heap|memory) corruption", r"bad_alloc", r"bad_function_call", r"bad_variant_access", r"pure virtual (?:method|function) call(?:ed)?",
        r"stack overflow", r"maximum call stack(?: size exceeded)?", r"(?:maximum )?recursion (?:depth|limit)\w*", r"assert(?:ion)? (?:fail(?:ed|ure)|error)\w*", r"(?:failed assertion|assertion [`'\"])\S*", r"check failed: .{0,60}(?:[!=]=|[<>]=?).{0,80}", r"concurrent map (?:writes|read and map write|iteration and map write)", r"all goroutines are asleep\b.{0,20}", r"(?:division|divide) by zero", r"integer (?:overflow|divide by zero)", r"attempt to (?:subtract|add|multiply|divide) with overflow", r"unreachable code",
        r"java heap space", r"(?:heap|gc overhead|heap limit) .{0,30}out of memory", r"gc overhead limit exceeded", r"reached heap limit\b.{0,30}", r"allowed memory size .{0,40}exhausted", r"metaspace",
        r"(?:sql |php |ruby )?(?:syntax|parse|indentation|compile|compilation|type) ?error\w*", r"unexpected (?:token|end of (?:input|file|JSON)|identifier|character|EOF while|keyword argument|indent|string|number|reserved word|T_\w{1,60}|['\"`]\S{1,200})\w*", r"invalid syntax", r"unterminated \w+", r"unmatched \w+", r"wrong number of arguments", r"(?:takes|takes exactly|expected) \d+ (?:positional )?arguments?\b.{0,40}", r"argument #?\d+\b.{0,60}must be\b.{0,60}", r"positional arguments?", r"too (?:few|many) arguments",
        r"object has no attribute", r"has no (?:attribute|member|property|method|field)", r"circular (?:import|dependency|reference)", r"cannot (?:be )?(?:cast|convert|coerce|assign(?! requested)|instantiate)\w*(?: to| from)?", r"(?:type mismatch|incompatible types|unhashable type)", r"requires a callback function", r"void com\.\S{1,120}", r"no overload\b.{0,40}", r"unimplemented", r"not yet implemented",
        r"can.t (?:locate object method|call method)\b.{0,60}", r"prelude\.\w{1,30}: .{0,60}", r"non-exhaustive (?:patterns|guards)", r"std::(?:out_of_range|logic_error|invalid_argument|length_error|domain_error)", r"(?<=\{)(?:badmatch|badarg|badarith|badkey|badfun|case_clause|function_clause|undef)\b",
        r"invalid memory reference", r"runtime error: .{0,80}", r"program (?:abort|received signal)\w*", r"abort(?:ed)? \(core dumped\)", r"fatal python error", r"is not a valid Win32 application", r"an attempt was made to load a program with an incorrect format",
    ),
)  # fmt: skip
"""Where a program itself went wrong, in the languages' own words."""

UNREADABLE: Final = Gated(
    r"\bin JSON at position\b|\bis not valid JSON\b|\bJSON input\b|\bunexpected token <|\bexpecting value: line 1 column 1\b"
    # Parsers' words for the page of a proxy, or for nothing, in place of an answer.
    r"|\binvalid character '<'|\bunexpected (?:character|token)s?:?(?: at)? ?\(?['\"]<|['\"]<['\"]? is an invalid start|<(?:!doctype|html|head|body|\?xml)\b"
    r"|\bJsonException: Syntax error|\bsimplexml_load_string\b|\betree\S{0,40}ParseError\b|\bExpected BEGIN_(?:OBJECT|ARRAY) but was\b|\bNo content to map\b|\bInvalid numeric literal\b"
    r"|\b(?:pars(?:e|ing)|decod(?:e|ing)|read(?:ing)?|extract(?:ing)?) (?:the )?(?:response|reply|answer)\b|\bkind: Decode\b|\bno suitable HttpMessageConverter\b"
    # Statuses of gRPC: the peer gave them.
    r"|\brpc error: code = \w+|\bStatus \{ code: \w+|\bStatusCode\.[A-Z]|\b_?InactiveRpcError\b"
    r"|(?<![\w.])(?:[1-9]|1[0-6]) (?:CANCELLED|UNKNOWN|INVALID_ARGUMENT|NOT_FOUND|ALREADY_EXISTS|FAILED_PRECONDITION|ABORTED|OUT_OF_RANGE|UNIMPLEMENTED|INTERNAL|DATA_LOSS):"
    # Commands that ask somebody, as shell scripts have them.
    r"|^(?:curl: \(\d{1,2}\)|jq: |wget: |getent: |parse error: Invalid numeric literal)",
)  # fmt: skip
"""Something that was asked of somebody else is not what it should be: an answer that cannot be read, or one that says no."""
OF_ANOTHER: Final = Gated(
    rf"{UNREADABLE.pattern}|\b(?:response|reply|answer|payload|document|body|page) (?:of|from|by|sent by|was|is|had)\b"
    r"|(?-i:\b(?:[A-Z]\w{0,60})?(?:Response|Reply)\b)|\b(?:consul|vault|etcd|zookeeper|nacos|apollo|eureka)\b|\breturned by \S"
    r"|\b(?:s3a?|gs|gcs|abfss?|wasbs?|hdfs|az|oss|nfs)://"
    r"|(?<![\w.])/(?:mnt|media|data|nfs|efs|volumes?|vault|run/secrets|var/run|var/lib|shared)/",
)
"""What was wrong came from somewhere else: an answer that could not be read, a store of configuration, a bucket, a file of a volume."""
CONSEQUENCE: Final = Gated(
    r"\bNoneType\b|\b(?:of|on|is|are|was|returned|got|got:|value|but found) [`'\"(]?(?:undefined|null|nil|None)\b|\bnull given\b|\bnil pointer\b|\bnull ?pointer|\bNullReferenceException\b"
    r"|\bobject reference not set\b|\binvalid memory address\b|\bnil map\b|\bnil:NilClass\b|\bfor nil\b|\bOption::unwrap\(\)|\bcannot (?:read|set|access|destructure) propert"
    r"|\b(?:is not|not) (?:iterable|subscriptable)\b|\.\w+ is not a function\b"
    r"|\bKeyError\b(?!(?-i:: ['\"][A-Z][A-Z0-9_]{2,}['\"]))|\bkey not found\b|\bKeyNotFoundException\b|\bundefined (?:index|array key|offset)\b|\bBadMapError\b"
    r"|\bIndexError\b|\bindex\b.{0,30} out of (?:range|bounds)\b|\bout of bounds\b|\bIndexOutOf\w+|\bout_of_range\b|\bNoSuchElementException\b|\bNo value present\b|\bcontains no elements\b|\bStopIteration\b"
    r"|\bnot enough values to unpack\b"
    # What a shell says of a variable or a file that a command before it should have filled.
    r"|^\S{1,80}: line \d{1,5}: |^/?(?:bin/)?(?:ba|da|a)?sh: ",
)  # fmt: skip
"""An error of the program about something that is not there: its own fault, or what follows when somebody else gave nothing. The name of an
environment variable is no such thing: the release gives it."""
ALL: Final = (MISSING, GIVEN, BROKEN)

ITSELF: Final = Gated(
    r"(?<![\w.-])(?:localhost|127(?:\.\d{1,3}){3}|\[?::1\]?)[\"']?,?(?: \(\S{1,60}\),?)?(?::| (?:on )?port[ =:]{1,2}|[\"', ]{1,3}port[\"']?[ =:]{1,3})\d{2,5}",
)
"""An address of the pod itself: what does not answer there is a part of it."""
ANOTHER_SIDE: Final = Gated(
    r"\blookup \S|\bproxy\w{0,20}\b.{0,60}(?:localhost|127\.)|\bhost(?:name)?[=: ]{1,2}[\"'](?!localhost|127\.|::1)\w"
    r"|->(?!127\.|\[::1)[\d\[]|(?:dial \w{2,5}|connect\w{0,12}|upstream:|to|from|at|with) \W{0,2}(?:\w{2,20}://)?(?!localhost\b|127\.)[a-z0-9][\w.-]{1,120}:\d{2,5}\b",
)
"""Somebody else is named as well, or asked by way of the pod itself."""
NOT_IN_TIME: Final = Gated(r"\btimed? ?-?out\b|\btimeout\b|\bdeadline\b|\bETIMEDOUT\b|\btoo late\b")
HUNG_UP: Final = Gated(
    r"\bClientAbortException\b|\bclient (?:prematurely )?closed connection\b|\bwhile (?:sending (?:response )?to|reading|waiting for|processing) client\b"
    # The port of our end is below those that outgoing connections get.
    r"|\b(?:read|write) tcp \S{2,60}:(?:[1-9]\d{0,3}|[12]\d{4}|3[01]\d{3}|32[0-6]\d\d|327[0-5]\d|3276[0-7])->\S{2,60}: ",
)
"""Who asked us went away."""
BROKEN_PIPE: Final = Gated(r"\bBrokenPipeError\b|\bbroken pipe\b|\bEPIPE\b|\b(?:Errno|errno|error) 32\b")
"""Whose end it was is not told by these words alone: mostly that of who asked us."""
OF_A_PEER: Final = Gated(
    r"->|\b(?:to|from|by|of|with) (?:the )?(?:server|database|db|redis|kafka|broker|upstream|backend|peer|remote)\b|\b(?:sql|postgres\w*|mysql|redis|kafka|amqp|mongo\w*|nats|ssl|tls|driver|socket)\b|://",
)
"""Words of a connection of ours to somebody else."""

WRAPS: Final = frozenset(
    [
        "typeinitializationexception",
        "exceptionininitializererror",
        "errorexception",
        "jsondecodeerror",
        "jsonparseexception",
        "jsonexception",
        "mismatchedinputexception",
        "unexpectedvalueexception",
        "objectdisposedexception",
        "runtimewarning",
        "unrecognizedpropertyexception",
        "jsonsyntaxexception",
    ]
)
"""Types that say little by themselves: they carry whatever failed below them, or an answer that somebody else gave."""
PLACE_ONLY: Final = re.compile(
    r"[\w./@\\:$-]{1,300}\.(?:py|[cm]?[jt]sx?|go|java|kt|rb|rs|php|cs|cc?|cpp|exs?|pl|lua)(?::\d{1,6}){1,2}"
)
"""A line that is nothing but a place in the source: an uncaught error of Node begins so."""
INNER: Final = re.compile(r" {0,3}(?:-{2,3}> |; nested exception is:? |\bcaused by: )", re.IGNORECASE)
"""What stands between an exception and the one below it in one line."""
CAUSE: Final = re.compile(
    r"[\s|+>-]{0,40}(?:-{2,3}> |(?=\{:error, )|\[?\b(?:caused by|root cause|cause|reason)\]?:? {1,3}(?=\S)|\[cause\]: |nested exception is:? |\*\* (?=\()|\| (?=\w[\w.]{0,80}(?:Error|Exception)\b))(?P<text>\S.*)",
    re.IGNORECASE,
)
"""A line that tells the cause of the error before it, as .NET, Node, Elixir and groups of Python's exceptions do."""
CAUSES: Final = re.compile(r"\s{0,8}caused by:?\s{0,8}", re.IGNORECASE)
NUMBERED: Final = re.compile(r"\s{1,8}\d{1,2}: (?P<text>\S.*)")
"""A list of causes below "Caused by:", as Rust's error reports have it."""
ROUTINE: Final = re.compile(
    r"(?:^|[\s\[|\"(])(?-i:INFO|DEBUG|TRACE|NOTICE|VERBOSE|WARN|WARNING|info|debug|trace|notice|warn|warning|Information|Debug)(?=[\s\]|:\")]|$)"
    r"|\b(?:level|lvl|severity)[\"']?\s?[=:]\s?[\"']?(?:info|debug|trace|notice|warn(?:ing)?)\b|\"level\":\s?[1-4]\d\b|^[IWD]\d{4} \d\d:"
)
"""A line at a level below an error."""
FRAME: Final = re.compile(
    r"\s+at |\s*File \"|\s*from /|\s*\.\.\. \d+ |goroutine \d+|\s*[\^~]+\s*$|Traceback |stack backtrace|\s*\d{1,3}: 0x|created by |\[signal |exit status \d+$|note: run with "
    r"|npm (?:ERR!|error)|error Command failed with exit code|info Visit "
)
"""Lines around an error that are no words of it: frames, and what a package manager prints after any failure."""


# What a line below the level of an error says: that something did not work, that it does again, or nothing that counts.

TROUBLE: Final = re.compile(
    r"\bfail(?!\w*[-_ ]?(?:fast|over|safe)\b)(?:ed|ure|ures|s|ing)?\b|\berrors?\b(?! (?:handl|pag|log|level|report|middle|track|bound|rate|budget))|\b[A-Z]\w{0,60}(?:Error|Exception|NotFound|Unavailable|Refused|Timeout)\b|\b(?-i:E(?:CONN|TIMED|NOT|AI_|HOST|NET|PIPE|ACC|PERM|NO)[A-Z]{0,12})\b"
    r"|\bden(?:ied|ies)\b|\brefus(?:ed|es|ing)\b|\breject(?:ed|s|ing)\b|\bforbidden\b|\bunauthori[sz]ed\b|\b(?:un|in)(?:available|reachable|healthy|accessible|sufficient|responsive)\b"
    r"|\b(?:not|n't|never) (?:yet )?(?:available|reachable|ready|found|allowed|permitted|enough|provisioned|possible|responding|connected|authori[sz]ed|accept\w*|assigned|elected|synced|initiali[sz]ed|healthy)\b"
    r"|\btim(?:e|ed|es)[ -]?out\b(?![\"']?\s?[:=]| (?:is|set|of \d))|\bdeadline\b|\b(?:cannot|can't|couldn't|could not|unable)\b|\bdo(?:es)? not exist\b|\bexceed(?:s|ed|ing)\b|\bexhausted\b|\btoo (?:many|large|late)\b"
    r"|\bout of (?:memory|sync|space|range|disk|connections)\b|\bexpired\b|\binvalid\b|\bincorrect\b|\blost\b|\babort(?:ed|ing|s)?\b|\bcorrupt\w*|\bmismatch\w*|\bconflicts?\b|\bblocked\b|\b(?:dead)?locked\b|\bdeadlock\b|\bbroken\b|\bis down\b|\bcrashed\b|\bkilled\b|\bpanic\b"
    r"|\bg(?:iv|av)(?:e|ing) up\b|\bwaiting (?:for|on|until)\b|\bno (?:such|leader|quorum|healthy|route|response|answer|reply|shards?|slots?|servers?|brokers?|primary|credentials)\b|\bdisconnected\b|\breset by\b|\bdiverged\b|\bfull\b|\boverload\w*|\bthrottl\w+|\brate.?limit\w*|\b(?:limit|max\w*|quota)\b.{0,40}\b(?:reached|hit)\b|\bmissing\b|\bempty\b|\bread.?only\b"
    r"|\b(?:HTTP|status|answered|returned|error|code|from)\b.{0,12}\b[45]\d\d\b|\b(?:reason|completion code|exit code|code)\W{1,3}\d{1,5}\b"
    # In other languages.
    r"|\b(?:erreur|échec|échoué|refusé\w*|impossible|délai dépassé|fehler|fehlgeschlagen|verweigert|nicht (?:erreichbar|gefunden|verfügbar)|zeitüberschreitung|fallo|rechazad[oa]|agotad[oa]|denegad[oa]|falha|recusad[oa]|errore|rifiutat[oa]|ошибка|отказано|не удалось)\b"
    r"|エラー|失敗|できません|拒否|タイムアウト|错误|失败|超时|拒绝|无法|錯誤|失敗|오류|실패|거부",
    re.IGNORECASE,
)  # fmt: skip
"""Something did not work, in words of everyday."""
RECOVERED: Final = re.compile(
    r"(?<!not )\b(?:re-?)?connected\b|\bconnection (?:was |is |has been )?(?:re-?)?(?:established|restored)|\b(?:retr(?:y|ied)|attempt|tr(?:y|ied)|reconnect\w*)\b.{0,40}\bsucce(?:eded|ssful\w*)|\bsucce(?:eded|ssful\w*) (?:after|on|at) .{0,24}(?:retr|attempt|tr(?:y|ies))"
    r"|\brecovered\b|\bback (?:online|up|to normal)\b|\b(?:is|are) (?:now |again |back )+(?:up|ready|available|healthy|reachable|online)\b|\bafter \d+ (?:retries|attempts|tries): ok\b",
    re.IGNORECASE,
)  # fmt: skip
"""What did not work does again."""
EITHER: Final = gate(f"{TROUBLE.pattern}|{RECOVERED.pattern}")
"""Finds something in every line in which one of the two does, and in few others; at a fiftieth of their cost, for most lines say neither."""
NOISE: Final = Gated(
    r"deprecat|\bslow (?:query|sql|statement|request|operation|command)\b|\b(?:query|statement|request) (?:was |is )?slow\b|\bwill be (?:removed|ignored|dropped)\b|\bignor(?:ed|ing)\b|\bdefault(?:s|ed|ing) to\b|\busing (?:the |a )?(?:default|built-?in|fall-?back|in-memory|standard|bundled)"
    r"|\bnot recommended\b|\bexperimental\b|\boptional (?!value|type)|\bSLF4J\b|\bdo not use .{0,40}production\b|\bwaiting (?:for|on) (?:new |incoming |the next )?(?:connections?|requests?|jobs?|messages?|events?|work|tasks?|signals?|traffic|debugger|changes)\b"
    r"|\b(?:errors?|fail\w*|timeouts?|rejected|dropped|lost|expired)[\"']?\s?[:=]\s?0\b|\b(?:0|no|zero) (?:errors?|failures|failed|timeouts|conflicts)\b|\bif .{0,60}\b(?:fails|failed|cannot)\b|\bin case of\b|\bsucce(?:eded|ssful\w*) (?:after|following)\b|\b\w*time-?out\w*[\"']?\s?[:=]\s?[\"']?\d+\s?(?:ms|s|m|h)?\b(?! (?:exceeded|reached|elapsed|expired))",
)  # fmt: skip
"""What programs warn of every day although everything works."""
LEVEL: Final = re.compile(
    r"^(?:\[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d\S*\s+)?[\[(<]?(?:INFO|DEBUG|TRACE|NOTICE|VERBOSE|WARN|WARNING|Information|Debug)[\])>]?:?\s+",
    re.IGNORECASE,
)
"""The time and the level that a line begins with."""
_SIGNALS = r"(?:spans?|traces?|metrics?|logs?|log records?)"
TELEMETRY: Final = Gated(
    rf"\bexport(?:s|ed|ing)? {_SIGNALS}\b(?! of\b)|\b{_SIGNALS} export(?:s|er|ing)?\b|\btelemetry\b"
    r"|\b(?:otel|otlp|opentelemetry|\w{0,30}(?:Span|Metric|LogRecord)\w{0,12}(?:Exporter|Processor)|OTLP\w{0,30}|PeriodicExportingMetricReader|jaeger|zipkin|statsd|dogstatsd|pyroscope"
    r"|sentry(?:[_-]sdk)?|dd-?trace|ddtrace|datadog|new ?relic|elastic-?apm|apm-server|pushgateway)\b",
)
"""What is written of telemetry that could not be sent: programs do their work without it. It needs the word of an exporter or the name of an
agent: profiles, log entries and metrics are business as well."""
LOOKED_UP: Final = re.compile(
    r"(?:\blookup |\bcan't find |enotfound |eai_again |host name \W?|hostname \W?|unknown ?host:? ?(?:exception: )?|resolve (?:host )?\W?)"
    r"(?P<host>[a-z0-9](?:[a-z0-9.-]{0,200}[a-z0-9])?)",
    re.IGNORECASE,
)
"""A name that was asked for and is not known, as resolvers, libc, Node, Java and psql print it."""
UNKNOWN_NAME: Final = re.compile(
    r"no such host|nxdomain|enotfound|name or service not known|could not translate|unknown ?host|not known|nodename nor servname",
    re.IGNORECASE,
)
