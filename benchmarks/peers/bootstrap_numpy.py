#!/usr/bin/env python3
"""The parametric bootstrap in numpy, on the problem of the row bootstrap/2000 of the benchmark program.

Trials are simulated side by side in arrays of all trials and rollouts, and their normal equations are solved by
one call (Dean, Mania, Matni, Recht, Tu, arXiv 1710.01688, algorithm 2). Prints a row of the shape that Google
Benchmark writes as JSON; the time is the median over repeated calls.

  bootstrap/numpy/2000      2000 trials of 100 rollouts of 6 steps, 3 states, 3 inputs; the estimate is the plant
"""

import os

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import json
import platform
import statistics
import sys
import time

import numpy as np

TRIALS, ROLLOUTS, STEPS, DELTA = 2000, 100, 6, 0.05
PART = 200  # trials side by side; the fastest of 10 ... 2000
A = np.array([[1.01, 0.01, 0], [0.01, 1.01, 0.01], [0, 0.01, 1.01]])
B = np.eye(3)


def experiments(random, A, B, trials):
    """Regressors (trials x transitions x (n + p)) and the states that follow them."""
    n, p = B.shape
    x = np.zeros((trials, ROLLOUTS, n))
    Z = np.empty((trials, STEPS, ROLLOUTS, n + p))
    Y = np.empty((trials, STEPS, ROLLOUTS, n))
    for t in range(STEPS):
        u = random.standard_normal((trials, ROLLOUTS, p))
        Z[:, t, :, :n] = x
        Z[:, t, :, n:] = u
        x = x @ A.T + u @ B.T + random.standard_normal((trials, ROLLOUTS, n))
        Y[:, t] = x
    return Z.reshape(trials, -1, n + p), Y.reshape(trials, -1, n)


def least_squares(Z, Y):
    """A and B of each trial."""
    Zt = Z.transpose(0, 2, 1)
    theta = np.linalg.solve(Zt @ Z, Zt @ Y).transpose(0, 2, 1)
    n = theta.shape[1]
    return theta[:, :, :n], theta[:, :, n:]


def bootstrap(random, A, B):
    errors = [[], []]
    # In parts that stay in the cache, which is faster than all at once.
    for _ in range(TRIALS // PART):
        found = least_squares(*experiments(random, A, B, PART))
        for list_, estimate, truth in zip(errors, found, (A, B)):
            list_.append(np.linalg.norm(estimate - truth, ord=2, axis=(1, 2)))
    return [np.quantile(np.concatenate(list_), 1 - DELTA) for list_ in errors]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2, help="time to spend, at least five calls")
    options = parser.parse_args()
    random = np.random.default_rng(1)
    epsilon = bootstrap(random, A, B)
    walls, processors = [], []
    begin = time.perf_counter()
    while len(walls) < 5 or time.perf_counter() - begin < options.seconds:
        wall, processor = time.perf_counter(), time.process_time()
        bootstrap(random, A, B)
        processors.append(time.process_time() - processor)
        walls.append(time.perf_counter() - wall)
    name = f"bootstrap/numpy/{TRIALS}"
    wall, processor = statistics.median(walls), statistics.median(processors)
    row = {
        "name": name,
        "run_name": name,
        "run_type": "iteration",
        "iterations": len(walls),
        "real_time": wall * 1e3,
        "cpu_time": processor * 1e3,
        "time_unit": "ms",
        "evals_per_s": TRIALS / processor,
        "epsilon_A": epsilon[0],
        "epsilon_B": epsilon[1],
    }
    print(f"{name:32} {wall * 1e3:14.1f} ms, epsilon {epsilon[0]:.4f} {epsilon[1]:.4f}", file=sys.stderr)
    context = {"python": platform.python_version(), "numpy": np.__version__}
    json.dump({"context": context, "benchmarks": [row]}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
