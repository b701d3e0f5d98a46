"""While a new version comes, the one before still runs: on the new tables, with its own idea of them.

`chat/migrations/released.txt` names the last migration of the last release.
"""

import re
from collections.abc import Iterator

import pytest
from django.apps import apps as current
from django.db import connection, migrations, models, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.utils import timezone

from tests.server import ROOT

RELEASED = (ROOT / "chat/migrations/released.txt").read_text().strip()
GONE = (
    migrations.RemoveField,
    migrations.DeleteModel,
    migrations.RenameField,
    migrations.RenameModel,
    migrations.AlterModelTable,
)
LOSES = re.compile(r"\b(DROP|RENAME|TRUNCATE)\b", re.IGNORECASE)


@pytest.fixture(scope="module")
def loader() -> MigrationLoader:
    return MigrationLoader(None)


def since_release(loader: MigrationLoader) -> Iterator[tuple[str, Operation, ProjectState]]:
    """Each operation of ours after the release, with the state that it meets."""
    old = set(loader.graph.forwards_plan(("chat", RELEASED)))
    state = loader.project_state([("chat", RELEASED)])
    for node in loader.graph.forwards_plan(loader.graph.leaf_nodes("chat")[0]):
        migration = loader.graph.nodes[node]
        if node in old:
            continue
        for operation in migration.operations:
            if node[0] == "chat":
                yield migration.name, operation, state.clone()
            operation.state_forwards(node[0], state)


def flaw(operation: Operation, state: ProjectState, old: ProjectState) -> str:
    """Why the version before, whose state is `old`, could not live with it; '' where it can."""
    if isinstance(operation, migrations.SeparateDatabaseAndState):
        found = [flaw(each, state, old) for each in operation.database_operations]
        return next(filter(None, found), "")
    if isinstance(operation, migrations.RunSQL) and LOSES.search(str(operation.sql)):
        return "may take away what the version before uses"
    name = getattr(operation, "model_name_lower", None) or getattr(operation, "name_lower", "")
    if isinstance(operation, migrations.RenameModel):
        name = operation.old_name_lower
    if ("chat", name) not in old.models:
        return ""  # nobody before reads or writes a table that is new
    if isinstance(operation, GONE):
        return "takes away a name that the version before uses"
    if isinstance(operation, migrations.AddField):
        return "" if _may_be_left_out(operation.field) else "needs db_default, or null=True"
    if isinstance(operation, migrations.AlterField):
        was = state.models["chat", name].fields[operation.name]
        return _narrowed(was, operation.field)
    if isinstance(operation, migrations.AddConstraint | migrations.AlterUniqueTogether):
        return "forbids rows that the version before writes"
    return ""


def _may_be_left_out(field: models.Field) -> bool:
    return field.many_to_many or field.null or field.has_db_default()


def _narrowed(was: models.Field, now: models.Field) -> str:
    if was.null and not now.null:
        return "refuses the NULL that the version before writes"
    if was.has_db_default() and not _may_be_left_out(now):
        return "needs db_default, or null=True"
    if type(was) is not type(now) and was.get_internal_type() != now.get_internal_type():
        return "has another type"
    if (was.max_length or 0) > (now.max_length or 10**9):
        return "is shorter"
    return "is unique now" if now.unique and not was.unique else ""


def test_no_migration_since_the_release_takes_anything_from_the_version_before(loader):
    old = loader.project_state([("chat", RELEASED)])
    assert [
        f"{name}: {operation.describe()}: {why}"
        for name, operation, state in since_release(loader)
        if (why := flaw(operation, state, old))
    ] == []


def test_the_release_is_a_migration_of_ours(loader):
    assert ("chat", RELEASED) in loader.graph.nodes
    assert len(loader.graph.leaf_nodes("chat")) == 1


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        (migrations.RemoveField("message", "text"), "takes away"),
        (migrations.RenameField("message", "text", "words"), "takes away"),
        (migrations.DeleteModel("Command"), "takes away"),
        (migrations.RenameModel("Command", "Order"), "takes away"),
        (migrations.RunSQL("ALTER TABLE chat_message DROP COLUMN text"), "may take away"),
        (
            migrations.SeparateDatabaseAndState(
                database_operations=[migrations.RemoveField("message", "text")]
            ),
            "takes away",
        ),
        (migrations.AddField("message", "n", models.IntegerField(default=0)), "db_default"),
        (migrations.AddField("message", "n", models.IntegerField(null=True)), ""),
        (migrations.AddField("message", "n", models.IntegerField(default=0, db_default=0)), ""),
        (migrations.AddField("message", "n", models.ManyToManyField("chat.Message")), ""),
        (migrations.AlterField("generation", "error_seconds", models.FloatField()), "NULL"),
        (migrations.AlterField("message", "text", models.IntegerField()), "another type"),
        (migrations.AlterField("message", "model", models.CharField(max_length=9)), "shorter"),
        (migrations.AlterField("message", "model", models.CharField(max_length=900)), ""),
        (
            migrations.AlterField(
                "message", "model", models.CharField(max_length=200, unique=True)
            ),
            "unique",
        ),
        (
            migrations.AddConstraint(
                "message", models.UniqueConstraint(fields=["text"], name="once")
            ),
            "forbids rows",
        ),
        (migrations.AddField("later", "n", models.IntegerField()), ""),
        (migrations.RemoveField("later", "n"), ""),
        (migrations.AddIndex("message", models.Index(fields=["text"], name="quick")), ""),
        (migrations.RunPython(migrations.RunPython.noop), ""),
    ],
)
def test_each_kind_of_change_is_judged(loader, operation, why):
    old = loader.project_state([("chat", RELEASED)])
    found = flaw(operation, old, old)
    assert why in found
    assert bool(why) == bool(found)


# --- and tried ------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_models_of_the_release_live_on_the_tables_of_today(loader):
    """A row of each is written by what the version before knows, and read by both."""
    old = loader.project_state([("chat", RELEASED)]).apps
    names = [model.__name__ for model in old.get_app_config("chat").get_models()]
    assert {"User", "Conversation", "Message", "Generation", "Call", "Gateway"} <= set(names)
    for name in names:
        with transaction.atomic():
            model = old.get_model("chat", name)
            row = make(model, {})
            assert model._default_manager.get(pk=row.pk).pk == row.pk
            # What the code of today finds there is a row of its own.
            assert current.get_model("chat", name)._base_manager.filter(pk=row.pk).get()
            transaction.set_rollback(True)
    connection.check_constraints()


def make(model: type[models.Model], made: dict[type[models.Model], models.Model]) -> models.Model:
    """A row with no more than it must have, and the rows that it belongs to."""
    if model in made:
        return made[model]
    row = model()
    for field in model._meta.concrete_fields:
        if field.primary_key or field.null or field.has_default():
            continue
        setattr(row, field.name, value(field, made))
    row.save()
    made[model] = row
    return row


def value(field: models.Field, made: dict) -> object:
    if field.is_relation:
        return make(field.related_model, made)
    if isinstance(field, models.DateTimeField):
        return timezone.now()
    if isinstance(field, models.CharField | models.TextField):
        return "x"
    if isinstance(field, models.UUIDField):
        return "00000000-0000-0000-0000-000000000001"
    if isinstance(field, models.BinaryField):
        return b"x"
    return 1
