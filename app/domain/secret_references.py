"""What stands in the place of a secret and is none: a reference to where it is kept, as shells, Terraform, CloudFormation, pipelines and programs
write one, and a mask.

Used by `app.domain.secret_classes` and `app.domain.redact`. A value is such a thing as a whole, from its first sign to its last, or not at all, and
the names in it are words that people give: what was made up is hidden wherever it stands. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from app.domain.secret_names import holds_names, is_secret_name
from app.domain.secret_places import counts_of
from app.domain.secret_plain import tells_no_secret
from app.domain.secret_values import read_value
from app.domain.secret_words import made_up

Span = tuple[int, int]
Locate = Callable[[Any, str], Span | list[Span] | None]
"""Given a match and its text: where the secrets stand, or None when the match is no secret. An empty span at the end tells how far
was read: matches before its end are not looked at."""

_LONGEST = 300
"""Characters of a reference."""
_Q = r"\\{0,16}[\"']"
_WORD = (
    r"(?:[A-Z]{1,24}|[A-Z]{0,5}[a-z]{1,23}(?:[A-Z][a-z]{2,23}){0,5}|(?i:db|s|v|k|oauth|app|node|md)\d{1,2})"
)
_NAME = rf"_?{_WORD}(?:[_-](?:{_WORD}|\d{{1,2}})){{0,11}}"
"""Words, as people name things: digits stand by themselves or behind what is counted."""
_PATH = rf"{_NAME}(?:\.{_NAME}){{0,7}}"
_PLACE = rf"/{{0,2}}{_PATH}(?:[/:@=]{_PATH}){{0,8}}"
_AT = rf"\[(?:{_Q}{_NAME}{_Q}|\d{{1,3}}|each\.key|count\.index)\]"
_OF_ENVIRONMENT = r"(?:os\.environ|process\.env|import\.meta\.env|ENV|\$_ENV|\$_SERVER)"
_READ_ENVIRONMENT = r"(?:os\.environ\.get|os\.[gG]etenv|getenv|env|ENV\.fetch|System\.getenv|Deno\.env\.get|(?:std::)?env::var|Environment\.GetEnvironmentVariable)"
_PROVIDER = r"(?:aws|azuread|azurerm|cloudflare|consul|datadog|digitalocean|github|gitlab|google|helm|hcloud|kubernetes|linode|mongodbatlas|mysql|oci|okta|postgresql|rabbitmq|random|tls|vault)"
_LOOKED_UP = r"(?:env|file|ini|password|passwordstore|hashi_vault|community\.hashi_vault\.[a-z_]{1,40}|amazon\.aws\.[a-z_]{1,40}|aws_secret|aws_ssm|azure_keyvault_secret|onepassword|k8s)"
_REFERENCE = re.compile(
    rf"\$(?P<shell>[A-Z][A-Z0-9_]{{1,80}})|\$env:{_NAME}|\$\{{(?:env[.:])?(?P<braced>{_PATH}):?-?\}}"  # shells, Spring
    rf"|\$\{{\{{[ ]{{0,2}}(?:secrets|vars|env|inputs|steps|needs|matrix|github)(?P<piped>(?:\.{_NAME}){{1,6}})[ ]{{0,2}}\}}\}}"  # pipelines
    rf"|\(\((?P<held>/?{_PATH}(?:[/:]{_PATH}){{0,6}})\)\)"
    rf"|%\((?P<format>{_NAME})\)s"  # Python's formats
    rf"|(?:(?:var|local|module)\.{_NAME}|each\.(?:key|value))(?:\.{_NAME}|{_AT}){{0,6}}"  # Terraform
    rf"|(?:data\.)?{_PROVIDER}_{_NAME}\.{_NAME}(?:{_AT})?\.(?P<attribute>{_NAME})(?:{_AT})?"
    r"|\((?:known after apply|sensitive value|sensitive|write-only attribute)\)"
    rf"|!(?:Ref|ImportValue|GetAtt)[ ]{_PATH}|!Sub[ ](?:{_Q})?\$\{{{_PATH}\}}(?:{_Q})?"  # CloudFormation
    rf"|\{{[ ]?{_Q}Ref{_Q}[ ]?:[ ]?{_Q}{_NAME}{_Q}[ ]?\}}|\{{\{{resolve:(?:secretsmanager|ssm|ssm-secure):[\w/.:@-]{{1,240}}\}}\}}"
    rf"|{_OF_ENVIRONMENT}(?:\.{_NAME}|\[{_Q}{_NAME}{_Q}\])|{_READ_ENVIRONMENT}\({_Q}{_NAME}{_Q}\)"  # programs
    rf"|@Value\({_Q}\$\{{{_PATH}:?\}}{_Q}\)?"
    rf"|(?:\{{\{{[ ]?)?(?:lookup|query)\({_Q}{_LOOKED_UP}{_Q},[ ]?{_Q}{_PLACE}{_Q}\)(?:[ ]?\}}\}})?"  # Ansible
)
_MASK = re.compile(r"\*{3,64}")
_SCHEME = re.compile(r"(?:Bearer|bearer|Basic|basic|Token|token|ApiKey|Digest) ")
"""What a header has before what it shows."""
_SCHEMES = frozenset({"Bearer", "Basic", "Digest"})
"""These by themselves, where what follows is read by itself."""
_BEGINS = frozenset("$%({!*@vlmedapiEgSDortckhBbTADgGqn")
"""With which signs any of these begin; most values begin with another."""
_SIGNED = re.compile(r"ECRET|UPER|ECUR|ESSION|HARED|TRONG|UMMER|UNSHINE")
"""With a dollar in the place of an S, as people write passwords."""
_ATTRIBUTES = frozenset({"result", "value", "hex", "b64_std", "b64_url", "id", "arn", "name", "data"})
_OF_NAMES = re.compile(r"[^A-Za-z0-9]+")


def stands_for_another(said: str) -> bool:
    """Whether all of `said` refers to a value that is elsewhere, or is a mask: `$DB_PASSWORD`, `var.password`, `***`."""
    if len(said) > _LONGEST or said[:1] not in _BEGINS:
        return False
    if scheme := _SCHEME.match(said):
        said = said[scheme.end() :]
    if _MASK.fullmatch(said) or said in _SCHEMES:
        return True
    found = _REFERENCE.fullmatch(said)
    if found is None or any(map(made_up, _OF_NAMES.split(said))):
        return False
    if shell := found["shell"]:
        return is_secret_name(shell) and _A_NAME.fullmatch(shell) is not None and not _SIGNED.match(shell)
    if held := found["held"]:
        return any(is_secret_name(part) for part in re.split(r"[/:.]", held))
    attribute = found["attribute"]
    return not attribute or attribute in _ATTRIBUTES or is_secret_name(attribute) or "secret" in attribute


_A_NAME = re.compile(_NAME)


def is_mask(said: str) -> bool:
    """Whether all of `said` is a mask."""
    return len(said) <= _LONGEST and _MASK.fullmatch(said.removeprefix("Bearer ")) is not None


def is_filled_in(said: str) -> bool:
    """Whether all of `said` is a mask or a place that is filled in within a text, and is named after a secret: `${DB_PASSWORD}`, `%(pw)s`. What
    an expression refers to is none in a URL or a command."""
    if is_mask(said):
        return True
    found = _REFERENCE.fullmatch(said) if stands_for_another(said) else None
    name = found and next(filter(None, map(found.group, _FILLED_IN)), "")
    return bool(name) and is_secret_name(name)


def is_of_a_password(said: str) -> bool:
    """Whether all of `said` is a mask or a variable that is called a password in full, as nobody's password is: where a literal of SQL stands, or what
    was tried and refused, and no reference is followed but one that a shell missed."""
    return is_mask(said) or _OF_A_PASSWORD.fullmatch(said) is not None


_OF_A_PASSWORD = re.compile(r"\$(?:[A-Z]{1,24}_){1,6}PASSWORD|\$\{(?:[A-Z]{1,24}_){1,6}PASSWORD\}")
_FILLED_IN = ("shell", "braced", "piped", "format")


_FALLBACK = re.compile(
    rf"(?:{_Q})?[ \t]{{0,8}}(?:[-=]>[ \t]{{0,8}}(?=\S)|(?:\|\||\?\?|\?:|\+|or|else)[ \t]{{0,8}}(?={_Q}))"
)
"""What leads from a reference to a value: what it became, or what stands for it where it is empty."""


_GOES_ON = re.compile(
    r"""["'`]?\]?[ \t]{0,8}(?:\|[|>]?|//|\?[?:.]?|\+|[!=]=|\{|(?:or|else|if)\b|\.(?:unwrap_or|or_else|get_or)\w{0,16})\s{0,16}"""
)
"""What an expression goes on with behind a reference: what stands for it where it is empty, or a choice."""
_ELSE = re.compile(r"\]?[ \t]{0,8}(?:\|[|>]|\?[?:]|//[ \t]{0,8}\\{0,16}[\"'])")
"""Of these what hardly stands behind anything else."""
_OR_ELSE = re.compile(r"\)\.(?:unwrap_or|or_else|orElse|get_or|getOrElse|map_or)\w{0,16}\(")
"""What is called on what was read, with what stands for it: the value is read to the first blank, which may stand in what is called."""
_STATEMENT = re.compile(r"[^\n;]{1,240}")
_QUOTED = re.compile(r"""(["'`])((?:(?!\1)[^\n]){1,200})\1""")


Refers = Callable[[str], bool]
_TRIED = re.compile(
    r"\b(?:invalid|incorrect|wrong|bad|rejected|refused|weak|mismatched) (?:the )?\Z", re.IGNORECASE
)
"""What stands before the name of a value that was tried: it is what somebody typed."""
_BEFORE = 24


def unless_it_refers(locate: Locate, refers: Refers = stands_for_another) -> Locate:
    """What `locate` finds, without what `refers` to a value that is elsewhere; that was read all the same, and is not looked at again."""

    def located(match: Any, text: str) -> Span | list[Span] | None:
        found = locate(match, text)
        if not found:
            return found
        tried = _TRIED.search(text, max(0, match.start() - _BEFORE), match.start())
        stands = is_of_a_password if tried else refers
        if isinstance(found, list):
            return [_no_reference(text, start, end, stands) for start, end in found]
        shown = _no_reference(text, *found, stands)
        return found if shown == found else [shown]

    return located


def _no_reference(text: str, start: int, end: int, refers: Refers) -> Span:
    """The span; an empty one where a reference stands in it, and up to the end of a value that is given beside that."""
    if not 0 < end - start <= _LONGEST or not refers(text[start:end]):
        called = _OR_ELSE.search(text, start, end)
        given = _last_given(text, called.end()) if called else 0
        if not called and _ELSE.match(text, end):
            given = _given_beside(text, end)
        return start, max(end, given)
    if beside := _FALLBACK.match(text, end):
        value = read_value(text, beside.end())
        if value and not stands_for_another(text[value[0] : min(value[1], value[0] + _LONGEST + 1)]):
            return start, value[1]
    return (start, given) if (given := _given_beside(text, end)) > end else (end, end)


def _given_beside(text: str, end: int) -> int:
    """Where the last value ends that the same expression gives in quotes, behind a reference that it goes on from; 0 for none."""
    if not (goes_on := _GOES_ON.match(text, end)):
        return 0
    return _last_given(text, goes_on.end())


def _last_given(text: str, at: int) -> int:
    rest = _STATEMENT.match(text, at)
    stop = rest.end() if rest else at
    ends = [q.end() for q in _QUOTED.finditer(text, at, stop) if not stands_for_another(q[2])]
    return max(ends, default=0)


def hides_all(name: str, value: Any) -> bool:
    """Whether a name speaks of a secret, and what stands under it is no count, no state and no reference; of a number it is the same as in a text."""
    if not is_secret_name(name) or isinstance(value, bool | None):
        return False
    if isinstance(value, int | float):
        said = str(value)
        counted = holds_names(name) or tells_no_secret(name, said)
        return not counted and read_value(said, 0, counts=counts_of(name)) is not None
    each = value if isinstance(value, list | tuple) and value else (value,)
    return not all(
        isinstance(v, str | int | float)
        and "\n" not in str(v)
        and (stands_for_another(str(v)) or tells_no_secret(name, str(v)))
        for v in each
    )
