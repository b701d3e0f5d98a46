"""The full-text index, with what has been said so far."""

from django.db import migrations

from chat.models import search_schema

BATCH = 500


def install(apps, schema_editor):
    search_schema.install(schema_editor.connection)


def remove(apps, schema_editor):
    search_schema.remove(schema_editor.connection)


def fill(apps, schema_editor):
    """By the rows as they are here: later migrations may add columns that the models know already."""
    connection = schema_editor.connection
    texts = """
        SELECT m.id, c.owner_id, m.text FROM chat_message m
        JOIN chat_conversation c ON c.id = m.conversation_id
        WHERE m.deleted_at IS NULL AND c.deleted_at IS NULL AND m.text != '' AND m.id > %s
        AND m.status IN ('complete', 'stopped', 'failed', 'interrupted') ORDER BY m.id LIMIT %s
    """
    titles = """
        SELECT -id, owner_id, title FROM chat_conversation
        WHERE deleted_at IS NULL AND id > %s ORDER BY id LIMIT %s
    """
    with connection.cursor() as cursor:
        for sql in (texts, titles):
            last = 0
            while True:
                cursor.execute(sql, [last, BATCH])
                rows = cursor.fetchall()
                if not rows:
                    break
                search_schema.insert(connection, rows)
                last = abs(rows[-1][0])


class Migration(migrations.Migration):
    dependencies = [("chat", "0011_asked")]
    operations = [
        migrations.RunPython(install, remove),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
