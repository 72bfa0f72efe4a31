"""Users with passwords as Oracle's tools and drivers write them: `scott/S@db`. A slash and an @ stand in paths and versions as well
(`actions/checkout@v4`), so that it takes a tool, a driver, a call or an error of Oracle's before it.

Used by `app.domain.secret_classes`. Pure.
"""

from __future__ import annotations

from typing import Final

_Q: Final = r"""\\{0,16}["']"""
_Q_MAYBE: Final = rf"(?:{_Q})?"
_USER: Final = rf"""(?:{_Q})?[\w$#]+(?:{_Q})?(?:\[[\w$#]+\])?/"""
"""With the user for whom it logs in, in brackets."""
_SECRET: Final = r"""(?P<secret>[^\s"'/\\@][^\s"'\\]*?)"""
_QUOTED: Final = rf"""{_Q}(?P<secret>[^"'\n]{{1,100}}?){_Q}"""
_END: Final = r"""(?:@|[\s"'\\]|$)"""
_GAP: Final = r"""["'\s,\\]{1,8}"""
_OPTIONS: Final = rf"(?:-\w+{_GAP}){{0,4}}"
_TOOL: Final = rf"(?i)(?:\b(?:sqlplusw?|impdp|expdp|sqlldr|rman|dgmgrl)(?:64)?(?:\.exe)?{_GAP}{_OPTIONS}|\b(?:exp|imp|connect|conn)\s(?:-\w+\s+){{0,4}}{_Q_MAYBE})"
_SQLCL: Final = rf"(?i)\b(?:sql|sqlcl){_GAP}{_OPTIONS}"
_ROLE: Final = rf"(?i)\b(?:target|catalog|auxiliary|userid|explain)={_Q_MAYBE}"
_CALL: Final = rf"(?i)\b(?:connect|create_?pool|get_?connection|session_?pool|connection_?string|dsn)\w*(?:{_Q})?[ \t]*[(=:][ \t]*{_Q}"
_ERROR: Final = r"\bORA-\d{5}\b[^\n]{0,200}?\s"

ORACLE: Final = (
    rf"""(?i)oracle:\w+:{_USER}(?P<secret>[^\s"']+)@""",
    rf"(?i)oracle:\w+:{_USER}{_QUOTED}",
    rf"""(?i)oracle:\w+:{_USER}(?P<secret>[^\s"'\\@/]+)(?:[\s"'\\]|$)""",
    rf"(?i)\boracle(?:\+\w+)?://{_USER}{_SECRET}@",
    rf"{_TOOL}{_USER}{_QUOTED}",
    rf"{_TOOL}{_USER}{_SECRET}{_END}",
    rf"{_SQLCL}{_USER}{_SECRET}@",
    rf"{_ROLE}{_USER}{_SECRET}{_END}",
    rf"{_CALL}{_USER}{_SECRET}@",
    rf"{_ERROR}{_USER}{_SECRET}@",
)
