"""Scales on which reviewers score replies."""

from django.contrib.auth.management import create_permissions
from django.db import migrations, models

# What the roles may do beyond the migrations before; an owner may do everything.
RIGHTS = {"administrator": ("view_scale", "add_scale", "change_scale", "delete_scale")}


def let_roles(apps, schema_editor):
    using = schema_editor.connection.alias
    app_config = apps.get_app_config("chat")
    app_config.models_module = True
    create_permissions(app_config, verbosity=0, apps=apps, using=using)
    app_config.models_module = None
    groups = apps.get_model("auth", "Group").objects.using(using)
    permissions = apps.get_model("auth", "Permission").objects.using(using)
    for role, rights in RIGHTS.items():
        found = permissions.filter(content_type__app_label="chat", codename__in=rights)
        groups.get(name=role).permissions.add(*found)


class Migration(migrations.Migration):

    dependencies = [
        ('chat', '0024_replay'),
    ]

    operations = [
        migrations.CreateModel(
            name='Scale',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=50, unique=True, verbose_name='name')),
                ('meaning', models.CharField(blank=True, max_length=200, verbose_name='meaning')),
                ('low', models.SmallIntegerField(default=1, verbose_name='lowest')),
                ('high', models.SmallIntegerField(default=5, verbose_name='highest')),
                ('labels', models.JSONField(blank=True, default=list, verbose_name='labels')),
            ],
            options={
                'verbose_name': 'scale',
                'verbose_name_plural': 'scales',
                'ordering': ['name'],
            },
        ),
        migrations.AddIndex(
            model_name='score',
            index=models.Index(fields=['name', 'value'], name='score_values'),
        ),
        migrations.RunPython(let_roles, migrations.RunPython.noop),
    ]
