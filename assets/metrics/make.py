#!/usr/bin/env python3
"""Makes niqe.bin: the pristine model of NIQE as little-endian float64.

    pip install numpy
    pip download --no-deps basicsr==1.4.2   # and unpack it
    python make.py basicsr-1.4.2/basicsr/metrics/niqe_pris_params.npz

The argument holds the numbers of the authors' release in the package BasicSR. The output has the 36 means and
the lower triangle of the covariance, row by row.
"""
import sys
from pathlib import Path

import numpy as np


def main():
    model = np.load(sys.argv[1])
    mean, covariance = model["mu_pris_param"].ravel(), model["cov_pris_param"]
    assert mean.shape == (36,) and np.array_equal(covariance, covariance.T)
    numbers = np.concatenate([mean, covariance[np.tril_indices(36)]])
    Path(__file__).with_name("niqe.bin").write_bytes(numbers.astype("<f8").tobytes())


if __name__ == "__main__":
    main()
