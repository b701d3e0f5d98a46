from chat.rendering.markdown import render


def html(text: str) -> str:
    return "".join(block.html for block in render(text))


def test_blocks_lie_end_to_end_over_the_whole_source() -> None:
    text = "\n# A\n\nb\n\n- c\n\n[d]: http://e.f\n"
    blocks = render(text)
    assert [block.start for block in blocks] == [0, *(block.end for block in blocks[:-1])]
    assert blocks[-1].end == len(text)
    assert [text[b.start : b.end].strip()[:3] for b in blocks] == ["# A", "b", "- c"]


def test_raw_html_is_shown_as_text() -> None:
    assert html("<b onclick=x>hi</b>") == '<p dir="auto">&lt;b onclick=x&gt;hi&lt;/b&gt;</p>'
