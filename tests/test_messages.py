"""Message extraction and the catalogues it is held against."""

import gettext
from pathlib import Path

import pytest
from babel.messages import Catalog
from django.conf import settings

from chat import catalogues
from chat.management.commands.messages import check, extract, update

HEADER = """msgid ""
msgstr ""
"Language: ru\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && "
"(n%100<12 || n%100>14) ? 1 : 2);\\n"
"""


@pytest.fixture
def po(tmp_path: Path) -> Path:
    path = tmp_path / "ru" / "LC_MESSAGES" / "django.po"
    path.parent.mkdir(parents=True)
    path.write_text(HEADER)
    return path


def messages(*ids: object, context: str | None = None) -> Catalog:
    found = Catalog(charset="utf-8")
    for id_ in ids:
        found.add(id_, None, [("chat/page.py", None)], context=context)
    return found


def test_every_message_has_its_russian():
    found = extract(settings.BASE_DIR)
    assert [line for po in catalogues.catalogues() for line in check(po, found)] == []


def test_messages_are_found_in_templates_and_in_python(tmp_path):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "page.html").write_text(
        """{% load i18n %}
        <p title="{% translate "Send" context "button" %}">it's (( [
            {% blocktranslate count n=all|length trimmed %}
                {{ n }} message
            {% plural %}
                {{ n }} messages
            {% endblocktranslate %}
          {{ name|default:_("nobody") }}"""
    )
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "page.py").write_text(
        '"""_("no")"""\nA = _("one" " two")\nb = ngettext("%(n)d cat", "%(n)d cats", n)\n_(name)\n'
    )
    found = {(message.id, message.context) for message in extract(tmp_path) if message.id}
    assert found == {
        ("Send", "button"),
        (("%(n)s message", "%(n)s messages"), None),
        ("nobody", None),
        ("one two", None),
        (("%(n)d cat", "%(n)d cats"), None),
    }


@pytest.mark.parametrize(
    ("entry", "flaw"),
    [
        ('msgid "Send"\nmsgstr "Отправить"', None),
        ("", "'Send' is missing"),
        ('msgid "Send"\nmsgstr ""', "'Send' lacks a translation"),
        ('#, fuzzy\nmsgid "Send"\nmsgstr "Отправить"', "'Send' is fuzzy"),
        ('msgctxt "button"\nmsgid "Send"\nmsgstr "Отправить"', "'Send' is missing"),
    ],
)
def test_a_flaw_of_a_translation_is_named(po, entry, flaw):
    po.write_text(f"{HEADER}\n{entry}\n")
    assert ([flaw] if flaw else []) == check(po, messages("Send"))[:1]


def test_a_message_that_is_used_nowhere_is_named(po):
    po.write_text(f'{HEADER}\nmsgid "Old"\nmsgstr "Старое"\n')
    assert check(po, messages()) == ["'Old' is used nowhere"]


@pytest.mark.parametrize(
    ("forms", "flaws"),
    [
        (("%(n)d кот", "%(n)d кота", "%(n)d котов"), []),
        (("один кот", "%(n)d кота", "%(n)d котов"), ["has other placeholders in 'один кот'"]),
        (("%(n)d кот", "%(x)d кота", "%(n)d котов"), ["has other placeholders in '%(x)d кота'"]),
        (("%(n)d кот", "%(n)d коты"), ["lacks a translation"]),
    ],
)
def test_russian_has_three_plural_forms_with_the_same_placeholders(po, forms, flaws):
    lines = [f'msgstr[{number}] "{form}"' for number, form in enumerate(forms)]
    entry = ['msgid "%(n)d cat"', 'msgid_plural "%(n)d cats"', *lines]
    po.write_text("\n".join([HEADER, *entry, ""]))
    found = check(po, messages(("%(n)d cat", "%(n)d cats")))
    assert found == [f"'%(n)d cat' {flaw}" for flaw in flaws]


def test_the_header_has_the_plural_forms_of_its_language(po):
    po.write_text(HEADER.replace("nplurals=3", "nplurals=4"))
    assert check(po, messages()) == ["the header has 4 plural forms, not 3"]


def test_an_update_keeps_translations_and_can_be_repeated(po):
    po.write_text(f'{HEADER}\nmsgid "Send"\nmsgstr "Отправить"\n\nmsgid "Old"\nmsgstr "Старое"\n')
    update(po, messages("Send", "New"))
    once = po.read_text()
    assert check(po, messages("Send", "New")) == ["'New' lacks a translation"]
    update(po, messages("Send", "New"))
    assert po.read_text() == once


def test_catalogues_are_compiled_when_they_are_stale(po, tmp_path):
    po.write_text(f'{HEADER}\nmsgid "Send"\nmsgstr "Отправить"\n')
    assert catalogues.compile_catalogues(tmp_path) == [po.with_suffix(".mo")]
    assert catalogues.compile_catalogues(tmp_path) == []
    assert catalogues.compile_catalogues(tmp_path, force=True) == [po.with_suffix(".mo")]
    with po.with_suffix(".mo").open("rb") as compiled:
        assert gettext.GNUTranslations(compiled).gettext("Send") == "Отправить"
