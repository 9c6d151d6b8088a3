"""OpenTelemetry: traces and metrics of a process, and logs without secrets.

Nothing is sent unless somebody asks: traces and metrics go to the collector that the standard variables name
(`OTEL_EXPORTER_OTLP_ENDPOINT`), metrics also to Prometheus on the loopback port of `RUNBOOKS_METRICS_PORT`.
Rooms use the OpenTelemetry API alone; without this set-up it does nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

from opentelemetry import metrics, trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import start_http_server

from runbooks_app import __version__

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
HIDDEN = "[secret]"

log = logging.getLogger(__name__)


class Scrubber(logging.Filter):
    """Takes known secrets out of log records; should that fail, the record is withheld."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        self._secrets = sorted({secret for secret in secrets if len(secret) >= 8}, key=len, reverse=True)

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace secrets in the finished message and the traceback's text."""
        try:
            message = record.getMessage()
            if record.exc_info and not record.exc_text:
                record.exc_text = logging.Formatter().formatException(record.exc_info)
        except Exception:  # noqa: BLE001 -- whatever a record's arguments raise, its secrets stay in
            record.msg, record.args, record.exc_info, record.exc_text = (
                "[a record that could not be told]",
                (),
                None,
                None,
            )
            return True
        record.msg, record.args = self.scrub(message), ()
        record.exc_text = self.scrub(record.exc_text) if record.exc_text else None
        return True

    def scrub(self, text: str) -> str:
        """The text without known secrets; matched literally, so that no secret is a pattern."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text


def scrub_logs(secrets: Iterable[str]) -> None:
    """Scrub everything that the root logger's handlers write."""
    scrubber = Scrubber(secrets)
    for handler in logging.getLogger().handlers:
        handler.addFilter(scrubber)


def set_up(process: str, environment: str, metrics_port: int) -> None:
    """Begin to measure this process; `process` is `web` or `worker`."""
    resource = Resource.create(
        {
            "service.name": "runbooks",
            "service.namespace": "runbooks",
            "service.version": __version__,
            "service.instance.id": f"{process}-{os.getpid()}",
            "deployment.environment.name": environment,
        }
    )
    readers: list[MetricReader] = []
    if os.environ.get(ENDPOINT):
        # Imported by who sends: 0.1 s of every other process's start.
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

        traces = TracerProvider(resource=resource)
        traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(traces)
        readers.append(PeriodicExportingMetricReader(OTLPMetricExporter()))
    if metrics_port:
        try:
            start_http_server(metrics_port, addr="127.0.0.1")
        except OSError as error:
            # Work goes on unmeasured: a second worker on a machine is there to help.
            log.warning(
                "Prometheus cannot scrape this process: its port %s cannot be had (%s). Give each process of a machine"
                " a RUNBOOKS_METRICS_PORT of its own.",
                metrics_port,
                error,
            )
        else:
            readers.append(PrometheusMetricReader())
    if readers:
        metrics.set_meter_provider(MeterProvider(metric_readers=readers, resource=resource))
