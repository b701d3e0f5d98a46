"""Which models a person may ask, what their picker offers, and through which gateway a question goes."""

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client

from chat.models import Conversation, Favourite, Gateway, Generation, LanguageModel, Message, User
from chat.models.language_models import (
    Destination,
    NoAccess,
    NoGateway,
    askable,
    destination,
    offers,
    routes,
)
from tests import rows

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static")]


@pytest.fixture
def ann():
    return rows.person("ann")


@pytest.fixture
def first():
    return listing("first", "cheap", "dear", position=1)


def listing(slug, *models, **facts):
    gateway = rows.gateway(slug, **facts)
    gateway.replace_models(models)
    return gateway


def model(name, gateway=None):
    found = LanguageModel.objects.filter(name=name)
    return found.get(gateway=gateway) if gateway else found.get()


def mark(name, gateway=None, **marks):
    row = model(name, gateway)
    for key, value in marks.items():
        setattr(row, key, value)
    row.save()
    return row


def keep_to_group(name, *members, gateway=None):
    group, _is_new = Group.objects.get_or_create(name=f"may ask {name}")
    group.user_set.add(*members)
    model(name, gateway).groups.add(group)
    return group


def offered(person):
    return [(offer.gateway.slug, offer.name) for offer in offers(person)]


# --- where a question goes ----------------------------------------------------------------------


def test_a_gateway_is_chosen_by_slug_then_by_model_then_in_order(ann):
    demo, first, second = (rows.gateway(s, position=i) for i, s in enumerate(("demo", "a", "b")))
    demo.replace_models(["demo-fast"])
    second.replace_models(["m", "n"])
    assert destination(ann, "", "b") == Destination(second, "")
    assert destination(ann, "n") == Destination(second, "n")
    assert destination(ann, "demo-fast") == Destination(demo, "demo-fast")
    assert destination(ann, "unheard of") == Destination(first, "unheard of")
    assert destination(ann) == Destination(first, "")


def test_the_demo_is_the_default_only_when_alone(ann):
    demo = rows.gateway("demo")
    assert destination(ann).gateway == demo
    other = rows.gateway("other", position=1)
    assert destination(ann).gateway == other


@pytest.mark.parametrize("slug", ["", "off", "unknown"])
def test_a_gateway_that_is_off_or_unknown_is_not_chosen(ann, slug):
    rows.gateway("off", enabled=False)
    with pytest.raises(NoGateway):
        destination(ann, "m", slug)


def test_an_empty_field_means_the_default_model_and_its_gateway(ann, first):
    second = listing("second", "best", position=2)
    mark("best", is_default=True)
    assert destination(ann) == Destination(second, "best")
    assert destination(ann, "", "first") == Destination(first, "")


def test_a_default_that_a_person_may_not_ask_is_none_for_them(ann, first):
    mark("dear", is_default=True)
    bob = rows.person("bob")
    keep_to_group("dear", bob)
    assert destination(bob) == Destination(first, "dear")
    assert destination(ann) == Destination(first, "")


def test_an_empty_field_passes_over_a_gateway_that_is_closed_to_the_person(ann, first):
    keep_to_group("cheap")
    keep_to_group("dear")
    second = listing("second", "open", position=2)
    assert destination(ann) == Destination(second, "")


def test_there_is_one_default_and_one_that_writes_titles(first):
    mark("cheap", is_default=True, is_title_model=True)
    mark("dear", is_default=True)
    assert not model("cheap").is_default
    assert model("dear").is_default
    assert LanguageModel.title_model() == model("cheap")
    model("dear").full_clean()


# --- who may ask --------------------------------------------------------------------------------


def test_a_model_kept_to_a_group_is_for_its_members_and_the_owner(ann, first):
    bob, owner = rows.person("bob"), User.objects.create_superuser("owner")
    keep_to_group("dear", bob)
    for person in (bob, owner):
        assert destination(person, "dear") == Destination(first, "dear")
        assert ("first", "dear") in offered(person)
    for slug in ("", "first"):
        with pytest.raises(NoAccess):
            destination(ann, "dear", slug)
    assert offered(ann) == [("first", "cheap")]


def test_a_model_kept_to_a_group_here_may_be_open_elsewhere(ann, first):
    second = listing("second", "dear", position=2)
    keep_to_group("dear", gateway=first)
    assert destination(ann, "dear") == Destination(second, "dear")
    with pytest.raises(NoAccess):
        destination(ann, "dear", "first")


def test_a_model_kept_to_a_group_is_not_sent_by_name_to_a_gateway_that_lists_none(ann, first):
    rows.gateway("silent")
    keep_to_group("dear")
    with pytest.raises(NoAccess):
        destination(ann, "dear")


def test_a_hidden_model_is_not_offered_but_works(ann, first):
    mark("dear", is_hidden=True)
    assert offered(ann) == [("first", "cheap")]
    assert destination(ann, "dear") == Destination(first, "dear")


def test_a_name_that_is_not_listed_works_unless_the_gateway_is_closed_to_it(ann, first):
    assert destination(ann, "unlisted") == Destination(first, "unlisted")
    Gateway.objects.update(takes_any_model=False)
    with pytest.raises(NoAccess):
        destination(ann, "unlisted")
    assert destination(ann, "cheap") == Destination(first, "cheap")


@pytest.mark.parametrize(("role", "may"), [("administrator", True), ("reviewer", False)])
def test_of_roles_the_administrators_type_any_name(first, role, may):
    Gateway.objects.update(takes_any_model=False)
    first.refresh_from_db()
    person = rows.person()
    person.groups.add(Group.objects.get(name=role))
    assert bool(askable(person, [first], ["unlisted"])) is may
    if may:
        assert routes(person, first, "unlisted") == [first]
    else:
        with pytest.raises(NoAccess):
            routes(person, first, "unlisted")


def test_the_right_to_type_any_name_can_be_given(ann, first):
    Gateway.objects.update(takes_any_model=False)
    ann.user_permissions.add(Permission.objects.get(codename="type_model"))
    assert destination(ann, "unlisted") == Destination(first, "unlisted")


def test_a_gateway_stands_in_only_with_a_model_that_is_open_to_the_person(ann, first):
    second = listing("second", "dear", position=3)
    third = listing("third", "dear", position=2)
    listing("never", "dear", stands_in=False)
    listing("off", "dear", enabled=False)
    assert routes(ann, first, "dear") == [first, third, second]
    assert routes(ann, first, "") == [first]
    keep_to_group("dear", gateway=third)
    assert routes(ann, first, "dear") == [first, second]
    keep_to_group("dear", gateway=first)
    with pytest.raises(NoAccess):
        routes(ann, first, "dear")


# --- the list -----------------------------------------------------------------------------------


def test_what_was_decided_of_a_model_outlives_a_new_list(ann, first):
    mark("cheap", is_hidden=True)
    keep_to_group("dear")
    first.replace_models(["dear", "new"])
    assert offered(ann) == [("first", "new")]
    # It left the list, and nobody gets round the decision by that.
    assert not model("cheap").is_listed
    first.replace_models([])
    with pytest.raises(NoAccess):
        destination(ann, "dear", "first")
    assert not LanguageModel.objects.filter(name="new").exists()
    first.replace_models(["cheap", "dear"])
    assert model("cheap").is_hidden
    assert model("cheap").is_listed


def test_another_server_behind_the_name_keeps_only_what_was_decided(first):
    keep_to_group("dear")
    first.note_listing_failure({"kind": "server"})
    first.forget()
    first.refresh_from_db()
    assert (first.listed_at, first.listing_failure) == (None, None)
    assert [(m.name, m.is_listed) for m in LanguageModel.objects.all()] == [("dear", False)]


# --- favourites ---------------------------------------------------------------------------------


@pytest.fixture
def page(ann):
    client = Client()
    client.force_login(ann)
    return client


def keep(page, name, gateway="", **more):
    return page.post("/models/favourite/", {"model": name, "gateway": gateway, **more})


def test_favourites_come_first_and_are_a_persons_own(page, ann, first):
    assert keep(page, "dear").status_code == 303
    assert offered(ann) == [("first", "dear"), ("first", "cheap")]
    assert offered(rows.person("bob")) == [("first", "cheap"), ("first", "dear")]


def test_a_favourite_is_kept_once_and_taken_away_once(page, first):
    for _ in range(2):
        keep(page, "dear", "first")
    assert Favourite.objects.count() == 1
    for _ in range(2):
        assert keep(page, "dear", keep="0").status_code == 303
    assert Favourite.objects.count() == 0


def test_a_favourite_may_be_a_name_that_no_gateway_lists(page, ann, first):
    keep(page, "unlisted")
    first.replace_models(["other"])
    assert offered(ann) == [("first", "unlisted"), ("first", "other")]


def test_a_favourite_that_was_closed_to_the_person_is_offered_no_more(page, ann, first):
    keep(page, "dear")
    keep_to_group("dear")
    assert offered(ann) == [("first", "cheap")]


@pytest.mark.parametrize(
    ("name", "gateway"), [("", ""), ("a\nb", ""), ("cheap", "unknown"), ("closed", "first")]
)
def test_what_can_not_be_asked_is_no_favourite(page, first, name, gateway):
    first.replace_models(["cheap", "closed"])
    keep_to_group("closed")
    assert keep(page, name, gateway).status_code == 422
    assert not Favourite.objects.exists()


def test_htmx_gets_the_new_list(page, first):
    answer = page.post("/models/favourite/", {"model": "dear"}, headers={"HX-Request": "true"})
    shown = answer.content.decode()
    assert shown.index('value="dear" data-gateway="first" data-favourite') < shown.index("cheap")


def test_a_stranger_keeps_nothing_and_a_get_changes_nothing(page, first):
    assert keep(Client(), "dear").status_code == 302
    assert page.get("/models/favourite/?model=dear").status_code == 405
    assert Client(enforce_csrf_checks=True).post("/models/favourite/").status_code in (302, 403)
    assert not Favourite.objects.exists()


def test_a_picker_costs_few_queries_however_many_models(ann, django_assert_max_num_queries):
    gateway = listing("many", *[f"m{n}" for n in range(300)])
    ann.favourites.create(gateway=gateway, name="m7")
    with django_assert_max_num_queries(6):
        assert len(offers(ann)) == 300


# --- sending ------------------------------------------------------------------------------------


def send(page, **fields):
    return page.post("/messages/", {"text": "Why?", **fields})


def test_a_send_to_a_model_that_is_not_open_is_refused_and_keeps_the_text(page, first):
    keep_to_group("dear")
    refused = send(page, model="dear")
    assert refused.status_code == 422
    assert "open to you" in refused.content.decode()
    assert "Why?" in refused.content.decode()
    assert not Conversation.objects.exists()


def test_a_send_without_a_model_names_the_default_in_the_reply(page, first):
    mark("dear", is_default=True)
    assert send(page).status_code == 303
    reply = Message.objects.get(role="assistant")
    assert (reply.model, reply.gateway) == ("dear", first)


def test_a_send_that_comes_again_is_one_even_if_the_default_changed_meanwhile(page, first):
    mark("dear", is_default=True)
    send(page, client_key="k")
    mark("cheap", is_default=True)
    send(page, client_key="k")
    assert Conversation.objects.count() == 1


def test_regenerating_with_a_model_that_is_not_open_is_refused(page, ann, first):
    reply = rows.answer(Conversation.start(ann, "Why?", "cheap", first))
    keep_to_group("dear")
    refused = page.post(f"/m/{reply.uuid}/regenerate/", {"model": "dear"})
    assert refused.status_code == 422
    assert Generation.objects.count() == 1
