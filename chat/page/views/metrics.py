"""`/metrics` for Prometheus: what this process has in hand, and how its replies ended."""

from collections.abc import Iterator

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from chat.models import Generation, Message
from chat.replies.process import process

from ..consumers import open_sockets

registry = CollectorRegistry()


class _Figures:
    def collect(self) -> Iterator[Metric]:
        runner = process.runner
        yield GaugeMetricFamily("potok_sockets_open", "Pages that watch", len(open_sockets))
        running = runner.running if runner else 0
        yield GaugeMetricFamily("potok_replies_running", "Replies that run here", running)
        queued = Generation.objects.filter(status=Message.Status.QUEUED).count()
        yield GaugeMetricFamily("potok_replies_queued", "Replies that wait, anywhere", queued)
        ended = CounterMetricFamily(
            "potok_replies_ended", "Replies that ended here, by how", labels=["status"]
        )
        for status, count in (runner.ended if runner else {}).items():
            ended.add_metric([status], count)
        yield ended


registry.register(_Figures())


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """404 without `Authorization: Bearer METRICS_TOKEN`: nobody else need know that it is here."""
    given = request.headers.get("Authorization", "")
    token = settings.METRICS_TOKEN
    if not token or not constant_time_compare(given, f"Bearer {token}"):
        raise Http404
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
