from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("chat", "0027_picture_state"),
    ]

    operations = [
        migrations.AlterField(
            model_name="readlog",
            name="what",
            field=models.CharField(
                choices=[
                    ("title", "the title, in a list"),
                    ("snippet", "a passage, by search"),
                    ("transcript", "the whole conversation"),
                    ("replay", "a reply, played back"),
                    ("picture", "an image in a reply"),
                    ("call", "a call with its words"),
                    ("feedback", "a reply with its feedback"),
                    ("export", "an export"),
                ],
                max_length=12,
                verbose_name="what",
            ),
        ),
    ]
