"""Who sees prices, and who adds to them."""

from django.contrib.auth.management import create_permissions
from django.db import migrations

# What the roles may do beyond 0002_roles and 0003_gateways.
RIGHTS = {
    "administrator": ("view_price", "add_price"),
    "reviewer": ("view_price",),
    "analyst": ("view_price",),
}


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
    dependencies = [("chat", "0005_picture")]
    operations = [migrations.RunPython(let_roles, migrations.RunPython.noop)]
