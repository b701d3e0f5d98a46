"""The five roles as groups. What a role may do is said here and nowhere else."""

from django.contrib.auth.management import create_permissions
from django.db import migrations

RIGHTS = {
    # An owner is a superuser; the group is how the owner's role is given and seen.
    "owner": [],
    "administrator": [
        ("chat", "view_user"),
        ("chat", "add_user"),
        ("chat", "change_user"),
        ("auth", "view_group"),
        ("auth", "add_group"),
        ("auth", "change_group"),
        ("auth", "delete_group"),
        ("chat", "view_gateway"),
        ("chat", "add_gateway"),
        ("chat", "change_gateway"),
        ("chat", "view_languagemodel"),
        ("chat", "view_generation"),
        ("chat", "view_call"),
    ],
    "reviewer": [
        ("chat", "view_conversation"),
        ("chat", "view_message"),
        ("chat", "view_generation"),
        ("chat", "view_call"),
    ],
    "analyst": [("chat", "view_call")],
    "member": [],
}


def make_roles(apps, schema_editor):
    using = schema_editor.connection.alias
    for label in ("auth", "chat"):
        # Django makes permissions only after all migrations; these roles need them now.
        app_config = apps.get_app_config(label)
        app_config.models_module = True
        create_permissions(app_config, verbosity=0, apps=apps, using=using)
        app_config.models_module = None
    groups = apps.get_model("auth", "Group").objects.using(using)
    permissions = apps.get_model("auth", "Permission").objects.using(using)
    for role, rights in RIGHTS.items():
        group, _ = groups.get_or_create(name=role)
        group.permissions.set(
            [
                permissions.get(content_type__app_label=label, codename=codename)
                for label, codename in rights
            ]
        )


class Migration(migrations.Migration):
    dependencies = [
        ("chat", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(make_roles, migrations.RunPython.noop)]
