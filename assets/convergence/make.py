#!/usr/bin/env python3
"""Draws convergence.png: loss and luminance of both methods over the steps of a training.

    pip install matplotlib
    common="--data photos --crop 240x160 --epochs 500 --seed 0"
    cargo run --release --features train --example train -- $common --out sci --method sci
    cargo run --release --features train --example train -- $common --out plus-plus --method sci++
    python make.py sci/metrics.csv plus-plus/metrics.csv --photos 7
"""
import argparse
import csv
import math
import statistics

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot


def columns(path, photos):
    """The numbers of a run's table, with the steps that were made by then."""
    with open(path) as file:
        rows = list(csv.DictReader(file))
    table = {name: [float(row[name] or "nan") for row in rows] for name in rows[0]}
    table["step"] = [photos * epoch for epoch in table["epoch"]]
    return table


def smooth(values, window=15):
    """Each value's mean with those before and after it, since every crop has a loss of its own."""
    around = (values[max(0, n - window // 2):n + window // 2 + 1] for n in range(len(values)))
    return [statistics.fmean(part) if part else math.nan
            for part in ([value for value in values if not math.isnan(value)] for values in around)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sci")
    parser.add_argument("plus_plus")
    parser.add_argument("--photos", type=int, required=True, help="photographs in an epoch")
    parser.add_argument("--stages", type=int, default=3, help="stages of SCI, whose loss is their sum")
    parser.add_argument("--out", default="convergence.png")
    options = parser.parse_args()
    sci, plus_plus = (columns(path, options.photos) for path in (options.sci, options.plus_plus))

    figure, (losses, luminance) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for table, values, color, label in (
        (sci, [loss / options.stages for loss in sci["loss"]], "C0", "SCI, mean over the stages"),
        (plus_plus, plus_plus["loss"], "C1", "SCI++, estimator"),
        (plus_plus, plus_plus["calibrator_loss"], "C2", "SCI++, calibrator and increment"),
    ):
        losses.plot(table["step"], values, color, lw=0.6, alpha=0.3)
        losses.plot(table["step"], smooth(values), color, label=label)
    losses.set(xlabel="step", ylabel="loss", yscale="log")
    losses.legend()
    luminance.plot(sci["step"], sci["luminance"], "C0", label="SCI")
    luminance.plot(plus_plus["step"], plus_plus["luminance"], "C1", label="SCI++")
    luminance.set(xlabel="step", ylabel="luminance of the results", ylim=(0, 1))
    luminance.legend()
    for axes in (losses, luminance):
        axes.grid(alpha=0.3)
        axes.set_xlim(0)
    figure.savefig(options.out, dpi=100, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main()
