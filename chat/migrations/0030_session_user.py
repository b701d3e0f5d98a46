"""Whose a session is, beside it: in Django's own table, as sessions go on while versions change."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("chat", "0029_call_running"),
        ("sessions", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Session",
            fields=[
                (
                    "session_key",
                    models.CharField(
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                        verbose_name="session key",
                    ),
                ),
                ("session_data", models.TextField(verbose_name="session data")),
                ("expire_date", models.DateTimeField(db_index=True, verbose_name="expire date")),
                ("user_id", models.BigIntegerField(db_index=True, null=True)),
            ],
            options={
                "db_table": "django_session",
                "managed": False,
                "default_permissions": (),
            },
        ),
        migrations.RunSQL(
            [
                "ALTER TABLE django_session ADD COLUMN user_id bigint NULL",
                "CREATE INDEX django_session_user_id ON django_session (user_id)",
            ],
            [
                "DROP INDEX django_session_user_id",
                "ALTER TABLE django_session DROP COLUMN user_id",
            ],
        ),
    ]
