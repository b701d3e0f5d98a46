"""Rules of retention, legal holds, erasures with their receipts, and the backups that these name."""

import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.db import migrations, models

from chat.models import erasure, read_log

# What the roles may do beyond the migrations before; an owner may do everything.
RIGHTS = {
    "administrator": (
        *("see_deleted", "erase_user", "view_erasure", "view_hold", "add_hold", "change_hold"),
        *("view_retention", "add_retention", "change_retention", "delete_retention"),
    ),
}
# Where nobody has deleted anything yet; elsewhere what is to go is for its owner to say.
FIRST_DAYS = 30


def keep_receipts(apps, schema_editor):
    erasure.install(schema_editor.connection)
    # As this version knows them: an erased person's name goes from the log.
    read_log.install(schema_editor.connection)


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


def make_first_rule(apps, schema_editor):
    using = schema_editor.connection.alias
    if not apps.get_model("chat", "User").objects.using(using).exists():
        rules = apps.get_model("chat", "Retention").objects.using(using)
        rules.create(deleted_days=FIRST_DAYS)


class Migration(migrations.Migration):

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('chat', '0018_spending'),
    ]

    operations = [
        migrations.CreateModel(
            name='Backup',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('path', models.TextField()),
                ('made_at', models.DateTimeField()),
            ],
            options={
                'ordering': ['-made_at'],
            },
        ),
        migrations.CreateModel(
            name='Erasure',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.UUIDField(verbose_name='person')),
                ('at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='when')),
                ('by_key', models.UUIDField(null=True)),
                ('tables', models.JSONField(default=dict)),
                ('calls', models.BigIntegerField(default=0, verbose_name='calls that stay')),
                ('backups', models.JSONField(default=list)),
                ('cleaned_at', models.DateTimeField(null=True, verbose_name='files clean')),
                ('residue', models.CharField(blank=True, max_length=20)),
            ],
            options={
                'verbose_name': 'erasure',
                'verbose_name_plural': 'erasures',
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Hold',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('why', models.CharField(max_length=200, verbose_name='why')),
                ('placed_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='placed')),
                ('lifted_at', models.DateTimeField(null=True, verbose_name='lifted')),
            ],
            options={
                'verbose_name': 'legal hold',
                'verbose_name_plural': 'legal holds',
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Purge',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(db_index=True, default=django.utils.timezone.now, verbose_name='when')),
                ('is_by_hand', models.BooleanField(default=False)),
                ('by_key', models.UUIDField(null=True)),
                ('conversations', models.BigIntegerField(default=0, verbose_name='conversations')),
                ('messages', models.BigIntegerField(default=0, verbose_name='messages')),
            ],
            options={
                'verbose_name': 'purge',
                'verbose_name_plural': 'purges',
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Retention',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('idle_days', models.PositiveIntegerField(blank=True, null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(36500)], verbose_name='days after the last activity')),
                ('deleted_days', models.PositiveIntegerField(blank=True, null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(36500)], verbose_name='days after the owner deleted it')),
            ],
            options={
                'verbose_name': 'retention rule',
                'verbose_name_plural': 'retention rules',
                'ordering': ['group_id', 'id'],
            },
        ),
        migrations.AlterModelOptions(
            name='conversation',
            options={'ordering': ['-active_at', '-id'], 'permissions': [('see_sums', 'Can see what conversations add up to'), ('see_deleted', 'Can see what its owner deleted')], 'verbose_name': 'conversation', 'verbose_name_plural': 'conversations'},
        ),
        migrations.AlterModelOptions(
            name='user',
            options={'permissions': [('erase_user', 'Can erase a person'), ('export_user', "Can take away all of a person's data")], 'verbose_name': 'user', 'verbose_name_plural': 'users'},
        ),
        migrations.AddField(
            model_name='message',
            name='purged_at',
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name='conversation',
            index=models.Index(condition=models.Q(('deleted_at__isnull', False)), fields=['deleted_at'], name='conversation_deleted'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('deleted_at__isnull', False), ('purged_at', None)), fields=['deleted_at'], name='message_purge'),
        ),
        migrations.AddField(
            model_name='hold',
            name='conversation',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='holds', to='chat.conversation', verbose_name='conversation'),
        ),
        migrations.AddField(
            model_name='hold',
            name='lifted_by',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='lifted by'),
        ),
        migrations.AddField(
            model_name='hold',
            name='person',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='holds', to=settings.AUTH_USER_MODEL, verbose_name='person'),
        ),
        migrations.AddField(
            model_name='hold',
            name='placed_by',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='placed by'),
        ),
        migrations.AddField(
            model_name='retention',
            name='group',
            field=models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, to='auth.group', verbose_name='group'),
        ),
        migrations.AddConstraint(
            model_name='hold',
            constraint=models.CheckConstraint(condition=models.Q(('person', None), ('conversation', None), _connector='XOR'), name='hold_of_one_thing'),
        ),
        migrations.AddConstraint(
            model_name='retention',
            constraint=models.UniqueConstraint(models.Value(1), condition=models.Q(('group', None)), name='one_retention_for_all_others'),
        ),
        migrations.RunPython(keep_receipts, migrations.RunPython.noop),
        migrations.RunPython(let_roles, migrations.RunPython.noop),
        migrations.RunPython(make_first_rule, migrations.RunPython.noop),
    ]
