"""Command lines of common tools: which of their words are secrets, as a shell, a list of JSON or YAML writes them.

Used by `app.domain.secret_classes`. One walk over the words of a command, also when it names several tools. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import re2

from app.domain.secret_quotes import READ
from app.domain.secret_values import read_in_quote, read_word

Span = tuple[int, int]
_Word = tuple[int, int, str]
"""Where a word stands without its quotes, and what it says."""

_MAX_WORDS = 400
_OF_A_WORD = 100
"""What a word of a command costs, as so many characters."""


@dataclass(frozen=True, slots=True)
class Tool:
    """What a tool's words mean. `secrets`: flags with a secret, attached or in the next word. `users`: flags with a user and,
    behind `between`, a secret. `before`: letters that may stand before a flag's own in one word. `places`: which of the words
    behind a subcommand are secrets, 1 for the next. `pairs`: a subcommand behind which `name=secret` stands. `only`: a
    subcommand without which nothing holds."""

    secrets: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    between: str = ":"
    before: str = ""
    places: dict[str, tuple[int, ...]] = field(default_factory=dict)
    pairs: str = ""
    only: str = ""


_TOOLS: dict[str, Tool] = {
    "curl": Tool(("--oauth2-bearer", "--pass", "--proxy-pass", "-b", "--cookie"), ("-u", "--user", "-U", "--proxy-user", "-E", "--cert", "--proxy-cert"), before="fsSkLvgiGjlnNOqRaB#0123469Z"),
    "wget": Tool((), ("--user",)),
    "https?": Tool((), ("-a", "--auth")),
    "(?:mysql|mariadb|mydumper|myloader|mysqlsh|mytop|xtrabackup|percona)[\\w-]*": Tool(("-p",)),
    "sqlcmd|bcp|osql|isql|tsql|ipmitool|mosquitto_(?:pub|sub|rr)|zip|unzip|zipcloak|ssh-keygen|ncftp\\w*|ipmi-\\w+": Tool(("-P", "-N", "-p")),
    "snowsql|vsql|nzsql|hdbsql|bteq|usql|mycli|mssql-cli|db2|cqlsh|mongo(?:sh|dump|restore|export|import|stat|top)?|rabbitmqadmin|twine|beeline|cypher-shell|nodetool|sstableloader|impala-shell|iredis|svn|osm": Tool(("-p", "-w", "-pw", "-pwd")),
    "sshpass|kinit|plink|pscp|psftp|jconsole|mqsc": Tool(("-p", "-pw")),
    "docker|podman|nerdctl|helm|oc|az|skopeo|crane|buildah|oras|regctl|ibmcloud|cf|argocd": Tool(("-p",), only="login"),
    "skopeo|buildah|podman|crane": Tool((), ("--creds", "--src-creds", "--dest-creds")),
    "(?:redis|valkey|keydb|dragonfly|kvrocks)[\\w-]*": Tool(("-a", "--pass")),
    "etcdctl|solr|opensearch[\\w-]*|elasticsearch[\\w-]*|kibana[\\w-]*|http-client|mongocli": Tool((), ("-u", "--user")),
    "ldap\\w+": Tool(("-w", "-s")),
    "rabbitmqctl": Tool(places={"add_user": (2,), "change_password": (2,), "authenticate_user": (2,)}),
    "mosquitto_passwd|htpasswd": Tool(places={"-b": (3,), "-nb": (2,), "-bn": (2,), "-cb": (3,), "-bc": (3,), "-Bb": (3,), "-bB": (3,), "-nbB": (2,), "-Bbn": (2,), "-nBb": (2,), "-cbB": (3,), "-Bbc": (3,), "-bcB": (3,)}),
    "vault|bao": Tool(places={"login": (1,), "unwrap": (1,), "unseal": (1,), "revoke": (1,), "lookup": (1,), "renew": (1,)}, pairs="put"),
    "mc|mcli": Tool(places={"set": (3, 4), "add": (3, 4)}),
    "snmp\\w+": Tool(("-A", "-X", "-c")),
    "influx|gh|glab|doctl|flyctl|linode-cli|hcloud|civo|scw": Tool(("-t",)),
    "l?ftp": Tool((), ("-u",), between=","),
    "smbclient|rpcclient|smbget|smbmap|winexe": Tool((), ("-U",), between="%"),
    "net": Tool((), ("-U",), between="%", places={"user": (2,)}),
    "swaks": Tool(("-ap", "--auth-password")),
    "gcloud": Tool(places={"activate-refresh-token": (2,)}),
    "isql-v": Tool(places={"dba": (1,)}),
    "openssl": Tool(("-k", "-K", "-passin", "-passout", "-pass")),
    "healthcheck\\.sh": Tool(("--su-mysql",)),
    "expect|chpasswd|smbpasswd": Tool(("-p",)),
    "sentinel": Tool(places={"auth-pass": (2,)}),
    "rclone": Tool(places={"secret_access_key": (1,), "pass": (1,), "obscure": (1,)}),
    "7z[azr]?|unrar|rar": Tool(("-p",)),
    "dotnet|nuget": Tool(("-k", "--api-key"), only="push"),
    "nuget|dotnet": Tool(("-p", "--password"), only="source"),
    "codecov": Tool(("-t",)),
    "gpg2?": Tool(("--passphrase",)),
    "nats": Tool(("--password",)),
}  # fmt: skip
TOOL = rf"\b(?P<tool>{'|'.join(_TOOLS)})(?:\.exe|\.sh|\.bat)?[\s\"'\\,]"
"""A tool's name, and what stands behind it."""
_NAMED: list[tuple[Any, Tool]] = [
    (re.compile(rf"(?:{name})(?:\.exe|\.sh|\.bat)?"), tool) for name, tool in _TOOLS.items()
]
_ANY_TOOL: Any = re2.compile(rf"(?:{'|'.join(_TOOLS)})(?:\.exe|\.sh|\.bat)?")  # type: ignore[no-untyped-call]
_COMMA = re.compile(
    r"(?:\\{0,31}[\"'])?[ \t]*,(?:\s*(?P<mark>\\{0,31}[\"'])|[ \t]*(?=[^\s\"'\\]))|(?P<closed>\\{0,31}[\"'])[ \t]+(?P<opened>(?P=closed))"
)
"""What stands between two items of a list: a comma, or between two quotes of the same kind nothing, as Go prints one."""
_ITEM = re.compile(r"(?:\\{0,31}[\"'])?[ \t]*(?:#[^\n]*)?\r?\n[ \t]*-[ \t]+")
_FLAG = re.compile(r"-[A-Za-z]{0,3}|--[a-z-]*(?:=.*)?")
_HARMLESS_PASS = re.compile(r"(?:stdin|env:.*|file:.*|fd:.*|fd0)")


def secrets_of_command(match: Any, text: str) -> list[Span]:
    """Where the secrets of the command stand whose tool was found; the last span is empty and tells how far was read."""
    tools = [tool for named, tool in _NAMED if named.fullmatch(match["tool"])]
    found: list[Span] = []
    end = match.end() - 1
    words: list[_Word] = []
    for start, stop, behind in _words(text, end):
        end = behind
        READ.work += _OF_A_WORD
        word = text[start:stop]
        words.append((start, stop, word))
        base = word.rpartition("/")[2]
        if len(base) < 40 and _ANY_TOOL.fullmatch(base):
            tools += [tool for named, tool in _NAMED if tool not in tools and named.fullmatch(base)]
    for tool in tools:
        if not tool.only or any(word == tool.only for _, _, word in words):
            found += _in_words(tool, words)
    return [*sorted(set(found)), (max(end, match.end()), max(end, match.end()))]


def _words(text: str, at: int) -> Iterator[tuple[int, int, int]]:
    """The words behind a tool's name, as the list, the lines of YAML or the shell writes them."""
    if _COMMA.match(text, at):
        yield from _listed(text, at)
    elif _ITEM.match(text, at):
        for _ in range(_MAX_WORDS):
            item = _ITEM.match(text, at)
            if item is None:
                return
            start, stop, at = read_word(text, item.end())
            if stop == start:
                return
            yield start, stop, at
    else:
        for _ in range(_MAX_WORDS):
            start, stop, behind = read_word(text, at)
            if behind <= at or behind == start:
                return
            yield start, stop, behind
            at = behind


def _listed(text: str, at: int) -> Iterator[tuple[int, int, int]]:
    """The words of a list of JSON or YAML, each in quotes or bare."""
    for _ in range(_MAX_WORDS):
        comma = _COMMA.match(text, at)
        if comma is None:
            return
        if mark := comma["mark"] or comma["opened"]:
            start, at = read_in_quote(text, comma.end(), mark)
            yield start, at, at + len(mark)
        else:
            start = at = comma.end()
            while at < len(text) and text[at] not in ",]}\n":
                at += 1
            yield start, at, at


def _in_words(tool: Tool, words: list[_Word]) -> Iterator[Span]:
    pairs = False
    for number, (start, end, word) in enumerate(words):
        if word == tool.pairs and word:
            pairs = True
        elif pairs and "=" in word and not word.startswith("-"):
            yield start + word.index("=") + 1, end
        if places := tool.places.get(word):
            behind = [each for each in words[number + 1 : number + 20] if not each[2].startswith("-")]
            yield from ((s, e) for place in places for s, e, w in behind[place - 1 : place] if "=" not in w)
        if not word.startswith("-"):
            continue
        following = words[number + 1] if number + 1 < len(words) else None
        for flag in tool.secrets:
            value = _of_flag(flag, tool, (start, end, word), following)
            if value and _is_secret(flag, value[2]):
                yield value[0], value[1]
        for flag in tool.users:
            if value := _of_flag(flag, tool, (start, end, word), following):
                yield from _behind_user(tool, value)


def _of_flag(flag: str, tool: Tool, word: _Word, following: _Word | None) -> _Word | None:
    """The value of a flag, in its own word or in the next."""
    start, end, said = word
    if said[:2] != flag[:2] and not tool.before:
        return None
    letter = flag[1:] if len(flag) == 2 else ""
    own = said[1 : 1 + len(said[1:]) - len(said[1:].lstrip(tool.before))] if letter and tool.before else ""
    if own and letter in own:
        own = own[: own.index(letter)]
    head = f"-{own}{letter}" if letter else flag
    if said == head:
        takes = following is not None and following[2] and not _FLAG.fullmatch(following[2])
        return following if takes else None
    if letter and said.startswith(head) and not said.startswith("--"):
        skip = len(head) + (said[len(head) : len(head) + 1] == "=")
        return start + skip, end, said[skip:]
    if said.startswith(f"{flag}="):
        return start + len(flag) + 1, end, said[len(flag) + 1 :]
    return None


def _is_secret(flag: str, said: str) -> bool:
    if flag in ("-b", "--cookie"):
        return "=" in said  # else it is a file of them
    if flag in ("-p", "-P", "-N", "-s", "-t", "-c", "-k") and said.isdigit() and len(said) < 6:
        return False  # a port or a number
    return bool(said) and _HARMLESS_PASS.fullmatch(said) is None


def _behind_user(tool: Tool, value: _Word) -> Iterator[Span]:
    start, end, said = value
    at = said.find(tool.between)
    if 0 <= at < len(said) - 1:
        yield start + at + 1, end
