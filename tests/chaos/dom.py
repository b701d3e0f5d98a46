"""A small DOM: parse, find by id, replace, and print in one way only, so that two can be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from html.parser import HTMLParser

VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())
Node = "Element | str"


class Element:
    def __init__(self, tag: str, attributes: dict[str, str] | None = None) -> None:
        self.tag = tag
        self.attributes = attributes or {}
        self.children: list[Element | str] = []
        self.parent: Element | None = None

    def __getitem__(self, name: str) -> str:
        return self.attributes[name]

    def get(self, name: str, default: str = "") -> str:
        return self.attributes.get(name, default)

    # --- looking ---

    @property
    def elements(self) -> list[Element]:
        return [child for child in self.children if isinstance(child, Element)]

    def walk(self) -> Iterator[Element]:
        """Itself and everything below, in document order."""
        yield self
        for child in self.elements:
            yield from child.walk()

    def find(self, fits: Callable[[Element], bool]) -> Element | None:
        """The first one below that fits."""
        return next((each for each in self.walk() if each is not self and fits(each)), None)

    def find_all(self, fits: Callable[[Element], bool]) -> list[Element]:
        return [each for each in self.walk() if each is not self and fits(each)]

    def by_id(self, id_: str) -> Element | None:
        return self.find(lambda each: each.attributes.get("id") == id_)

    def last_words(self) -> tuple[Element, int] | None:
        """Where the last text lies that isn't white space: its parent, and its place in that."""
        for place, child in reversed([*enumerate(self.children)]):
            if isinstance(child, str):
                if child.strip():
                    return self, place
            elif found := child.last_words():
                return found
        return None

    @property
    def text(self) -> str:
        return "".join(c if isinstance(c, str) else c.text for c in self.children)

    @property
    def html(self) -> str:
        """The outer HTML; attributes in their order, as a browser prints them."""
        names = "".join(f' {name}="{escape(value)}"' for name, value in self.attributes.items())
        if self.tag in VOID:
            return f"<{self.tag}{names}>"
        return f"<{self.tag}{names}>{self.inner_html}</{self.tag}>"

    @property
    def inner_html(self) -> str:
        return "".join(escape(c, False) if isinstance(c, str) else c.html for c in self.children)

    # --- changing ---

    def append(self, node: Element | str) -> None:
        if isinstance(node, Element):
            node.parent = self
        elif self.children and isinstance(self.children[-1], str):
            self.children[-1] += node  # neighbours would be one text in a page loaded afresh
            return
        self.children.append(node)

    def fill(self, nodes: list[Element | str]) -> None:
        self.children = []
        for node in nodes:
            self.append(node)

    def replace(self, *nodes: Element | str) -> None:
        """Put these in its own place."""
        self._splice(1, nodes)

    def after(self, *nodes: Element | str) -> None:
        self._splice(1, (self, *nodes))

    def before(self, *nodes: Element | str) -> None:
        self._splice(1, (*nodes, self))

    def remove(self) -> None:
        self._splice(1, ())

    def _splice(self, width: int, nodes: tuple[Element | str, ...]) -> None:
        parent = self.parent
        assert parent is not None
        at = next(i for i, child in enumerate(parent.children) if child is self)
        parent.children[at : at + width] = nodes
        for node in nodes:
            if isinstance(node, Element):
                node.parent = parent


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = self.here = Element("#root")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        new = Element(tag, {name: value or "" for name, value in attrs})
        self.here.append(new)
        if tag not in VOID:
            self.here = new

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.here.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        step = self.here
        while step.parent is not None and step.tag != tag:
            step = step.parent
        if step.parent is not None:
            self.here = step.parent

    def handle_data(self, data: str) -> None:
        self.here.append(data)


def parse(html: str) -> Element:
    """A root that holds what the HTML says. Ours is well-formed: nothing is guessed but <p>."""
    builder = _Builder()
    builder.feed(html)
    builder.close()
    return builder.root


def cut(text: str, units: int) -> tuple[str, str]:
    """The text before and after so many UTF-16 units."""
    raw = text.encode("utf-16-le", "surrogatepass")
    before, after = raw[: 2 * units], raw[2 * units :]
    return before.decode("utf-16-le", "surrogatepass"), after.decode("utf-16-le", "surrogatepass")


def utf16(text: str) -> int:
    """The length as JavaScript counts it."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
