"""Whose each session is that there is."""

from django.db import migrations

from chat.models.sessions import note_users


def fill(apps, schema_editor):
    sessions = apps.get_model("chat", "Session").objects.using(schema_editor.connection.alias)
    note_users(sessions.filter(user_id=None))


class Migration(migrations.Migration):
    # The version before may open and end sessions meanwhile: none is held for longer than its batch.
    atomic = False
    dependencies = [("chat", "0030_session_user")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
