#!/usr/bin/env python3
"""The peers in Python: numpy and scipy on the problems of the benchmark program's rows.

Prints rows of the shape that Google Benchmark writes as JSON. Times are medians over repeated calls.

  cost/numpy_recursion/NxM  the cost of a gain by 500 steps of P <- Q + K'RK + (A - BK)'P(A - BK) in which
                            every product is formed anew, as in the published notebooks
  cost/numpy_hoisted/NxM    the same with A - BK and Q + K'RK formed once
  cost/scipy/NxM            the cost of a gain by scipy.linalg.solve_discrete_lyapunov
  lyapunov/scipy/N          solve_discrete_lyapunov
  dare/scipy/NxM            solve_discrete_are
  maml/numpy_iteration      one iteration of model-free meta-training by the recursion: 10 tasks, 20 samples
"""

import os

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import json
import platform
import re
import statistics
import sys
import time

import numpy as np
import scipy
import scipy.linalg

STEPS = 500
BOEING_A = np.array([[1.22, 0.03, -0.02, -0.32], [0.01, 4.70, 0, 0], [0.02, -0.06, 0.40, 0], [0.01, -0.04, 0.72, 1.55]])
BOEING_B = np.array([[0.01, 0.99], [-3.44, 1.66], [-0.83, 0.44], [-0.47, 0.25]])
BOEING_K0 = np.array(
    [[0.61343269, -1.53543838, 0.30279836, 0.39631415], [0.88802018, 0.60382034, -0.14729954, -0.58220629]]
)


def cost_by_recursion(A, B, Q, R, K, x0):
    P = Q.copy()
    for _ in range(STEPS):
        P = Q + K.T @ R @ K + (A - B @ K).T @ P @ (A - B @ K)
    return x0 @ P @ x0


def cost_by_hoisted_recursion(A, B, Q, R, K, x0):
    F = A - B @ K
    stage = Q + K.T @ R @ K
    P = Q.copy()
    for _ in range(STEPS):
        P = stage + F.T @ P @ F
    return x0 @ P @ x0


def cost_by_scipy(A, B, Q, R, K, Sigma0):
    F = A - B @ K
    P = scipy.linalg.solve_discrete_lyapunov(F.T, Q + K.T @ R @ K)
    return np.trace(P @ Sigma0)


def radius(F):
    return np.abs(np.linalg.eigvals(F)).max()


def positive_definite(n, random):
    G = random.standard_normal((n, n))
    return np.eye(n) + G @ G.T / n


def random_plant(n, m, random):
    A = random.standard_normal((n, n))
    return A * (1.1 / radius(A)), random.standard_normal((n, m)), positive_definite(n, random), positive_definite(m, random)


def plant_and_gains(n, m, random, count=64):
    """A plant and gains that leave it near a spectral radius of 0.95."""
    if (n, m) == (4, 2):
        A, B, Q, R, K0 = BOEING_A, BOEING_B, np.eye(4), np.eye(2), BOEING_K0
    else:
        A, B, Q, R = random_plant(n, m, random)
        P = scipy.linalg.solve_discrete_are(A, B, Q, R)
        K0 = np.linalg.solve(R + B.T @ P @ B, B.T @ P @ A)
        scale = 0.95 / radius(A - B @ K0)
        A, B = scale * A, scale * B
    return A, B, Q, R, [K0 + 1e-3 * random.standard_normal(K0.shape) for _ in range(count)]


def on_sphere(random, shape, r):
    U = random.standard_normal(shape)
    return r * U / np.linalg.norm(U, axis=(1, 2), keepdims=True)


class Fleet:
    """Ten plants around the modified Boeing plant and the published zeroth-order steps on them."""

    def __init__(self, random, count=10, level=0.01):
        self.random = random
        self.tasks = [(BOEING_A, BOEING_B, np.eye(4), np.eye(2))]
        while len(self.tasks) < count:
            near = [self.near(X, level, symmetric) for X, symmetric in zip(self.tasks[0], (False, False, True, True))]
            self.tasks.append(tuple(near))

    def near(self, X, level, symmetric):
        D = self.random.standard_normal(X.shape)
        if symmetric:
            D = (D + D.T) / 2
        return X + 0.6 * level * D / np.linalg.norm(D, ord=2)

    def pair(self, task, first, second):
        x0 = self.random.normal(0.5, 1e-3, size=len(BOEING_A))
        return cost_by_recursion(*task, first, x0), cost_by_recursion(*task, second, x0)

    def gradient(self, task, K, directions, r):
        total = np.zeros_like(K)
        for U in directions:
            plus, minus = self.pair(task, K + U, K - U)
            total += (plus - minus) * U
        return K.size / (2 * len(directions) * r**2) * total

    def hessian(self, task, K, directions, r):
        m = len(K)
        total = np.zeros((m, m))
        for U in directions:
            plus, base = self.pair(task, K + U, K)
            total += (plus - base) * (U @ U.T - np.eye(m))
        return m**2 / (len(directions) * r**2) * total

    def iteration(self, K, step=0.8e-5, r=0.01, samples=20):
        directions = on_sphere(self.random, (samples, *K.shape), r)
        total = np.zeros_like(K)
        for task in self.tasks:
            inner = K - step * self.gradient(task, K, directions, r)
            outer = self.gradient(task, inner, directions, r)
            total += (np.eye(len(K)) - step * self.hessian(task, K, directions, r)) @ outer
        return K - step / len(self.tasks) * total


def timed(call, least_seconds, most_calls):
    """Medians of the times on the clock and of the processor that the calls call(0), call(1), ... take."""
    if most_calls > 1:
        call(0)
    walls, processors = [], []
    begin = time.perf_counter()
    while len(walls) < most_calls and (len(walls) < 3 or time.perf_counter() - begin < least_seconds):
        wall, processor = time.perf_counter(), time.process_time()
        call(len(walls))
        processors.append(time.process_time() - processor)
        walls.append(time.perf_counter() - wall)
    return statistics.median(walls), statistics.median(processors), len(walls)


def rows(least_seconds):
    """Names with the call to be timed, the most calls, and the problems in one call."""
    for n, m in ((4, 2), (8, 3), (12, 4), (16, 4)):
        random = np.random.default_rng(1000 * n + m)
        A, B, Q, R, gains = plant_and_gains(n, m, random)
        x0 = np.full(n, 0.5)
        end = f"{n}x{m}"

        def take(solve, start, A=A, B=B, Q=Q, R=R, gains=gains):
            return lambda i: solve(A, B, Q, R, gains[i % len(gains)], start)

        def take_all(solve, start, A=A, B=B, Q=Q, R=R, gains=gains):
            return lambda i: [solve(A, B, Q, R, K, start) for K in gains]

        yield f"cost/numpy_recursion/{end}", take(cost_by_recursion, x0), 1000, 1
        yield f"cost/numpy_hoisted/{end}", take(cost_by_hoisted_recursion, x0), 1000, 1
        yield f"cost/scipy/{end}", take_all(cost_by_scipy, np.eye(n) / n), 1000, len(gains)
    for n in (4, 8, 16, 32, 64, 128, 256, 512):
        random = np.random.default_rng(n)
        problems = []
        for _ in range(3 if n > 128 else 20):
            F = random.standard_normal((n, n))
            problems.append((F * (0.9 / radius(F)), positive_definite(n, random)))

        def lyapunov(i, problems=problems):
            F, Q = problems[i % len(problems)]
            return scipy.linalg.solve_discrete_lyapunov(F.T, Q)

        yield f"lyapunov/scipy/{n}", lyapunov, 1000 if n <= 128 else 3, 1
    for n, m in ((4, 2), (8, 3), (20, 5), (50, 10), (100, 20)):
        random = np.random.default_rng(1000 * n + m)
        if (n, m) == (4, 2):
            plants = [(BOEING_A, BOEING_B, np.eye(4), np.eye(2))]
        else:
            plants = [random_plant(n, m, random) for _ in range(8)]
        yield f"dare/scipy/{n}x{m}", lambda i, p=plants: scipy.linalg.solve_discrete_are(*p[i % len(p)]), 1000, 1
    fleet = Fleet(np.random.default_rng(7))
    yield "maml/numpy_iteration", lambda i: fleet.iteration(BOEING_K0), 3, 1


def loaded_blas():
    """The file of the BLAS that this process uses."""
    try:
        with open("/proc/self/maps", encoding="utf8") as maps:
            files = sorted({line.split()[-1] for line in maps if re.search(r"/lib[^/]*(blas|mkl_rt)[^/]*\.so", line)})
    except OSError:
        files = []
    return ", ".join(files) or "unknown"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filter", default="", help="regular expression that the names must contain")
    parser.add_argument("--seconds", type=float, default=0.5, help="time to spend on a row, at least three calls")
    options = parser.parse_args()
    scale = {"ns": 1e9, "ms": 1e3}
    found = []
    for name, call, most, problems in rows(options.seconds):
        if not re.search(options.filter, name):
            continue
        wall, processor, calls = timed(call, options.seconds, most)
        unit = "ms" if name.startswith("maml") else "ns"
        found.append(
            {
                "name": name,
                "run_name": name,
                "run_type": "iteration",
                "iterations": calls,
                "real_time": wall / problems * scale[unit],
                "cpu_time": processor / problems * scale[unit],
                "time_unit": unit,
                "evals_per_s": problems / processor,
            }
        )
        print(f"{name:32} {wall / problems * 1e6:14.1f} us", file=sys.stderr)
    context = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "blas": loaded_blas(),
    }
    json.dump({"context": context, "benchmarks": found}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
