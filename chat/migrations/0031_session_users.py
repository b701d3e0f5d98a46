"""Whose each session is that there is."""

from django.contrib.sessions.backends.db import SessionStore
from django.db import migrations, transaction

BATCH = 500
NOTE = "UPDATE django_session SET user_id = %s WHERE session_key = %s"
NOBODY = 0


def fill(apps, schema_editor):
    """By what is inside, as sessions were when this was written: the models may go on from there."""
    connection = schema_editor.connection
    sessions = apps.get_model("chat", "Session").objects.using(connection.alias)
    unknown = sessions.filter(user_id=None).values_list("pk", "session_data")
    store = SessionStore()
    while True:
        with transaction.atomic(connection.alias), connection.cursor() as cursor:
            noted = [
                (int(store.decode(said).get("_auth_user_id", NOBODY)), key)
                for key, said in unknown.select_for_update()[:BATCH]
            ]
            cursor.executemany(NOTE, noted)
        if len(noted) < BATCH:
            return


class Migration(migrations.Migration):
    # The version before may open and end sessions meanwhile: none is held for longer than its batch.
    atomic = False
    dependencies = [("chat", "0030_session_user")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
