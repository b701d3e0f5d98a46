"""Receipts of erasures: that a person was erased, by whom, what went and which backups hold it still."""

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.models import Erasure, User
from chat.models.read_log import pseudonym

from .figures import whole
from .read_only import ReadOnlyAdmin

# Of tables that have no page here, and so no name for people.
NAMES = {
    "chat.Generation": gettext_lazy("attempts at replies"),
    "chat.Tally": gettext_lazy("sums of conversations"),
    "chat.Command": gettext_lazy("commands of the page"),
    "chat.Picture": gettext_lazy("pictures"),
    "chat.Favourite": gettext_lazy("favourite models"),
    "chat.LoginAttempt": gettext_lazy("tries to log in"),
    "sessions.Session": gettext_lazy("logins"),
    "chat.User_groups": gettext_lazy("memberships in groups"),
    "admin.LogEntry": gettext_lazy("changes made here"),
}


@admin.register(Erasure)
class ErasureAdmin(ReadOnlyAdmin):
    page_template = "admin/erasure.html"
    list_display = ("at", "whose", "by", "rows", "calls", "cleaned_at")
    told_when_empty = gettext_lazy("Nobody was erased.")
    list_display_links = ("at",)
    sortable_by = ()

    def page_context(self, request: HttpRequest, row: Erasure) -> dict[str, Any]:
        return {
            "erasure": row,
            "whose": self.whose(row),
            "by": self.by(row),
            "tables": [(table_name(name), whole(count)) for name, count in row.tables.items()],
            "backups": [
                backup | {"made_at": parse_datetime(backup["made_at"])} for backup in row.backups
            ],
            "title": _("Erasure of %(key)s") % {"key": self.whose(row)},
        }

    @admin.display(description=gettext_lazy("person"))
    def whose(self, row: Erasure) -> str:
        return pseudonym(row.key)

    @admin.display(description=gettext_lazy("by"))
    def by(self, row: Erasure) -> str:
        if row.by_key is None:
            return _("the command line")
        if row.is_by_themselves:
            return _("themselves")
        name = User.objects.filter(key=row.by_key).values_list("username", flat=True).first()
        return name or pseudonym(row.by_key)

    @admin.display(description=gettext_lazy("rows that went"))
    def rows(self, row: Erasure) -> str:
        return whole(sum(row.tables.values()))


def table_name(label: str) -> str:
    """Such as 'messages'; its label in the code where it has no name."""
    if label in NAMES:
        return str(NAMES[label])
    try:
        return str(apps.get_model(label)._meta.verbose_name_plural)
    except LookupError:  # of an older version
        return label
