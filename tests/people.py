"""People by role, and the browsers in which they are logged in; of this process, without a server."""

from django.contrib.auth.models import Group
from django.test import Client

from chat.models import User


def of_role(role: str, name: str = "") -> User:
    """The one of this name ("the-reviewer" unless told), who is made if need be."""
    person, is_new = User.objects.get_or_create(
        username=name or f"the-{role}", defaults={"is_superuser": role == "owner"}
    )
    if is_new:
        person.groups.add(Group.objects.get(name=role))
    return person


def browser(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client
