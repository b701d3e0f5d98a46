"""Gateways and models as administrators manage them; the rights to do so."""

import django.db.models.deletion
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.db import migrations, models

# What the administrator's role may do beyond 0002_roles.
RIGHTS = ("delete_gateway", "change_languagemodel", "delete_languagemodel", "type_model")


def let_administrators(apps, schema_editor):
    using = schema_editor.connection.alias
    app_config = apps.get_app_config("chat")
    app_config.models_module = True
    create_permissions(app_config, verbosity=0, apps=apps, using=using)
    app_config.models_module = None
    group = apps.get_model("auth", "Group").objects.using(using).get(name="administrator")
    permissions = apps.get_model("auth", "Permission").objects.using(using)
    group.permissions.add(
        *permissions.filter(content_type__app_label="chat", codename__in=RIGHTS)
    )


class Migration(migrations.Migration):

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('chat', '0002_roles'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='languagemodel',
            options={'ordering': ['gateway__position', 'gateway_id', 'position', 'id'], 'permissions': [('type_model', 'Can ask for models that no gateway lists')], 'verbose_name': 'model', 'verbose_name_plural': 'models'},
        ),
        migrations.RemoveField(
            model_name='gateway',
            name='listing_error',
        ),
        migrations.AddField(
            model_name='gateway',
            name='balance_at',
            field=models.DateTimeField(editable=False, null=True, verbose_name='balance asked'),
        ),
        migrations.AddField(
            model_name='gateway',
            name='balance_nano',
            field=models.BigIntegerField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='gateway',
            name='listing_failure',
            field=models.JSONField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='gateway',
            name='takes_any_model',
            field=models.BooleanField(default=True, help_text='Off: only administrators may type other names than those listed.', verbose_name="takes models that it doesn't list"),
        ),
        migrations.AddField(
            model_name='languagemodel',
            name='is_listed',
            field=models.BooleanField(default=True, editable=False, verbose_name='listed'),
        ),
        migrations.AlterField(
            model_name='languagemodel',
            name='gateway',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='language_models', to='chat.gateway', verbose_name='gateway'),
        ),
        migrations.AlterField(
            model_name='languagemodel',
            name='groups',
            field=models.ManyToManyField(blank=True, help_text='None: for everybody.', to='auth.group', verbose_name='only for the groups'),
        ),
        migrations.AlterField(
            model_name='languagemodel',
            name='is_default',
            field=models.BooleanField(default=False, help_text='Answers where no model is chosen.', verbose_name='default'),
        ),
        migrations.AlterField(
            model_name='languagemodel',
            name='is_hidden',
            field=models.BooleanField(default=False, help_text='Not offered for choice; works for whoever types its name.', verbose_name='hidden'),
        ),
        migrations.AlterField(
            model_name='languagemodel',
            name='is_title_model',
            field=models.BooleanField(default=False, help_text='A cheap one is best.', verbose_name='writes titles'),
        ),
        migrations.CreateModel(
            name='Favourite',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=200)),
                ('gateway', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='chat.gateway')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='favourites', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['id'],
                'constraints': [models.UniqueConstraint(fields=('user', 'gateway', 'name'), name='favourite_once')],
            },
        ),
        migrations.RunPython(let_administrators, migrations.RunPython.noop),
    ]
