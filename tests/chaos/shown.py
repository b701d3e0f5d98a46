"""What a page shows, and the ops of static/js/socket.js that change it."""

from collections.abc import Callable
from typing import Any

from tests.chaos.dom import Element, cut, parse, utf16

Op = list[Any]


class Shown:
    """The parts of a loaded page that its socket brings up to date."""

    def __init__(self, html: str) -> None:
        root = parse(html)
        self.messages = _at(root, "messages")
        self.state = _at(root, "state").attributes
        self.sidebar = _at(root, "sidebar").attributes
        self.skeleton = _at(root, "reasoning").inner_html.strip()
        body = root.find(lambda each: each.tag == "body")
        assert body
        self.protocol = int(body["data-protocol"])

    @property
    def version(self) -> int:
        return int(self.state.get("data-version") or 0)

    def article(self, message: str) -> Element | None:
        return _child(self.messages, f"m-{message}")

    def part(self, message: str, part: str) -> Element | None:
        """The element that holds the blocks of the text ("b") or of the reasoning ("rb")."""
        article = self.article(message)
        if article is None or part == "b":
            return article and _child(article, f"m-{message}-b")
        details = _child(article, f"m-{message}-r")
        return details and _child(details, f"m-{message}-rb")

    def block_of(self, message: str, part: str, index: int) -> Element | None:
        parent = self.part(message, part)
        return parent and _child(parent, f"m-{message}-{part}-{index}")

    def status_of(self, message: str) -> str:
        article = self.article(message)
        return article["data-status"] if article else ""

    # --- ops ------------------------------------------------------------------------------------

    def apply(self, op: Op) -> bool:
        """False where something is missing that it builds on; KeyError for an op of another kind."""
        return OPS[op[0]](self, *op[1:]) is not False

    def _blocks(self, message: str, part: str) -> Element | None:
        found = self.part(message, part)
        if found or part == "b":
            return found
        if (body := self.part(message, "b")) is None:
            return None
        body.before(*parse(self.skeleton.replace("m--", f"m-{message}-")).children)
        return self.part(message, part)

    def block(self, message: str, part: str, index: int, _at: int, html: str) -> bool:
        if (parent := self._blocks(message, part)) is None:
            return False
        id_ = f"m-{message}-{part}-{index}"
        old = _child(parent, id_)
        if old is None and len(parent.elements) != index:
            return False
        new = Element("div", {"class": "block", "id": id_})
        new.fill(parse(html).children)
        if old is None:
            parent.append(new)
        else:
            old.replace(new)
        return True

    def text(self, message: str, part: str, index: int, at: int, html: str) -> bool:
        block = self.block_of(message, part, index)
        code = block.find(_is_code) if block else None
        if code is None:
            return False
        text, length = parse(html).text, utf16(code.text)
        if length >= at + utf16(text):
            return True
        if length < at:
            return False
        code.append(cut(text, length - at)[1])
        return True

    def words(self, message: str, part: str, index: int, at: int, words: str) -> bool:
        block = self.block_of(message, part, index)
        if not block or not (found := block.last_words()):
            return False
        parent, place = found
        before, seen = cut(str(parent.children[place]), at)
        if not seen or not (words.startswith(seen) or seen.startswith(words)):
            return False
        parent.children[place] = before + max(seen, words, key=len)
        return True

    def item(self, message: str, part: str, index: int, at: int, html: str) -> bool:
        block = self.block_of(message, part, index)
        found = block and _own_list(block)
        if not found or len(found.elements) < at:
            return False
        item = parse(html).find(lambda each: each.tag in ("tr", "li"))
        assert item
        if at < len(found.elements):
            found.elements[at].replace(item)
        else:
            found.append(item)
        return True

    def trim(self, message: str, part: str, index: int, *_: object) -> None:
        if parent := self.part(message, part):
            for late in parent.elements[index:]:
                late.remove()

    def shell(self, message: str, version: int, html: str) -> bool:
        if (old := self.article(message)) is None:
            return False
        if int(old["data-version"]) > version:
            return True
        shell = parse(html).elements[0]
        for name in set(old.attributes) - set(shell.attributes):
            del old.attributes[name]
        old.attributes |= shell.attributes
        summary, news = (each.find(_is_summary) for each in (old, shell))
        if summary and news and summary.inner_html != news.inner_html:
            summary.fill(news.children)
        foot, new = _child(old, f"m-{message}-f"), _child(shell, f"m-{message}-f")
        assert foot
        assert new
        foot.replace(new)
        return True

    def put_article(self, message: str, version: int, after: str | None, html: str) -> bool:
        old = self.article(message)
        if old is not None and int(old["data-version"]) >= version:
            return True
        new = parse(html).children
        if old is not None:
            old.replace(*new)
            return True
        before = self.article(after) if after else None
        if after and before is None:
            return False
        if before:
            before.after(*new)
        else:
            self.messages.fill([*new, *self.messages.children])
        return True

    def thread(self, version: int, html: str) -> None:
        if self.version and self.version >= version:
            return
        self.state["data-version"] = str(version)
        # Beside the messages come the edges of what the page holds.
        self.messages.fill([each for each in parse(html).elements if each.tag == "article"])

    def put_sidebar(self, version: int, _html: str) -> None:
        self.sidebar["data-version"] = str(max(version, int(self.sidebar["data-version"])))

    def total(self, _version: int, _html: str) -> None:
        """It stands beside the messages."""

    def limits(self, _html: str) -> None:
        """So do they."""

    def title(self, version: int, _title: str) -> None:
        if self.version < version:
            self.state["data-version"] = str(version)


OPS: dict[str, Callable[..., bool | None]] = {
    "block": Shown.block,
    "text": Shown.text,
    "item": Shown.item,
    "words": Shown.words,
    "trim": Shown.trim,
    "shell": Shown.shell,
    "article": Shown.put_article,
    "thread": Shown.thread,
    "sidebar": Shown.put_sidebar,
    "listed": Shown.put_sidebar,
    "title": Shown.title,
    "total": Shown.total,
    "limits": Shown.limits,
}


def _at(root: Element, id_: str) -> Element:
    found = root.by_id(id_)
    assert found is not None, f"the page has no #{id_}"
    return found


def _child(parent: Element, id_: str) -> Element | None:
    return next((each for each in parent.elements if each.attributes.get("id") == id_), None)


def _own_list(block: Element) -> Element | None:
    """:scope > :is(ul, ol), :scope > .table > table > tbody"""
    for own in block.elements:
        if own.tag in ("ul", "ol"):
            return own
        if own.get("class") == "table" and own.elements:
            return next((each for each in own.elements[0].elements if each.tag == "tbody"), None)
    return None


def _is_summary(element: Element) -> bool:
    return element.tag == "summary"


def _is_code(element: Element) -> bool:
    """pre code"""
    return element.tag == "code" and element.parent is not None and element.parent.tag == "pre"
