from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("chat", "0025_scales")]

    operations = [
        migrations.AddIndex(
            model_name="call",
            index=models.Index(
                condition=models.Q(("conversation__isnull", False)),
                fields=["conversation"],
                name="call_titles",
            ),
        ),
    ]
