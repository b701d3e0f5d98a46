"""Addresses that are put together without `reverse`, and the buttons that lead there."""

from uuid import UUID, uuid4

import pytest
from django.template import Context, Template
from django.urls import clear_script_prefix, reverse, set_script_prefix
from django.utils.html import format_html

from chat.addresses import address

NAMES = ["conversation", "text", "edit", "regenerate", "fork", "delete_message", "branch"]


@pytest.mark.parametrize("prefix", ["/", "/potok/"])
@pytest.mark.parametrize("name", NAMES)
def test_an_address_is_what_reverse_gives(name, prefix):
    set_script_prefix(prefix)
    try:
        for uuid in (uuid4(), UUID(int=0)):
            assert address(name, uuid) == reverse(name, args=[uuid])
    finally:
        clear_script_prefix()


def test_a_button_leads_to_its_own_message_and_says_what_it_is_told():
    drawn = Template('{% load potok %}{% button "copy" "text" uuid label form="go" %}')
    for label in ("Copy", "<b>"):
        for uuid in (uuid4(), uuid4()):
            html = drawn.render(Context({"uuid": uuid, "label": label}))
            assert format_html('formaction="/m/{}/text/"', uuid) in html
            assert format_html('title="{}"', label) in html
            assert "hx-" not in html
    posts = Template('{% load potok %}{% button "fork" "fork" uuid "Go on" %}')
    html = posts.render(Context({"uuid": uuid}))
    assert f'formaction="/m/{uuid}/fork/" hx-post="/m/{uuid}/fork/"' in html
