"""What a day's calls add up to, rates, balances as they were, and who may stop others' replies."""

import chat.models.money
import chat.models.rates
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.db import migrations, models

# What the roles may do beyond the migrations before; an owner may do everything.
RIGHTS = {
    "administrator": ("stop_generation", "view_rate", "add_rate"),
    "reviewer": ("view_rate",),
    "analyst": ("view_rate",),
}
# {day}, {took} from first words to the end, {waited} for the first words, {least} of two: by database.
DAYS = """
    INSERT INTO chat_daytally (day, user_key, user_group, gateway_slug, model, purpose, currency,
    calls, counted, tokens, priced, cost_nano, estimated, unknown, estimated_cost, unknown_cost,
    replies, errors, timed_ms, timed_tokens)
    SELECT {day}, c.user_key, c.user_group, c.gateway_slug, c.model, c.purpose, c.currency, COUNT(*),
    COUNT(c.total_tokens), COALESCE(SUM(c.total_tokens), 0),
    COUNT(c.cost_nano), COALESCE(SUM(c.cost_nano), 0),
    SUM(CASE WHEN c.confidence = 'estimated' THEN 1 ELSE 0 END),
    SUM(CASE WHEN (c.error_kind = '' OR c.first_delta_at IS NOT NULL)
        AND c.total_tokens IS NULL THEN 1 ELSE 0 END),
    SUM(CASE WHEN c.cost_confidence = 'estimated' THEN 1 ELSE 0 END),
    SUM(CASE WHEN (c.error_kind = '' OR c.first_delta_at IS NOT NULL)
        AND c.cost_nano IS NULL THEN 1 ELSE 0 END),
    SUM(CASE WHEN c.purpose = 'reply' AND c.attempt = 1 THEN 1 ELSE 0 END),
    SUM(CASE WHEN c.error_kind != '' THEN 1 ELSE 0 END),
    SUM(CASE WHEN c.purpose = 'reply' AND c.completion_tokens IS NOT NULL AND {took} > 0
        THEN {took} ELSE 0 END),
    SUM(CASE WHEN c.purpose = 'reply' AND c.completion_tokens IS NOT NULL AND {took} > 0
        THEN c.completion_tokens ELSE 0 END)
    FROM chat_call c WHERE c.ended_at IS NOT NULL
    GROUP BY 1, c.user_key, c.user_group, c.gateway_slug, c.model, c.purpose, c.currency
"""
WAITS = """
    INSERT INTO chat_firsttoken (day, gateway_slug, model, ms, calls)
    SELECT day, gateway_slug, model, CASE WHEN ms < 100 THEN ms WHEN ms < 1000 THEN ms / 10 * 10
    WHEN ms < 10000 THEN ms / 100 * 100 WHEN ms < 100000 THEN ms / 1000 * 1000
    WHEN ms < 1000000 THEN ms / 10000 * 10000 WHEN ms < 10000000 THEN ms / 100000 * 100000
    ELSE ms / 1000000 * 1000000 END, COUNT(*)
    FROM (SELECT {day} AS day, c.gateway_slug, c.model, {least}({waited}, 36000000) AS ms
        FROM chat_call c WHERE c.ended_at IS NOT NULL AND c.first_delta_at IS NOT NULL
        AND c.purpose = 'reply') waits
    GROUP BY 1, 2, 3, 4
"""


def count(apps, schema_editor):
    zone = settings.TIME_ZONE.replace("'", "")
    if schema_editor.connection.vendor == "postgresql":
        took = "GREATEST(0, FLOOR(EXTRACT(EPOCH FROM ({} - {})) * 1000)::bigint)"
        day, least = f"(c.started_at AT TIME ZONE '{zone}')::date", "LEAST"
    else:
        took = "MAX(0, django_timestamp_diff({}, {}) / 1000)"
        day, least = f"django_datetime_cast_date(c.started_at, '{zone}', 'UTC')", "MIN"
    parts = {
        "day": day,
        "least": least,
        "took": took.format("c.ended_at", "c.first_delta_at"),
        "waited": took.format("c.first_delta_at", "c.started_at"),
    }
    for statement in (DAYS, WAITS):
        schema_editor.execute(statement.format(**parts))


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
        ('chat', '0017_sidebar'),
    ]

    operations = [
        migrations.CreateModel(
            name='Balance',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(default=django.utils.timezone.now)),
                ('nano', models.BigIntegerField()),
                ('currency', models.CharField(max_length=3)),
            ],
            options={
                'ordering': ['at', 'id'],
            },
        ),
        migrations.CreateModel(
            name='DayTally',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField()),
                ('user_key', models.UUIDField()),
                ('user_group', models.CharField(blank=True, max_length=150)),
                ('gateway_slug', models.CharField(max_length=50)),
                ('model', models.CharField(max_length=200)),
                ('purpose', models.CharField(max_length=10)),
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
                ('replies', models.BigIntegerField(default=0)),
                ('errors', models.BigIntegerField(default=0)),
                ('timed_ms', models.BigIntegerField(default=0)),
                ('timed_tokens', models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name='FirstToken',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField()),
                ('gateway_slug', models.CharField(max_length=50)),
                ('model', models.CharField(max_length=200)),
                ('ms', models.PositiveIntegerField()),
                ('calls', models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name='Rate',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField(default=chat.models.rates.today, verbose_name='from the day')),
                ('currency', models.CharField(max_length=3, verbose_name='one unit of')),
                ('into', models.CharField(max_length=3, verbose_name='in the currency')),
                ('rate', chat.models.money.MoneyField(verbose_name='is worth')),
            ],
            options={
                'verbose_name': 'rate',
                'verbose_name_plural': 'rates',
                'ordering': ['-day', '-id'],
            },
        ),
        migrations.AlterModelOptions(
            name='generation',
            options={'permissions': [('stop_generation', "Can stop somebody's reply")]},
        ),
        migrations.AddField(
            model_name='call',
            name='user_group',
            field=models.CharField(blank=True, db_default='', default='', max_length=150, verbose_name='group'),
        ),
        migrations.AddIndex(
            model_name='call',
            index=models.Index(condition=models.Q(('error_kind', ''), _negated=True), fields=['gateway', 'started_at'], name='call_errors'),
        ),
        migrations.AddIndex(
            model_name='generation',
            index=models.Index(condition=models.Q(('status', 'interrupted')), fields=['ended_at'], name='generation_interrupted'),
        ),
        migrations.AddField(
            model_name='balance',
            name='gateway',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='balances', to='chat.gateway'),
        ),
        migrations.AddIndex(
            model_name='daytally',
            index=models.Index(fields=['user_key', 'day'], name='day_tally_user'),
        ),
        migrations.AddConstraint(
            model_name='daytally',
            constraint=models.UniqueConstraint(fields=('day', 'user_key', 'user_group', 'gateway_slug', 'model', 'purpose', 'currency'), name='day_tally_once'),
        ),
        migrations.AddConstraint(
            model_name='firsttoken',
            constraint=models.UniqueConstraint(fields=('day', 'gateway_slug', 'model', 'ms'), name='first_token_once'),
        ),
        migrations.AddIndex(
            model_name='rate',
            index=models.Index(fields=['into', 'currency', 'day'], name='rate_at'),
        ),
        migrations.AddIndex(
            model_name='balance',
            index=models.Index(fields=['gateway', 'at'], name='balance_at'),
        ),
        migrations.RunPython(count, migrations.RunPython.noop),
        migrations.RunPython(let_roles, migrations.RunPython.noop),
    ]
