"""HTML as a browser without scripts sees it: a tree of elements, made by the standard library's parser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

BOXES = frozenset({"td", "th", "li", "p", "dt", "dd", "div", "button", "option", "h1", "h2", "h3"})
VOID = frozenset({"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"})


@dataclass
class Element:
    """One element. `attrs` are as a browser reads them; `None` is an attribute without a value."""

    tag: str
    attrs: dict[str, str | None] = field(default_factory=dict)
    children: list[Element | str] = field(default_factory=list)
    parent: Element | None = None

    def walk(self) -> Iterator[Element]:
        """It and all elements in it, in the order of the document."""
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.walk()

    def all(self, *tags: str, **attrs: str) -> list[Element]:
        """All elements in it with one of these tags and these attributes."""
        return [
            e
            for e in self.walk()
            if (not tags or e.tag in tags) and all(e.attrs.get(k.strip("_")) == v for k, v in attrs.items())
        ]

    def one(self, *tags: str, **attrs: str) -> Element:
        """The only one."""
        found = self.all(*tags, **attrs)
        assert len(found) == 1, (tags, attrs, len(found))
        return found[0]

    @property
    def text(self) -> str:
        """Its text with blanks folded, as it is read."""
        return " ".join(self.raw.split())

    @property
    def raw(self) -> str:
        """Its text as it stands there, with a blank between what stands in boxes of their own."""
        return "".join(c if isinstance(c, str) else c.raw + " " * (c.tag in BOXES) for c in self.children)

    def get(self, name: str) -> str:
        """An attribute's text; empty without it."""
        return self.attrs.get(name) or ""


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("#document")
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"an attribute twice: <{tag} {names}>"
        made = Element(tag, dict(attrs), parent=self._open[-1])
        self._open[-1].children.append(made)
        if tag not in VOID:
            self._open.append(made)

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].tag == tag, f"</{tag}> where <{self._open[-1].tag}> is open"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment reached the browser: {data}")

    def done(self) -> Element:
        assert [e.tag for e in self._open] == ["#document"], "elements that nobody closes"
        return self.root


def parse(text: str) -> Element:
    """The tree of a document. Raises AssertionError for one whose elements do not close as they open."""
    parser = _Parser()
    parser.feed(text)
    parser.close()
    return parser.done()
