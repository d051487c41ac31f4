#!/usr/bin/env python3
"""Makes the sample photographs: a clean one and a dark one of each.

    pip install scikit-image pillow
    python make.py

A dark one is what a camera would have recorded with an eighth or a twelfth of the light: exposure
down in linear light, photon noise, read noise, and eight bits.
"""
import numpy as np
from PIL import Image
from skimage import data

FULL_WELL = 8000  # electrons at level 255
READ_NOISE = 3  # electrons


def linear(srgb):
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def srgb(linear):
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def darken(clean, factor, random):
    electrons = linear(clean / 255) / factor * FULL_WELL
    recorded = random.poisson(electrons) + random.normal(0, READ_NOISE, electrons.shape)
    return np.round(srgb(np.clip(recorded / FULL_WELL, 0, 1)) * 255).astype(np.uint8)


def main():
    random = np.random.default_rng(2022)
    for name, factor in [("astronaut", 12), ("chelsea", 8), ("coffee", 12), ("rocket", 8)]:
        clean = np.asarray(Image.fromarray(getattr(data, name)()).convert("RGB"))
        Image.fromarray(clean).save(f"{name}-clean.png", optimize=True)
        dark = darken(clean, factor, random)
        Image.fromarray(dark).save(f"{name}-dark.png", optimize=True)
        print(name, clean.shape, f"mean level {clean.mean():.0f} -> {dark.mean():.0f}")


if __name__ == "__main__":
    main()
