"""The last word on what reaches a page: an allow-list that holds alone, whatever comes in."""

import nh3

from chat.rendering import code, maths

_DIRECTED = ("p", "h2", "h3", "h4", "h5", "h6", "li", "blockquote", "pre", "td", "th")
_TAGS = {
    *_DIRECTED,
    *("ul", "ol", "hr", "br", "em", "strong", "del", "code", "div", "span", "a"),
    *("table", "thead", "tbody", "tr", "input"),
    *maths.TAGS,
}
_ALIGNED = {"align-left", "align-right", "align-center"}

_CLEANER = nh3.Cleaner(
    tags=_TAGS,
    clean_content_tags={"script", "style"},
    attributes={
        **{tag: {"dir"} for tag in _DIRECTED},
        "ol": {"start"},
        "a": {"href"},
        "div": {"data-lang", "data-ext"},
        "input": {"checked"},
        **maths.ATTRIBUTES,
    },
    tag_attribute_values={"span": {"dir": {"ltr"}}, "input": {"type": {"checkbox"}}},
    # One for each tag: two would come in an order that changes from process to process.
    set_tag_attribute_values={"a": {"target": "_blank"}, "input": {"disabled": ""}},
    allowed_classes={
        "div": {"code", "code-head", "table"},
        "pre": {"plain"},
        "code": {"math"},
        "a": {"image-link"},
        "span": {"code-lang", "link-host", *code.CLASSES},
        "td": _ALIGNED,
        "th": _ALIGNED,
        **maths.CLASSES,
    },
    link_rel="noopener noreferrer nofollow",
    url_schemes={"http", "https", "mailto"},
    url_relative="deny",
)


def sanitise(html: str) -> str:
    """Only the tags, attributes and classes that this package writes."""
    return _CLEANER.clean(html)
