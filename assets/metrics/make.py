#!/usr/bin/env python3
"""Makes niqe.bin: the pristine model of NIQE as little-endian float64.

    pip install numpy scipy
    python make.py modelparameters.mat

The argument is a file of the authors' release, niqe_release.zip. The output has the 36 means and the lower
triangle of the covariance, row by row.
"""
import sys
from pathlib import Path

import numpy as np
from scipy.io import loadmat


def main():
    model = loadmat(sys.argv[1])
    mean, covariance = model["mu_prisparam"].ravel(), model["cov_prisparam"]
    assert mean.shape == (36,) and np.array_equal(covariance, covariance.T)
    numbers = np.concatenate([mean, covariance[np.tril_indices(36)]])
    Path(__file__).with_name("niqe.bin").write_bytes(numbers.astype("<f8").tobytes())


if __name__ == "__main__":
    main()
