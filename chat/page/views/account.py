"""Coming in: the first owner, login, logout, password."""

from django.contrib.auth import login, update_session_auth_hash
from django.contrib.auth import views as auth_views
from django.contrib.auth.forms import PasswordChangeForm
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from chat.models import User
from chat.models.people import OwnerExists

from ..access import member_only
from ..forms import SetupForm


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def setup(request: HttpRequest) -> HttpResponse:
    """Make the first owner; there is no such page once there is a user."""
    if User.objects.exists():
        raise Http404
    form = SetupForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            owner = User.create_owner(form.cleaned_data["username"], form.cleaned_data["password1"])
        except OwnerExists:
            raise Http404 from None
        login(request, owner, backend="django.contrib.auth.backends.ModelBackend")
        return redirect("home")
    status = 422 if form.errors else 200
    return render(request, "setup.html", {"form": form}, status=status)


class Login(auth_views.LoginView):
    template_name = "login.html"
    redirect_authenticated_user = True
    http_method_names = ["get", "head", "post", "options"]

    def form_invalid(self, form):  # type: ignore[no-untyped-def]
        response = super().form_invalid(form)
        response.status_code = 422
        return response


class Logout(auth_views.LogoutView):
    http_method_names = ["post", "options"]


@sensitive_post_parameters()
@member_only
@require_http_methods(["GET", "HEAD", "POST"])
def password(request: HttpRequest) -> HttpResponse:
    """Change one's own password; every other session of the account ends by it."""
    form = PasswordChangeForm(request.user, request.POST or None)
    is_changed = request.method == "POST" and form.is_valid()
    if is_changed:
        form.save()
        update_session_auth_hash(request, form.user)
        form = PasswordChangeForm(request.user)
    status = 422 if form.errors else 200
    return render(request, "password.html", {"form": form, "is_changed": is_changed}, status=status)
