"""From figures to the text that Prometheus scrapes. The one file that knows prometheus-client.

In a worker thread, and in pieces: between them another thread has the interpreter, so that the loop does not wait for
the whole text (3 ms).
"""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from rustfsfs.service.metrics import METRICS, Classes, Kind, Metric
from rustfsfs.volume.figures import Figures

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PIECE_SAMPLES = 50  # 0.3 ms
Pause = Callable[[], None]


class Exposition:
    """A registry of our own, of one volume. One thread at a time."""

    def __init__(self) -> None:
        self._collector = _Collector()
        self._registry = CollectorRegistry()
        self._registry.register(self._collector)
        ProcessCollector(registry=self._registry)

    def text(self, figures: Figures, pause: Pause) -> bytes:
        """Blocking. `pause` is called between pieces."""
        self._collector.figures, self._collector.pause = figures, pause
        return generate_latest(self._registry)


class _Paced(list[Sample]):
    """Samples; whoever goes through them pauses after each piece."""

    def __init__(self, samples: Iterable[Sample], pause: Pause) -> None:
        super().__init__(samples)
        self._pause = pause

    def __iter__(self) -> Iterator[Sample]:
        for number, sample in enumerate(super().__iter__(), 1):
            yield sample
            if number % PIECE_SAMPLES == 0:
                self._pause()


class _Collector(Collector):
    def __init__(self) -> None:
        self.figures: Figures | None = None
        self.pause: Pause = lambda: None

    def collect(self) -> Iterator[Family]:
        """Nothing before there are figures: whoever registers it asks for names."""
        if self.figures is None:
            return
        since_pause = 0
        for metric in METRICS:
            family = _family(metric, self.figures)
            since_pause += len(family.samples) + 1
            if since_pause > PIECE_SAMPLES:
                self.pause()
                since_pause = 0
            family.samples = _Paced(family.samples, self.pause)
            yield family


def _family(metric: Metric, figures: Figures) -> Family:
    values = metric.values(figures)
    if metric.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for one in values:
            assert isinstance(one, Classes), metric.name
            histogram.add_metric(one.labels, buckets=one.cumulated, sum_value=one.sum_s)
        return histogram
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for one in values:
        assert not isinstance(one, Classes), metric.name
        family.add_metric(one.labels, one.number)
    return family
