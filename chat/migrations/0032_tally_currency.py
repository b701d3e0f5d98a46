from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("chat", "0031_session_users"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="tally",
            index=models.Index(fields=["currency"], name="tally_currency"),
        ),
    ]
