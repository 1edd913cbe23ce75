"""Pictures of docs/benchmarks.md, as SVG."""

import statistics
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: E402

from peers import ALL  # noqa: E402

# The same runs give the same file.
plt.rcParams.update({
    "svg.hashsalt": "tickwire", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "figure.facecolor": "white",
})  # fmt: skip
OURS, THEIRS, FLOOR = "#c2410c", "#64748b", "#cbd5e1"
# What tells servers apart where they are points.
MARKERS = "os^Dv<>Phpd*X8H"


def label(key: str) -> str:
    return ALL[key].name.replace("*", "")


def color(key: str) -> str:
    return OURS if key.startswith("tickwire") else FLOOR if key.startswith("floor") else THEIRS


def save(figure, file: Path) -> None:
    figure.savefig(file, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    # matplotlib ends lines with blanks, which diffs show.
    file.write_text("\n".join(line.rstrip() for line in file.read_text().splitlines()) + "\n")


def bars(axes, rows: list, unit: str) -> None:
    """Draws horizontal bars from zero, with whiskers from lowest to highest: (name, color, values, note)."""
    for at, (_, shade, values, note) in enumerate(rows):
        if not values:
            axes.text(0.01, at, note, transform=axes.get_yaxis_transform(), va="center", color="#991b1b", fontsize=8)
            continue
        middle = statistics.median(values)
        axes.barh(at, middle, color=shade, height=0.7)
        axes.plot([min(values), max(values)], [at, at], color="black", linewidth=1)
        axes.annotate(f"{middle:.2g}" if middle < 10 else f"{middle:.0f}", (max(values), at), xytext=(4, 0),
                      textcoords="offset points", va="center", fontsize=8)  # fmt: skip
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlim(left=0)
    axes.set_xlabel(unit)
    axes.grid(axis="x", color="#e5e7eb")


def costs(found: dict, shapes: dict, file: Path) -> None:
    present = {name: title for name, title in shapes.items() if name in found}
    keys = [key for key in ALL if any(key in found[name] for name in present)]
    figure, all_axes = plt.subplots(1, len(present), figsize=(4 * len(present), 0.32 * len(keys) + 1), sharey=True, squeeze=False)
    for axes, (name, title) in zip(all_axes[0], present.items()):
        rows = []
        for key in keys:
            runs = found[name].get(key)
            held = runs is not None and runs.holds
            values = runs.values("server", "cpu_seconds_per_million") if held else []
            rows.append((label(key), color(key), values, "does not hold" if runs else "not run"))
        bars(axes, rows, "CPU seconds per million deliveries")
        axes.set_title(title)
    # Each call of bars() turned the shared axis around.
    if all_axes[0][0].get_ylim()[0] < all_axes[0][0].get_ylim()[1]:
        all_axes[0][0].invert_yaxis()
    save(figure, file)


def curve(found: dict, shapes: dict, file: Path) -> None:
    """Draws cost against p99, a panel for each shape: the floor as a line in the order of its times, servers as points."""
    present = {name: title for name, title in shapes.items() if name in found}
    figure, all_axes = plt.subplots(1, len(present), figsize=(3.6 * len(present), 3.8), squeeze=False)
    shown = {}
    for axes, (name, title) in zip(all_axes[0], present.items()):
        points = {}
        for key in (key for key in ALL if key in found[name] and found[name][key].holds):
            runs = found[name][key]
            middle = [statistics.median(runs.values(*path)) for path in (("latency", "p99_ns"), ("server", "cpu_seconds_per_million"))]
            points[key] = (middle[0] / 1e6, middle[1])
        floor = {key: at for key, at in points.items() if key.startswith("floor")}
        shown["kernel floor"], = axes.plot(*zip(*floor.values()), color="#94a3b8", marker="o", markersize=3, linewidth=1.5)
        for key, at in floor.items():
            axes.annotate(key.removeprefix("floor-"), at, xytext=(3, -9), textcoords="offset points", fontsize=6, color="#94a3b8")
        for key in (key for key in points if key not in floor):
            is_ours = key.startswith("tickwire")
            marker, shade = MARKERS[list(ALL).index(key) % len(MARKERS)], color(key)
            shown[label(key)], = axes.plot(*points[key], marker=marker, color=shade, markersize=8 if is_ours else 6, linestyle="",
                                           markeredgecolor="white", zorder=4 if is_ours else 3)  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("p99, ms")
        axes.set_title(title)
        axes.margins(0.12)
        axes.grid(color="#e5e7eb")
    all_axes[0][0].set_ylabel("CPU seconds per million deliveries")
    figure.legend(shown.values(), shown, loc="center left", bbox_to_anchor=(0.92, 0.5), frameon=False, fontsize=8)
    save(figure, file)


def latencies(servers: dict, file: Path) -> None:
    """Draws percentile curves: the nines on the x axis are even steps."""
    figure, axes = plt.subplots(figsize=(9, 4.5))
    styles = ["-", "--", ":", "-."]
    seen = {OURS: 0, THEIRS: 0, FLOOR: 0}
    for key, runs in servers.items():
        if not runs.runs:
            continue
        shade = color(key)
        number = seen[shade]
        seen[shade] += 1
        points = [(point["q"], point["ns"] / 1e6) for point in runs.median_run()["latency"]["curve"] if point["q"] < 1 and point["ns"]]
        if shade == THEIRS:
            shade = plt.get_cmap("tab10")(number % 10)
        axes.plot([1 / (1 - q) for q, _ in points], [ms for _, ms in points], label=label(key), color=shade,
                  linestyle=styles[number % 4] if shade in (OURS, FLOOR) else "-", linewidth=2 if shade == OURS else 1.2)  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(1, 1e5)
    axes.set_xticks([1, 2, 10, 100, 1e3, 1e4, 1e5], ["0", "50 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("updates that are at most so old when they are read (run with the median p99)")
    axes.set_ylabel("milliseconds since they were due")
    axes.grid(color="#e5e7eb")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    save(figure, file)


def ages(servers: dict, age_of, file: Path) -> None:
    figure, both = plt.subplots(1, 2, figsize=(9, 0.32 * len(servers) + 1), sharey=True)
    for axes, (figure_name, title) in zip(both, [("p50_ns", "median"), ("p99_ns", "p99")]):
        rows = [(label(key), color(key), [ns / 1e9 for ns in age_of(runs, figure_name)], "no figure") for key, runs in servers.items()]
        bars(axes, rows, "seconds")
        axes.set_title(f"age of what a slow reader reads, {title}")
    if both[0].get_ylim()[0] < both[0].get_ylim()[1]:
        both[0].invert_yaxis()
    save(figure, file)


def idle(servers: dict, file: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 0.32 * len(servers) + 1))
    rows = [(label(key), color(key), [max(value, 1) / 1024 for value in runs.values("server", "bytes_per_session")], "no figure") for key, runs in servers.items()]
    bars(axes, rows, "KiB of resident memory per idle session")
    save(figure, file)
