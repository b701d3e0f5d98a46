"""Who invites; what is decided about accounts at all is the owner's."""

from django.contrib.auth.management import create_permissions
from django.db import migrations


def let_administrators(apps, schema_editor):
    using = schema_editor.connection.alias
    app_config = apps.get_app_config("chat")
    app_config.models_module = True
    create_permissions(app_config, verbosity=0, apps=apps, using=using)
    app_config.models_module = None
    groups = apps.get_model("auth", "Group").objects.using(using)
    permissions = apps.get_model("auth", "Permission").objects.using(using)
    rights = ("view_invitation", "add_invitation")
    found = permissions.filter(content_type__app_label="chat", codename__in=rights)
    groups.get(name="administrator").permissions.add(*found)


class Migration(migrations.Migration):
    dependencies = [("chat", "0022_accounts")]
    operations = [migrations.RunPython(let_administrators, migrations.RunPython.noop)]
