from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("chat", "0026_call_titles"),
    ]

    operations = [
        migrations.AddField(
            model_name="picture",
            name="state",
            field=models.CharField(
                choices=[("new", "New"), ("drawn", "Drawn"), ("raw", "Raw")],
                db_default="new",
                default="new",
                editable=False,
                max_length=5,
            ),
        ),
        migrations.AlterField(
            model_name="picture",
            name="media_type",
            field=models.CharField(max_length=40),
        ),
    ]
