"""Types and lengths that stand before a value or behind its name, as debuggers, dumps and code print them.

Used by `app.domain.secret_values` and `app.domain.secret_dumps`. Every expression reads a bounded way. Pure.
"""

from __future__ import annotations

import re

_OF_TEXT = r"string|str|&?(?:'static )?str|text|bytes?|bytearray|char|unicode|secretstr|secretbytes|(?:n?var)?n?char2?|clob|blob|binary|utf8string"
_QUOTE = r"(?=\\{0,16}[\"'])"
_LENGTH = r"\(len=\d{1,9}(?: cap=\d{1,9})?\)"
_OF_GO = r"\*{0,3}(?:\[\d{0,9}\]){0,3}\*?[A-Za-z_][\w.]{0,80}(?:\[[\w.]{1,40}\][\w.]{0,80})?(?: \{\})?"
TYPED = re.compile(
    rf"(?:\({_OF_GO}\)[ \t]?){{1,4}}(?:\(0x[0-9a-f]{{1,16}}\))?\(?{_LENGTH}[ \t]?(?=\\{{0,16}}[\"'{{\[])"
    rf"|\((?:{_OF_TEXT}|\*{{1,3}}\w{{1,40}}|(?:\[\d{{0,9}}\])\w{{1,40}}|\w{{1,40}}\.\w{{1,40}})\)[ \t]{{0,4}}(?:{_QUOTE}|(?=<nil>|\(nil\)))"
    rf"|\((?:string|str|text)\)[ \t]{{1,4}}(?=[^\s(])"
    rf"|(?:{_OF_TEXT})(?:[ \t]?\(\d{{1,9}}\))?[ \t]{{1,4}}{_QUOTE}"
    rf"|\{{(?:{_OF_TEXT}|[A-Z]\w{{0,40}}|\w{{1,40}}(?:\.\w{{1,40}}){{1,4}})(?:@\d{{1,9}}|[ ]?:[ ]?\d{{1,9}}|\[\d{{1,9}}\])?\}}[ \t]{{1,4}}{_QUOTE}"
    rf"|<(?:class )?'?(?:{_OF_TEXT})'?>[ \t]{{1,4}}{_QUOTE}",
    re.IGNORECASE,
)
"""`(string) (len=7) "S"` of Go's spew, `string(7) "S"` of PHP, `str 'S'`: what comes before the value itself."""
ANNOTATED = re.compile(
    r"[&*]?(?:'\w{1,20} )?(?:mut )?[\"']?[A-Za-z_][\w.]{0,60}(?:[\[<(][^\n=\"]{0,60}[\]>)])?[?!]?[\"']?(?:[ \t]{0,4}\|[ \t]{0,4}\w{1,30}){0,3}[ \t]{1,4}:?=[ \t]{1,4}(?=[\"'@&\w$])"
)
"""`str = "S"` behind `password: `, as code declares a variable with its type."""
ALONE = (
    r"&?(?:'static )?str|string|bytes|\[\]byte|secretstr|(?:std::)?string|option(?:al)?[<\[]&?(?:str|string|bytes|secretstr)[>\]]|str \| none|string \| (?:undefined|null)|java\.lang\.string"
    r"|\(nil\)|optional\.empty(?:\(\))?|some\(\.\.\.\)|nothing|option::none"
    r"|\{\s?\\{0,8}\"type\\{0,8}\"\s?:\s?\\{0,8}\"(?:string|array|object|number|integer|boolean)\\{0,8}\"(?:\s?,\s?\\{0,8}\"(?:minLength|maxLength|nullable|required|readOnly|writeOnly|format)\\{0,8}\"\s?:\s?(?:\d{1,6}|true|false|\\{0,8}\"(?:password|byte)\\{0,8}\")){0,6}\s?\}"
)
"""A type where a value would stand, as code and schemas have it, and a wrapper that holds nothing."""
SLICE = re.compile(r"(?:(?:\[\d{0,9}\]){1,3}\*?[A-Za-z_][\w.]{0,60}|interface ?\{ ?\})(?=[({])")
"""`[]byte{0x68, …}`, `interface {}("S")`."""
ACROSS = re.compile(r"(?:[A-Z]\w{0,40}\(\s{0,200}){1,4}(?=\\{0,16}[\"'])")
"""`Some(` with what it holds on the next line, as Rust prints it."""
OF_A_NAME = re.compile(
    rf"(?:\w{{0,24}}[ \t]?)?(?:{_OF_TEXT})(?:[ \t]?\((?:\d{{1,9}}|max)\))?(?:, ?[\w ,]{{1,40}})?|(?:len|length|size)?[ \t]?[=:]?[ \t]?\d{{1,9}}",
    re.IGNORECASE,
)
"""What stands in brackets behind a name: `password (str): S`, `password(len=7): "S"`."""
