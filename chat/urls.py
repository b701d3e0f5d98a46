from django.contrib import admin
from django.urls import path

from chat.page.views import account, chat, health, messages, metrics, models, parameters, search

urlpatterns = [
    path("", chat.home, name="home"),
    path("setup/", account.setup, name="setup"),
    path("login/", account.Login.as_view(), name="login"),
    path("logout/", account.Logout.as_view(), name="logout"),
    path("password/", account.password, name="password"),
    path("settings/", account.settings, name="settings"),
    path("settings/log-out/", account.log_out_everywhere, name="log_out_everywhere"),
    path("parameters/", parameters.defaults, name="parameters"),
    path("messages/", chat.start, name="start"),
    path("c/<str:uuid>/", chat.conversation, name="conversation"),
    path("c/<str:uuid>/messages/", chat.send, name="send"),
    path("c/<str:uuid>/rename/", chat.rename, name="rename"),
    path("c/<str:uuid>/delete/", chat.delete, name="delete"),
    path("c/<str:uuid>/parameters/", parameters.conversation, name="conversation_parameters"),
    path("c/<str:uuid>/export.json", chat.export, name="export"),
    path("m/<str:uuid>/stop/", messages.stop, name="stop"),
    path("m/<str:uuid>/retry/", messages.retry, name="retry"),
    path("m/<str:uuid>/regenerate/", messages.regenerate, name="regenerate"),
    path("m/<str:uuid>/continue/", messages.go_on, name="continue"),
    path("m/<str:uuid>/edit/", messages.edit, name="edit"),
    path("m/<str:uuid>/delete/", messages.delete, name="delete_message"),
    path("m/<str:uuid>/fork/", messages.fork, name="fork"),
    path("m/<str:uuid>/branch/", messages.branch, name="branch"),
    path("m/<str:uuid>/text/", messages.text, name="text"),
    path("m/<str:uuid>/pictures/<int:number>/", messages.picture, name="picture"),
    path("models/favourite/", models.favourite, name="favourite"),
    path("search/", search.search, name="search"),
    path("admin/", admin.site.urls),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics.metrics, name="metrics"),
]
