"""What the screens of accounts lead to, put into a server's database and taken out of it again."""

from django.db import transaction
from django.utils import timezone

from chat.models import AccountPolicy, IdentityProvider, Invitation, SecondFactor, User
from chat.models.invitations import _digest


@transaction.atomic
def open_(stepper: str, password: str, token: str) -> None:
    """Nobody answers at the provider's address. What another test left there gives way."""
    close(stepper, password, token)
    person = User.objects.create_user(stepper, password=password)
    factor = SecondFactor.begin(person)
    SecondFactor.objects.filter(pk=factor.pk).update(confirmed_at=timezone.now())
    AccountPolicy.objects.create(pk=1, sign_up=AccountPolicy.SignUp.INVITATION)
    owner = User.objects.filter(is_superuser=True)[0]
    invitation, _token = Invitation.make(owner)
    Invitation.objects.filter(pk=invitation.pk).update(digest=_digest(token))
    IdentityProvider.objects.create(
        slug="office", name="Work", issuer="https://id.example.org", client_id="potok"
    )


def close(stepper: str, _password: str, token: str) -> None:
    User.objects.filter(username=stepper).delete()
    AccountPolicy.objects.all().delete()
    Invitation.objects.filter(digest=_digest(token)).delete()
    IdentityProvider.objects.filter(slug="office").delete()
