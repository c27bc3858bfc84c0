#!/usr/bin/env python3
"""Makes the table and the picture of a run of the benchmarks: report.py [--core N] DIR

Reads one_core.json, tasks.json, two_cores.json (Google Benchmark), python.json and bootstrap_python.json in DIR;
writes benchmarks.md, benchmarks.json, benchmarks.csv, benchmarks.gp, benchmarks.svg and benchmarks.png there, and the
table to stdout.
"""

import argparse
import json
import math
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys

NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}
COUNTERS = ("evals_per_s", "gflops", "residual", "bytes_per_task", "to_solver")
SIZES = ("4x2", "8x3", "12x4", "16x4")
PLANTS = ("4x2", "8x3", "20x5", "50x10", "100x20")
STATES = (4, 8, 16, 32, 64, 128, 256, 512)
HARD = "/rho:0.999"


def read(path):
    """The context of a run, and the medians of its rows: time of the processor and of the clock in ns, counters."""
    try:
        with open(path, encoding="utf8") as file:
            run = json.load(file)
    except FileNotFoundError:
        return {}, {}
    repetitions = {}
    for row in run["benchmarks"]:
        if row.get("run_type") == "iteration":
            repetitions.setdefault(row["name"], []).append(row)
    medians = {}
    for name, rows in repetitions.items():
        failed = [row["error_message"] for row in rows if row.get("error_occurred")]
        if failed:
            medians[name] = {"error": failed[0]}
            continue
        unit = NANOSECONDS[rows[0]["time_unit"]]
        medians[name] = {
            "cpu_ns": statistics.median(row["cpu_time"] * unit for row in rows),
            "real_ns": statistics.median(row["real_time"] * unit for row in rows),
            "repetitions": len(rows),
        }
        for counter in COUNTERS:
            if all(counter in row for row in rows):
                medians[name][counter] = statistics.median(row[counter] for row in rows)
    return run["context"], medians


def number(x, digits=3):
    if x is None:
        return ""
    if x == 0 or not math.isfinite(x):
        return str(x)
    rounded = f"{x:.{digits}g}"
    return f"{x:.0f}" if 10**digits <= abs(float(rounded)) < 1e7 else rounded


def scaled(x):
    """With a prefix: 12.3 M."""
    for size, prefix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if x >= size:
            return f"{x / size:.3g}{prefix}"
    return f"{x:.3g}"


def duration(ns, digits=3):
    for size, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if ns >= size:
            return f"{number(ns / size, digits)} {unit}"
    return f"{number(ns, digits)} ns"


class Table:
    """Rows of Markdown, and the same as data."""

    HEAD = ("benchmark", "evaluations/s", "time", "against", "ratio", "asked", "residual (theirs)")

    def __init__(self, rows):
        self.rows = rows
        self.lines = []
        self.data = []

    def add(self, name, against, ratio, asked=None, holds=None, residual=""):
        row = self.rows[name]
        rate = row.get("evals_per_s")
        if asked is not None and holds is None:
            holds = ratio >= asked
        shown = "" if asked is None else f"{'>=' if asked >= 0 else '<='} {number(abs(asked))}"
        if asked is not None:
            shown += ", reached" if holds else ", **missed**"
        each = 1e9 / rate if rate else None
        if name.startswith("maml"):
            each = row["real_ns" if "threads" in name else "cpu_ns"]
        self.lines.append(
            (
                f"`{name}`",
                scaled(rate) if rate else "",
                duration(each) if each else "",
                against,
                number(ratio),
                shown,
                residual,
            )
        )
        if "above" in residual:
            holds = False
        self.data.append({"name": name, "against": against, "ratio": ratio, "asked": asked, "reached": holds})

    def usable(self, *names):
        """Whether all of the rows are there; a row that failed is said so."""
        for name in names:
            error = self.rows.get(name, {}).get("error")
            if error and not any(line[0] == f"`{name}`" for line in self.lines):
                self.lines.append((f"`{name}`", "", "", "", "", f"**failed**: {error}", ""))
        return all(name in self.rows and "error" not in self.rows[name] for name in names)

    def faster(self, name, peer, label=None, asked=None, **more):
        """How many times as many evaluations a second as a peer."""
        if self.usable(name, peer):
            ratio = self.rows[name]["evals_per_s"] / self.rows[peer]["evals_per_s"]
            self.add(name, label or f"`{peer}`", ratio, asked, **more)

    def of_peak(self, name, asked=None):
        if self.usable(name, "peak_fma") and "gflops" in self.rows[name]:
            share = self.rows[name]["gflops"] / self.rows["peak_fma"]["gflops"]
            self.add(name, f"`peak_fma`: {number(self.rows[name]['gflops'])} GFlop/s", share, asked)

    def residuals(self, name, peer, floor=0.0):
        own, theirs = self.rows.get(name, {}).get("residual"), self.rows.get(peer, {}).get("residual")
        if own is None:
            return ""
        if theirs is None:
            return f"{own:.1e}"
        return f"{own:.1e} ({theirs:.1e})" + ("" if own <= max(theirs, floor) else ", **above**")

    def markdown(self):
        lines = [self.HEAD, ("---", "---:", "---:", "---", "---:", "---", "---"), *self.lines]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def exponent(rows, pattern, least=0):
    """Slope of log time against the log of the number in the names, by least squares, and the numbers."""
    points = []
    for name, row in rows.items():
        found = re.fullmatch(pattern, name)
        if found and "error" not in row and int(found[1]) >= least:
            each = row["cpu_ns"] if name.startswith("maml") else 1e9 / row["evals_per_s"]
            points.append((math.log(int(found[1])), math.log(each), int(found[1])))
    if len(points) < 2:
        return None, []
    x, y = (statistics.fmean(p[i] for p in points) for i in (0, 1))
    slope = sum((p[0] - x) * (p[1] - y) for p in points) / sum((p[0] - x) ** 2 for p in points)
    return slope, sorted(p[2] for p in points)


def compare(rows, two_cores):
    table = Table(rows)
    if table.usable("peak_fma"):
        peak = rows["peak_fma"]["gflops"]
        table.lines.append(("`peak_fma`", "", "", f"{number(peak)} GFlop/s", "", "", ""))
    for size, share in zip(SIZES, (0.85, 0.70, 0.65, 0.65)):
        name = f"cost/lanes/{size}"
        small = size == "4x2"
        table.of_peak(name, share)
        table.faster(name, f"cost/scipy/{size}", asked=300 if small else None)
        table.faster(name, f"cost/numpy_recursion/{size}", asked=20000 if small else None)
        if small:
            table.faster(name, f"cost/numpy_hoisted/{size}")
        table.faster(name, f"cost/scalar/{size}")
    for size in SIZES:
        table.faster(f"cost/scalar/{size}", f"cost/scipy/{size}", asked=100 if size == "4x2" else None)
    for size in SIZES:
        table.faster(f"cost/dynamic/{size}", f"cost/scipy/{size}")
    for size in SIZES:
        table.of_peak(f"gradient/lanes/{size}")
        table.faster(f"gradient/lanes/{size}", f"gradient/scalar/{size}")
    for size in SIZES:
        table.of_peak(f"hessian/{size}")
    for end in ("", HARD):
        for n in STATES:
            name, peer = f"lyapunov/metalqr/{n}{end}", f"lyapunov/slicot/{n}{end}"
            if end == "":
                asked = 3 if n <= 64 else 1.8 if n == 512 else 1
            else:
                asked = 1.5 if n <= 128 else 1
            residual = table.residuals(name, peer, n * sys.float_info.epsilon)
            table.faster(name, peer, asked=asked, residual=residual)
        for n in (4, 8):
            table.faster(f"lyapunov/fixed/{n}{end}", f"lyapunov/slicot/{n}{end}")
    for n in STATES:
        table.faster(f"lyapunov/metalqr/{n}", f"lyapunov/scipy/{n}")
    for size in PLANTS:
        name, peer = f"dare/metalqr/{size}", f"dare/slicot/{size}"
        asked = {"4x2": 8, "8x3": None}.get(size, 4)
        table.faster(name, peer, asked=asked, residual=table.residuals(name, peer))
    for size in PLANTS[:2]:
        table.faster(f"dare/dynamic/{size}", f"dare/slicot/{size}")
    for size in PLANTS[:2]:
        name = f"dare/lanes/{size}"
        residual = table.residuals(name, f"dare/slicot/{size}")
        table.faster(name, f"dare/metalqr/{size}", asked=5 if size == "4x2" else None, residual=residual)
    for size in PLANTS:
        table.faster(f"dare/metalqr/{size}", f"dare/scipy/{size}")
    if table.usable("maml/fig1", "maml/numpy_iteration"):
        ratio = 200 * rows["maml/numpy_iteration"]["cpu_ns"] / rows["maml/fig1"]["cpu_ns"]
        seconds = rows["maml/numpy_iteration"]["cpu_ns"] * 1e-9
        table.add("maml/fig1", f"200 x `maml/numpy_iteration` ({seconds:.3g} s)", ratio, 15000)
    for symbol, kind, asked in (("M", "tasks", 1.05), ("m", "samples", None)):
        slope, counts = exponent(rows, rf"maml/{kind}/(\d+)")
        if slope is not None:
            last = f"maml/{kind}/{counts[-1]}"
            against = f"exponent of time in {symbol} = {counts[0]} ... {counts[-1]}"
            table.add(last, against, slope, asked and -asked, asked and slope <= asked)
            if kind == "tasks" and "bytes_per_task" in rows[last]:
                size = rows[last]["bytes_per_task"]
                table.add(last, "bytes a task beyond the tasks", size, -1024, size <= 1024)
    for rule in ("buffered", "synchronous", "every_report", "restarts"):
        slope, counts = exponent(rows, rf"events/{rule}/(\d+)")
        if slope is not None:
            last = f"events/{rule}/{counts[-1]}"
            table.add(last, "millions of events a second", rows[last]["evals_per_s"] * 1e-6, 1)
            table.add(last, f"exponent of time in M = {counts[0]} ... {counts[-1]}", slope)
            if rule == "buffered" and "bytes_per_agent" in rows[last]:
                table.add(last, "bytes an agent", rows[last]["bytes_per_agent"])
    table.faster("bootstrap/2000", "bootstrap/numpy/2000", asked=3)
    for name in ("sdp/common_lyapunov", "sdp/fir/8", "sdp/fir/16", "sdp/fir/32"):
        if table.usable(name) and "to_solver" in rows[name]:
            ratio = rows[name]["to_solver"]
            table.add(name, "time in CSDP's own `sdp()`", ratio, -1.3, ratio <= 1.3)
    for name, pattern, least in (
        ("cost/lanes/16x4", r"cost/lanes/(\d+)x\d+", 0),
        ("lyapunov/metalqr/512", r"lyapunov/metalqr/(\d+)", 32),
        ("dare/metalqr/100x20", r"dare/metalqr/(\d+)x\d+", 8),
    ):
        slope, counts = exponent(rows, pattern, least)
        if slope is not None and table.usable(name):
            table.add(name, f"exponent of time in n = {counts[0]} ... {counts[-1]}", slope)
    for name, row in two_cores.items():
        one = name.replace("/threads:2", "")
        if name != one and "error" not in row and "error" not in two_cores.get(one, {"error": ""}):
            rows[name] = row
            ratio = two_cores[one]["real_ns"] / row["real_ns"]
            asked = 1.8 if one.endswith("/10000") else None
            table.add(name, f"`{one}`, one thread, by the clock", ratio, asked)
    return table


# What is timed, its rows, and the peers by which their rates are divided (a name with {} takes the row's own size).
SHORT = (
    (
        "cost of a gain, in lanes (`costs`)",
        ("cost/lanes/4x2",),
        (
            ("SciPy's `solve_discrete_lyapunov`", "cost/scipy/{}"),
            ("a 500-step recursion in numpy", "cost/numpy_recursion/{}"),
        ),
    ),
    ("cost of a gain, one at a time (`cost`)", ("cost/scalar/4x2",), (("SciPy", "cost/scipy/{}"),)),
    (
        "cost and gradient of a gain, in lanes (`gradients`)",
        ("gradient/lanes/4x2",),
        (("one at a time", "gradient/scalar/{}"),),
    ),
    (
        "Lyapunov equation, n = 8, 64, 512, rho = 0.9",
        tuple(f"lyapunov/metalqr/{n}" for n in (8, 64, 512)),
        (("SLICOT SB03MD", "lyapunov/slicot/{}"),),
    ),
    (
        "the same, rho = 0.999",
        tuple(f"lyapunov/metalqr/{n}{HARD}" for n in (8, 64, 512)),
        (("SLICOT", "lyapunov/slicot/{}"),),
    ),
    (
        "Riccati equation, n = 4, 20, 100",
        tuple(f"dare/metalqr/{size}" for size in ("4x2", "20x5", "100x20")),
        (("SLICOT SB02OD", "dare/slicot/{}"),),
    ),
    ("Riccati equations, n = 4, in lanes (`solve_dare`)", ("dare/lanes/4x2",), (("SLICOT", "dare/slicot/{}"),)),
)


def short_table(rows):
    """The main rows in a few lines of Markdown."""
    lines = ["| | time | times as fast as |", "|---|---:|---|"]

    def ratios(names, peer):
        peers = [peer.format(name.split("/", 2)[2]) for name in names]
        return ", ".join(number(rows[a]["evals_per_s"] / rows[b]["evals_per_s"], 2) for a, b in zip(names, peers))

    for what, names, peers in SHORT:
        needed = [*names, *(peer.format(name.split("/", 2)[2]) for _, peer in peers for name in names)]
        if all("evals_per_s" in rows.get(name, {}) for name in needed):
            times = ", ".join(duration(1e9 / rows[name]["evals_per_s"], 2) for name in names)
            lines.append(f"| {what} | {times} | {', '.join(f'{peer} {ratios(names, row)}' for peer, row in peers)} |")
    if all("cpu_ns" in rows.get(name, {}) for name in ("maml/fig1", "maml/numpy_iteration")):
        own, loop = rows["maml/fig1"]["cpu_ns"], 200 * rows["maml/numpy_iteration"]["cpu_ns"]
        what = "the published training run (240 000 costs)"
        lines.append(f"| {what} | {duration(own, 2)} | its numpy loop {number(loop / own, 2)} |")
    fleets = [f"events/buffered/{count}" for count in (1000, 100000)]
    if all("evals_per_s" in rows.get(name, {}) for name in fleets):
        times = ", ".join(duration(1e9 / rows[name]["evals_per_s"], 2) for name in fleets)
        lines.append(f"| event of a simulated fleet of 1000, 100 000 agents, without their work | {times} | |")
    trials = [rows.get(name, {}).get("evals_per_s") for name in ("bootstrap/2000", "bootstrap/numpy/2000")]
    if all(trials):
        own, peer = trials
        what = "trial of the bootstrap, 100 rollouts of 6 steps"
        lines.append(f"| {what} | {duration(1e9 / own, 2)} | vectorised numpy {number(own / peer, 2)} |")
    designs = [rows.get(f"sdp/{name}", {}) for name in ("common_lyapunov", "fir/16", "fir/32")]
    if all("to_solver" in row and "evals_per_s" in row for row in designs):
        times = ", ".join(duration(1e9 / row["evals_per_s"], 2) for row in designs)
        shares = ", ".join(number(1 / row["to_solver"], 2) for row in designs)
        what = "robust design: common Lyapunov; finite responses, length 16, 32"
        lines.append(f"| {what} | {times} | its two calls of CSDP {shares} |")
    return "\n".join(lines) + "\n"


def machine(contexts, core):
    """The line under the table."""
    model = platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf8") as file:
            model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), model)
    except OSError:
        pass
    one, python = contexts["one_core"], contexts["python"]
    load = ", ".join(number(x) for x in one.get("load_avg", [])[:1])
    return (
        f"Medians in one run. {model}, {one.get('num_cpus', '?')} cores, pinned to core {core}, load {load or '?'} at "
        f"the start; {one.get('compiler', '?')}, {one.get('simd', '?').split(',')[0]}; BLAS of the Fortran peers: "
        f"{one.get('blas', '?')}; numpy {python.get('numpy', '?')}, scipy {python.get('scipy', '?')} on "
        f"{python.get('blas', '?')}; every peer with one thread. Times are those of the processor, but those of two "
        f"threads.\n"
    )


PICTURE = r"""# gnuplot benchmarks.gp draws benchmarks.svg
# gnuplot -e "format = 'png'" benchmarks.gp draws benchmarks.png
if (!exists('format')) format = 'svg'
if (format eq 'png') {
  set terminal pngcairo size 1500,480 font 'Sans,12' background 'white'
} else {
  set terminal svg size 1500,480 font 'Sans,14' background 'white'
}
set output 'benchmarks.'.format
set encoding utf8
set datafile separator ','
c_blue = '#0072B2'; c_red = '#D55E00'; c_green = '#009E73'; c_orange = '#E69F00'; c_pink = '#CC79A7'
set border lc rgb '#444444'
set grid lc rgb '#cccccc' lw 1
set key top left Left reverse samplen 2 spacing 1.15
set logscale xy
set format y '10^{%L}'
set ylabel 'time [s]'
of(series) = sprintf("< awk -F, '$1 == \"%s\"' benchmarks.csv", series)
set multiplot layout 1,3
set title 'Lyapunov equation'
set xlabel 'states n'
set xrange [3:700]
set xtics (4, 8, 16, 32, 64, 128, 256, 512)
plot LYAPUNOV
set title 'Riccati equation'
set xrange [3:140]
set xtics (4, 8, 20, 50, 100)
plot RICCATI
set title 'Cost of a gain'
set xrange [3.5:18]
set xtics (4, 8, 12, 16)
set yrange [*:10]
plot COST
unset multiplot
unset output
"""


def draw(folder, rows):
    """Writes the data and the script, and lets gnuplot draw."""
    panels = {
        "LYAPUNOV": [
            ("lyapunov/metalqr", "", "metalqr, ρ = 0.9", "c_blue", 1),
            ("lyapunov/metalqr", HARD, "metalqr, ρ = 0.999", "c_blue", 2),
            ("lyapunov/slicot", "", "SLICOT, ρ = 0.9", "c_red", 1),
            ("lyapunov/slicot", HARD, "SLICOT, ρ = 0.999", "c_red", 2),
            ("lyapunov/scipy", "", "scipy, ρ = 0.9", "c_green", 1),
        ],
        "RICCATI": [
            ("dare/lanes", "", "metalqr, lanes", "c_orange", 1),
            ("dare/metalqr", "", "metalqr", "c_blue", 1),
            ("dare/slicot", "", "SLICOT", "c_red", 1),
            ("dare/scipy", "", "scipy", "c_green", 1),
        ],
        "COST": [
            ("cost/lanes", "", "metalqr, lanes", "c_orange", 1),
            ("cost/scalar", "", "metalqr", "c_blue", 1),
            ("cost/dynamic", "", "metalqr, sizes at run time", "c_blue", 2),
            ("cost/scipy", "", "scipy", "c_green", 1),
            ("cost/numpy_recursion", "", "numpy, 500 steps", "c_pink", 1),
        ],
    }
    data, script = [], PICTURE
    for panel, peers in panels.items():
        plots = []
        for prefix, suffix, title, colour, dash in peers:
            pattern = re.compile(re.escape(prefix) + r"/(\d+)(x\d+)?" + re.escape(suffix))
            found = ((pattern.fullmatch(name), row) for name, row in rows.items())
            points = sorted((int(m[1]), 1 / row["evals_per_s"]) for m, row in found if m and "evals_per_s" in row)
            if not points:
                continue
            data += [f"{prefix}{suffix},{n},{seconds:.6g}" for n, seconds in points]
            plots.append(
                f"of('{prefix}{suffix}') using 2:3 with linespoints lc rgb {colour} dt {dash} lw 2 pt 7 ps 0.5 "
                f"title '{title}'"
            )
        drawing = "plot " + ", \\\n     ".join(plots) if plots else "set multiplot next"
        script = script.replace(f"plot {panel}", drawing)
    with open(os.path.join(folder, "benchmarks.csv"), "w", encoding="utf8") as file:
        file.write("\n".join(data) + "\n")
    with open(os.path.join(folder, "benchmarks.gp"), "w", encoding="utf8") as file:
        file.write(script)
    if not shutil.which("gnuplot"):
        print("There is no gnuplot here, so there is no picture.", file=sys.stderr)
        return
    for kind in ("svg", "png"):
        command = ["gnuplot", "-e", f"format = '{kind}'", "benchmarks.gp"]
        if subprocess.run(command, cwd=folder, stdout=sys.stderr, check=False).returncode != 0:
            print(f"gnuplot failed on {folder}/benchmarks.gp", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", default="any", help="the core that the run was pinned to")
    parser.add_argument("folder", help="with the JSON files")
    options = parser.parse_args()
    contexts, rows = {}, {}
    for name in ("one_core", "python", "bootstrap_python", "tasks"):
        contexts[name], medians = read(os.path.join(options.folder, f"{name}.json"))
        rows.update(medians)
    contexts["two_cores"], two_cores = read(os.path.join(options.folder, "two_cores.json"))
    table = compare(rows, two_cores)
    text = "\n".join((short_table(rows), table.markdown(), machine(contexts, options.core)))
    with open(os.path.join(options.folder, "benchmarks.md"), "w", encoding="utf8") as file:
        file.write(text)
    with open(os.path.join(options.folder, "benchmarks.json"), "w", encoding="utf8") as file:
        json.dump({"contexts": contexts, "rows": rows, "comparisons": table.data}, file, indent=1)
        file.write("\n")
    draw(options.folder, rows)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
