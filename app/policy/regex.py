"""Regular expressions as Alertmanager understands them (RE2), compiled for Python's engine.

Only the part that both engines read alike is accepted; the rest is refused at load time with what to write instead.
Repeating a group whose content can vary in length is refused too: RE2 runs it in linear time, Python's engine may not, and
label values come from outside. Pure. Differences that remain: `(?i)` folds ASCII letters only.
"""

from __future__ import annotations

import re

_ESCAPES = frozenset("dDsSwWbBAafnrtvx")
_GROUP_OPENERS = re.compile(r"\(\?(?:P<[A-Za-z_]\w*>|[ims]*(?:-[ims]+)?:)", re.ASCII)
_FLAGS = re.compile(r"\(\?[ims]+\)", re.ASCII)
_COUNT = re.compile(r"\{(\d+)(?:(,)(\d*))?\}", re.ASCII)
_MAX_COUNT = 1_000  # RE2's own limit
_SET_OPERATORS = ("--", "&&", "||", "~~")


def compile_anchored(pattern: str) -> re.Pattern[str]:
    """Compile for `fullmatch` (Alertmanager anchors at both ends). Raises ValueError saying what is not accepted."""
    _Walk(pattern).check()
    try:
        return re.compile(pattern, re.ASCII)
    except (re.error, OverflowError) as error:
        raise ValueError(f"bad regular expression {pattern!r}: {error}") from error


class _Walk:
    """One pass over the pattern. `varies` holds, for each open group, whether its content can vary in length."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.varies = [False]
        self.repeatable = True  # the last atom may be repeated without a second way to match
        self.quantified = False

    def check(self) -> None:
        while self.at < len(self.pattern):
            self._step(self.pattern[self.at])

    def _step(self, char: str) -> None:
        match char:
            case "\\":
                self._escape()
            case "[":
                self._class()
            case "(":
                self._open()
            case ")":
                self._close()
            case "*" | "+" | "?":
                self._quantifier(char, repeats=char != "?")
            case "{":
                self._braces()
            case "|":
                self.varies[-1] = True
                self._atom(1)
            case _:
                self._atom(1)

    def _atom(self, length: int, *, repeatable: bool = True) -> None:
        self.at += length
        self.repeatable, self.quantified = repeatable, False

    def _refuse(self, why: str) -> ValueError:
        return ValueError(f"regular expression {self.pattern!r}: {why} (at character {self.at + 1})")

    def _escape(self) -> None:
        char = self.pattern[self.at + 1 : self.at + 2]
        if char.isdigit():
            raise self._refuse("backreferences and octal escapes are not accepted")
        if char.isalpha() and char not in _ESCAPES:
            raise self._refuse(f"the escape \\{char} is not accepted")
        self._atom(2)

    def _class(self) -> None:
        at = self.at + 1
        at += self.pattern.startswith("^", at)
        at += self.pattern.startswith("]", at)
        while at < len(self.pattern) and self.pattern[at] != "]":
            if self.pattern[at] == "[":
                raise self._refuse("write \\[ inside a character class; POSIX classes are not accepted")
            if self.pattern[at : at + 2] in _SET_OPERATORS:
                raise self._refuse(
                    f"write {self.pattern[at : at + 2]} inside a character class with backslashes"
                )
            if self.pattern[at] == "\\" and not self._plain_escape(self.pattern[at + 1 : at + 2]):
                raise self._refuse(
                    f"the escape {self.pattern[at : at + 2]} is not accepted in a character class"
                )
            at += 2 if self.pattern[at] == "\\" else 1
        self._atom(at + 1 - self.at)

    @staticmethod
    def _plain_escape(char: str) -> bool:
        return not char.isalnum() or char in "dDsSwWafnrtvx"

    def _open(self) -> None:
        if self.pattern.startswith("(?", self.at):
            if flags := _FLAGS.match(self.pattern, self.at):
                if self.at:
                    raise self._refuse("flags belong at the start")
                self._atom(flags.end())
                return
            opener = _GROUP_OPENERS.match(self.pattern, self.at)
            if opener is None:
                raise self._refuse("lookaround, conditional and atomic groups are not accepted")
            self.at = opener.end()
        else:
            self.at += 1
        self.varies.append(False)
        self.repeatable, self.quantified = True, False

    def _close(self) -> None:
        if len(self.varies) == 1:
            raise self._refuse("unbalanced parenthesis")
        inner = self.varies.pop()
        self.varies[-1] = self.varies[-1] or inner
        self._atom(1, repeatable=not inner)

    def _braces(self) -> None:
        found = _COUNT.match(self.pattern, self.at)
        if found is None:
            if self.pattern.startswith("{,", self.at):
                raise self._refuse("write {0,n} instead of {,n}")
            self._atom(1)
            return
        if max(int(n) for n in (found[1], found[3]) if n) > _MAX_COUNT:
            raise self._refuse(f"a repetition count may not exceed {_MAX_COUNT}")
        self._quantifier(found[0], repeats=True)

    def _quantifier(self, text: str, *, repeats: bool) -> None:
        if self.quantified and text != "?":
            raise self._refuse("possessive and double quantifiers are not accepted")
        if self.quantified:  # lazy form of the quantifier before it
            self.at += 1
            self.quantified = False
            return
        if repeats and not self.repeatable:
            raise self._refuse(
                "a group that varies in length may not be repeated; write it without the nesting"
            )
        self.varies[-1] = True
        self.at += len(text)
        self.quantified = True
