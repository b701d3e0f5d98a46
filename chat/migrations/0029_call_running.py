from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("chat", "0028_read_log_pictures"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="call",
            index=models.Index(
                condition=models.Q(("ended_at__isnull", True)),
                fields=["started_at"],
                name="call_running",
            ),
        ),
    ]
