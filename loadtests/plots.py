"""PNG plots. matplotlib is not among the gateway's dependencies: it is in the dependency group ``bench``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loadtests.measurement import MODES, Measurement
from loadtests.summaries import BENCHMARKS, Saving

MISSING = "no plots: matplotlib is not installed (uv pip install --group bench)"


def available() -> bool:
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    return True


def plot_savings(rows: Sequence[Saving], path: Path) -> Path:
    """Bars: NEL and E2EL saved, a group for each benchmark, a bar for each rate, a row for each backend."""
    import matplotlib.pyplot as plt

    backends = sorted({row.backend for row in rows})
    rates = sorted({row.tps for row in rows})
    names = [name for name in BENCHMARKS if any(row.benchmark == name for row in rows)]
    figure, axes = plt.subplots(len(backends), 2, figsize=(11, 3 * len(backends)), squeeze=False, layout="constrained")
    width = 0.8 / len(rates)
    for line, backend in enumerate(backends):
        for column, (title, name) in enumerate((("NEL saved, %", "nel_saved"), ("E2EL saved, %", "e2el_saved"))):
            axis = axes[line][column]
            for place, tps in enumerate(rates):
                cells = {row.benchmark: row for row in rows if row.backend == backend and row.tps == tps}
                heights = [getattr(cells.get(benchmark), name, None) or 0.0 for benchmark in names]
                axis.bar([x + place * width for x in range(len(names))], heights, width, label=f"{tps:g} tokens/s")
            axis.set_xticks([x + 0.4 - width / 2 for x in range(len(names))], names)
            axis.set_title(f"{backend}: {title}")
            axis.grid(axis="y", alpha=0.3)
    figure.legend(
        *axes[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=len(rates), fontsize="small"
    )
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path


def plot_timeline(measurements: Sequence[Measurement], path: Path) -> Path:
    """The paper's Figure 3 for one program: generation above execution, for each mode."""
    import matplotlib.pyplot as plt

    shown = sorted(measurements, key=lambda measurement: MODES.index(measurement.run.mode))
    figure, axis = plt.subplots(figsize=(11, 1 + 0.8 * len(shown)), layout="constrained")
    for place, measurement in enumerate(shown):
        top = -2.5 * place
        axis.broken_barh([(0, measurement.gen_ms)], (top, 0.9), color="#4c78a8")
        spans = [(start, max(end - start, 1.0)) for start, end in measurement.batches]
        axis.broken_barh(spans, (top - 1, 0.9), color="#f58518", edgecolor="white", linewidth=0.3)
    axis.set_yticks([-2.5 * place for place in range(len(shown))], [m.run.mode for m in shown])
    axis.set_xlabel("ms since the request; blue: generation, orange: execution")
    first = shown[0].run
    axis.set_title(f"{first.program} at {first.tps:g} tokens/s, {first.backend}")
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
