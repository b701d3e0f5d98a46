"""Gateways of the database as the administration keeps them, and the browsers of two who may."""

import pytest
from django.urls import reverse

from chat.models import Gateway
from tests import rows
from tests.people import browser, of_role

KEY = "sk-a-very-secret-key-7f3a"


@pytest.fixture
def owner():
    return browser(of_role("owner", "owner"))


@pytest.fixture
def administrator():
    return browser(of_role("administrator", "administrator"))


@pytest.fixture
def reachable(gateway):
    """The scripted gateway's row; an owner has allowed that it lies on this machine."""
    return own(base_url=gateway.url, is_private_allowed=True)


def own(slug="own", **facts):
    """A gateway of the database, with a key."""
    gateway = rows.gateway(slug)
    gateway.key = KEY
    for name, value in facts.items():
        setattr(gateway, name, value)
    gateway.save()
    return gateway


def fresh(gateway):
    return Gateway.objects.get(pk=gateway.pk)


def address(name, *args):
    return reverse(f"admin:chat_gateway_{name}", args=args)
