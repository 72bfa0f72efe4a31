"""What every page has to be: one document that assistive technology can read and no script is needed for.

The rules are those that axe checks by structure: language, title, one first heading and no skipped ones, labels, names of
buttons and links, header cells, unique ids and references that lead somewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from tests.unit.page.html import Element

CONTROLS = ("input", "select", "textarea")
OWN = ("/", "#")
"""How a link to our own pages begins."""


def faults(document: Element) -> list[str]:
    """Everything that is wrong with a page, in words."""
    return [*_frame(document), *_headings(document), *_forms(document), *_links(document), *_loads(document)]


def _frame(document: Element) -> Iterator[str]:
    if document.one("html").get("lang") != "en":
        yield "no language"
    if not document.one("title").text.replace("alert-remediator", "").strip(" ·"):
        yield "no title of its own"
    if len(document.all("main")) != 1:
        yield "not one main part"
    ids = Counter(e.get("id") for e in document.walk() if "id" in e.attrs)
    yield from (f"id {name!r} {count} times" for name, count in ids.items() if count > 1 or not name)
    for element in document.walk():
        for name in ("aria-labelledby", "aria-describedby", "list"):
            if name in element.attrs and element.get(name) not in ids:
                yield f"{name} leads nowhere: {element.get(name)}"
    for table in document.all("table"):
        if not table.all("caption") or any(h.get("scope") != "col" for h in table.all("th")):
            yield "a table without caption or scopes"
    for element in document.all("section", "article", "aside", "nav"):
        if not ({"aria-label", "aria-labelledby"} & set(element.attrs)):
            yield f"a {element.tag} without a name"


def _headings(document: Element) -> Iterator[str]:
    levels = [int(e.tag[1]) for e in document.all("h1", "h2", "h3", "h4", "h5", "h6")]
    if levels[:1] != [1] or levels.count(1) != 1:
        yield f"headings begin with {levels[:1]}, {levels.count(1)} first ones"
    yield from (f"h{b} after h{a}" for a, b in pairwise(levels) if b > a + 1)
    yield from ("an empty heading" for e in document.all("h1", "h2", "h3") if not e.text)


def _forms(document: Element) -> Iterator[str]:
    labelled = {e.get("for") for e in document.all("label")}
    for control in document.all(*CONTROLS):
        inside = control.parent is not None and control.parent.tag == "label"
        if control.get("type") != "hidden" and control.get("id") not in labelled and not inside:
            yield f"no label: {control.attrs}"
    for form in document.all("form"):
        if form.get("method") == "post" and not form.all("input", name="form"):
            yield f"a form without its token: {form.get('action')}"
        if form.get("method") not in ("post", "get", "dialog"):
            yield f"a form without a method: {form.attrs}"
    for button in document.all("button"):
        if not button.text and "hidden" not in button.attrs:
            yield "a button without a name"


def _links(document: Element) -> Iterator[str]:
    for link in document.all("a"):
        href = link.get("href")
        if not (link.text or link.get("aria-label")):
            yield f"a link without a name: {href}"
        if href.startswith(OWN) and not href.startswith("//"):
            continue
        if not href.startswith(("http://", "https://")):
            yield f"a link that is none: {href}"
        if link.get("rel") != "noopener noreferrer":
            yield f"a link that tells where it was pressed: {href}"


def _loads(document: Element) -> Iterator[str]:
    """Scripts and styles come from files of ours; nothing in the page is one."""
    for element in document.walk():
        yield from (
            f"<{element.tag} {name}>"
            for name in element.attrs
            if name.startswith("on") or name in ("style", "srcdoc", "hx-on", "hx-vals", "ping")
        )
        if element.tag in ("style", "iframe", "object", "embed", "img", "base", "template"):
            yield f"<{element.tag}>"
        if element.tag == "svg":
            yield from _picture(element)
        source = element.get("src") or (element.get("href") if element.tag == "link" else "")
        if element.tag == "script" and (element.raw.strip() or not source):
            yield "a script in the page"
        if source and not source.startswith("/static/"):
            yield f"loaded from elsewhere: {source}"


def _picture(svg: Element) -> Iterator[str]:
    """A picture has a name, and lines in it and nothing else: no link, no foreign content, nothing that runs or is loaded."""
    if svg.get("role") != "img" or not svg.get("aria-label"):
        yield "a picture without a name"
    inside = {e.tag for e in svg.walk()} - {"svg", "path", "polyline"}
    yield from (f"<{tag}> in a picture" for tag in sorted(inside))
