"""Feedback with its review, the log of readings, and what conversations add up to."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.db import migrations, models

from chat.models import read_log

# What the roles may do beyond the migrations before; an owner may do everything.
RIGHTS = {
    "administrator": ("see_sums", "view_readlog"),
    "reviewer": ("see_sums", "view_feedback", "change_feedback"),
    "analyst": ("see_sums",),
}
TALLIES = """
    INSERT INTO chat_tally (conversation_id, gateway_slug, model, currency, calls, counted, tokens,
    priced, cost_nano, estimated, unknown, estimated_cost, unknown_cost)
    SELECT m.conversation_id, c.gateway_slug, c.model, c.currency, COUNT(*),
    COUNT(c.total_tokens), COALESCE(SUM(c.total_tokens), 0),
    COUNT(c.cost_nano), COALESCE(SUM(c.cost_nano), 0),
    SUM(CASE WHEN c.confidence = 'estimated' THEN 1 ELSE 0 END),
    SUM(CASE WHEN (c.error_kind = '' OR c.first_delta_at IS NOT NULL)
        AND c.total_tokens IS NULL THEN 1 ELSE 0 END),
    SUM(CASE WHEN c.cost_confidence = 'estimated' THEN 1 ELSE 0 END),
    SUM(CASE WHEN (c.error_kind = '' OR c.first_delta_at IS NOT NULL)
        AND c.cost_nano IS NULL THEN 1 ELSE 0 END)
    FROM chat_call c JOIN chat_message m ON m.id = c.message_id
    WHERE c.ended_at IS NOT NULL
    GROUP BY m.conversation_id, c.gateway_slug, c.model, c.currency
"""


def keep_log(apps, schema_editor):
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


class Migration(migrations.Migration):

    dependencies = [
        ("chat", "0014_revisions"),
    ]

    operations = [
        migrations.CreateModel(
            name='Feedback',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('rating', models.SmallIntegerField(choices=[(-1, 'thumbs down'), (1, 'thumbs up')], verbose_name='rating')),
                ('comment', models.TextField(blank=True, verbose_name='comment')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='given')),
                ('verdict', models.CharField(blank=True, choices=[('wrong', 'the model is wrong'), ('refused', 'the model refused without need'), ('style', 'right, but badly written'), ('unsafe', 'harmful'), ('defect', 'a defect of Potok or of the gateway'), ('fine', 'the reply is fine')], max_length=10, verbose_name='verdict')),
                ('note', models.TextField(blank=True, verbose_name='note')),
                ('done_at', models.DateTimeField(blank=True, null=True, verbose_name='done')),
            ],
            options={
                'verbose_name': 'feedback',
                'verbose_name_plural': 'feedback',
                'ordering': ['rating', 'id'],
            },
        ),
        migrations.CreateModel(
            name='ReadLog',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='when')),
                ('reader_key', models.UUIDField()),
                ('reader', models.CharField(max_length=150, verbose_name='who')),
                ('what', models.CharField(choices=[('title', 'the title, in a list'), ('snippet', 'a passage, by search'), ('transcript', 'the whole conversation'), ('call', 'a call with its words'), ('feedback', 'a reply with its feedback'), ('export', 'an export')], max_length=12, verbose_name='what')),
                ('conversation', models.UUIDField(verbose_name='conversation')),
                ('owner_key', models.UUIDField()),
                ('why', models.CharField(blank=True, max_length=200, verbose_name='why')),
            ],
            options={
                'verbose_name': 'reading',
                'verbose_name_plural': 'readings',
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Score',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=50, verbose_name='name')),
                ('value', models.SmallIntegerField(verbose_name='value')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                'verbose_name': 'score',
                'verbose_name_plural': 'scores',
                'ordering': ['name', 'id'],
            },
        ),
        migrations.CreateModel(
            name='Tally',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('gateway_slug', models.CharField(max_length=50)),
                ('model', models.CharField(max_length=200)),
                ('currency', models.CharField(blank=True, max_length=3)),
                ('calls', models.BigIntegerField(default=0)),
                ('counted', models.BigIntegerField(default=0)),
                ('tokens', models.BigIntegerField(default=0)),
                ('priced', models.BigIntegerField(default=0)),
                ('cost_nano', models.BigIntegerField(default=0)),
                ('estimated', models.BigIntegerField(default=0)),
                ('unknown', models.BigIntegerField(default=0)),
                ('estimated_cost', models.BigIntegerField(default=0)),
                ('unknown_cost', models.BigIntegerField(default=0)),
            ],
        ),
        migrations.AlterModelOptions(
            name='conversation',
            options={'ordering': ['-active_at', '-id'], 'permissions': [('see_sums', 'Can see what conversations add up to')], 'verbose_name': 'conversation', 'verbose_name_plural': 'conversations'},
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(fields=['conversation', 'status'], name='message_statuses'),
        ),
        migrations.AddField(
            model_name='feedback',
            name='message',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, to='chat.message', verbose_name='reply'),
        ),
        migrations.AddField(
            model_name='feedback',
            name='reviewer',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='reviewer'),
        ),
        migrations.AddIndex(
            model_name='readlog',
            index=models.Index(fields=['owner_key', '-id'], name='read_log_owner'),
        ),
        migrations.AddIndex(
            model_name='readlog',
            index=models.Index(fields=['conversation', '-id'], name='read_log_conversation'),
        ),
        migrations.AddField(
            model_name='score',
            name='message',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='scores', to='chat.message'),
        ),
        migrations.AddField(
            model_name='score',
            name='reviewer',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='tally',
            name='conversation',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='tallies', to='chat.conversation'),
        ),
        migrations.AddIndex(
            model_name='feedback',
            index=models.Index(fields=['rating', 'id'], name='feedback_queue'),
        ),
        migrations.AddConstraint(
            model_name='score',
            constraint=models.UniqueConstraint(fields=('message', 'name', 'reviewer'), name='score_once'),
        ),
        migrations.AddIndex(
            model_name='tally',
            index=models.Index(fields=['model'], name='tally_model'),
        ),
        migrations.AddConstraint(
            model_name='tally',
            constraint=models.UniqueConstraint(fields=('conversation', 'gateway_slug', 'model', 'currency'), name='tally_once'),
        ),
        migrations.RunSQL(TALLIES, migrations.RunSQL.noop),
        migrations.RunPython(keep_log, migrations.RunPython.noop),
        migrations.RunPython(let_roles, migrations.RunPython.noop),
    ]
