"""Models in the admin: marked, kept to groups, hidden, and deleted once they are listed no more."""

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse

from chat.models import LanguageModel
from tests.gateway_rows import administrator, own

__all__ = ["administrator"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static", "cheap_passwords")]


def test_an_administrator_marks_models_and_keeps_them_to_groups(administrator):
    gateway = own()
    gateway.replace_models(["a", "b"])
    first, second = LanguageModel.objects.order_by("name")
    group = Group.objects.create(name="researchers")
    place = "admin:chat_languagemodel_change"
    marks = {"is_default": "on", "is_title_model": "on", "groups": [group.pk]}
    assert administrator.post(reverse(place, args=[first.pk]), marks).status_code == 302
    assert list(first.groups.all()) == [group]
    assert (
        administrator.post(reverse(place, args=[second.pk]), {"is_default": "on"}).status_code
        == 302
    )
    default, titles = (
        LanguageModel.objects.get(**{mark: True}).name for mark in ("is_default", "is_title_model")
    )
    assert (default, titles) == ("b", "a")
    gateway.replace_models(["b", "a"])
    assert LanguageModel.objects.get(is_title_model=True).groups.get() == group


def test_models_are_hidden_and_shown_by_the_dozen(administrator):
    gateway = own()
    gateway.replace_models(["a", "b", "c"])
    chosen = [model.pk for model in LanguageModel.objects.exclude(name="c")]
    place = reverse("admin:chat_languagemodel_changelist")
    for action, hidden in (("hide", {"a", "b"}), ("show", set())):
        sent = {"action": action, "_selected_action": chosen}
        assert administrator.post(place, sent).status_code == 302
        found = LanguageModel.objects.filter(is_hidden=True).values_list("name", flat=True)
        assert set(found) == hidden


def test_only_a_model_that_is_listed_no_more_may_be_deleted(administrator):
    gateway = own()
    gateway.replace_models(["a", "b"])
    LanguageModel.objects.update(is_hidden=True)
    gateway.replace_models(["b"])
    for name, status in (("a", 302), ("b", 403)):
        pk = LanguageModel.objects.get(name=name).pk
        place = reverse("admin:chat_languagemodel_delete", args=[pk])
        assert administrator.post(place, {"post": "yes"}).status_code == status


def test_the_list_of_models_is_a_page_and_not_a_query_each(
    administrator, django_assert_max_num_queries
):
    own().replace_models([f"m{number}" for number in range(60)])
    with django_assert_max_num_queries(14):
        page = administrator.get(reverse("admin:chat_languagemodel_changelist"))
    assert page.context["cl"].result_count == 60
