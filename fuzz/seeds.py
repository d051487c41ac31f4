#!/usr/bin/env python3
"""Makes the seeds of the fuzz targets: small files of every kind that is read.

    pip install numpy pillow tifffile imagecodecs torch safetensors
    python seeds.py
"""
import io
import json
import struct
from pathlib import Path

import numpy as np
import tifffile
import torch
from PIL import Image
from safetensors.torch import save as save_safetensors

SEEDS = Path(__file__).parent / "seeds"
random = np.random.default_rng(0)


def write(target, name, content):
    path = SEEDS / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def photos():
    y, x = np.mgrid[0:7, 0:11]
    rgb = np.stack([x * 9, y * 11, x * y], -1).astype(np.uint8)
    image = Image.fromarray(rgb)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    exif[0x010F] = "camera"
    exif.get_ifd(0x8769)[0x9003] = "2026:01:01 00:00:00"
    profile = b"\0\0\0\x80" + bytes(12) + b"RGB XYZ " + bytes(104)
    meta = dict(exif=exif.tobytes(), icc_profile=profile)

    def encode(name, image, **options):
        buffer = io.BytesIO()
        image.save(buffer, name.split(".")[-1].replace("jpg", "jpeg").replace("tif", "tiff"), **options)
        write("photo", name, buffer.getvalue())

    for mode in ["1", "L", "LA", "P", "RGB", "RGBA"]:
        encode(f"{mode.lower()}.png", image.convert(mode))
    encode("16.png", Image.fromarray((y * 4000 + x).astype(np.uint16)))
    encode("meta.png", image, **meta)
    encode("transparent.png", image.convert("P"), transparency=b"\0\x80\xff")
    for name, options in {
        "444.jpg": dict(subsampling=0),
        "420.jpg": dict(subsampling=2),
        "progressive.jpg": dict(progressive=True),
        "meta.jpg": meta,
        "restart.jpg": dict(restart_marker_blocks=1),
    }.items():
        encode(name, image, **options)
    encode("gray.jpg", image.convert("L"))
    encode("cmyk.jpg", image.convert("CMYK"))
    for name, options in {
        "lossy.webp": {},
        "lossless.webp": dict(lossless=True),
        "meta.webp": meta,
        "animation.webp": dict(save_all=True, append_images=[image.rotate(180)]),
    }.items():
        encode(name, image, **options)
    alpha = image.convert("RGBA")
    alpha.putalpha(Image.fromarray((x * 20).astype(np.uint8)))
    encode("alpha.webp", alpha)
    encode("lossless-alpha.webp", alpha, lossless=True)
    encode("jpeg.tif", image, compression="jpeg")
    for mode in ["1", "L", "P", "RGB", "RGBA"]:
        encode(f"{mode.lower()}.bmp", image.convert(mode))
    for name, options in {
        "plain.tif": {},
        "lzw.tif": dict(compression="lzw", predictor=2),
        "deflate.tif": dict(compression="zlib"),
        "packbits.tif": dict(compression="packbits"),
        "tiles.tif": dict(tile=(16, 16)),
        "planes.tif": dict(planarconfig="separate"),
        "big-endian.tif": dict(byteorder=">"),
        "strips.tif": dict(rowsperstrip=2),
        "meta.tif": dict(extratags=[(34675, 7, len(profile), profile, True), (274, 3, 1, 6, True)]),
    }.items():
        data = rgb.transpose(2, 0, 1) if name == "planes.tif" else rgb
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, data, photometric="rgb", **options)
        write("photo", name, buffer.getvalue())
    for name, data in {
        "16.tif": (rgb.astype(np.uint16) * 200),
        "float.tif": (rgb / np.float32(255)).astype(np.float32),
    }.items():
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, data, photometric="rgb")
        write("photo", name, buffer.getvalue())


def weights():
    def conv(outputs, inputs):
        return torch.tensor(random.normal(0, 0.1, (outputs, inputs, 3, 3)), dtype=torch.float32)

    state = {}
    for name, outputs, inputs in [("in_conv.0", 3, 3), ("conv.0", 3, 3), ("out_conv.0", 3, 3)]:
        state[f"enhance.{name}.weight"] = conv(outputs, inputs)
        state[f"enhance.{name}.bias"] = torch.zeros(outputs)
    for name, value in [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.1), ("running_var", 0.9)]:
        state[f"enhance.conv.1.{name}"] = torch.full((3,), value)
    state["enhance.conv.1.num_batches_tracked"] = torch.tensor(7)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write("weights", "estimator.pt", buffer.getvalue())
    write("weights", "estimator.safetensors", save_safetensors(state))
    half = {name: value.half() if torch.is_floating_point(value) else value
            for name, value in state.items()}
    # Not in the order of memory, and something that is no tensor.
    half["enhance.in_conv.0.weight"] = conv(3, 3).permute(1, 0, 3, 2)
    half["epoch"] = 3
    buffer = io.BytesIO()
    torch.save(half, buffer)
    write("weights", "half.pt", buffer.getvalue())


def videos():
    def stream(header, planes, frames=2):
        sizes = sum(planes)
        body = b"".join(b"FRAME\n" + random.integers(0, 255, sizes, np.uint8).tobytes()
                        for _ in range(frames))
        return b"YUV4MPEG2 " + header + b"\n" + body

    write("video", "420", stream(b"W6 H4 F25:1 Ip A1:1 C420jpeg", [24, 6, 6]))
    write("video", "odd", stream(b"W5 H3 F30000:1001", [15, 6, 6]))
    write("video", "444", stream(b"W4 H2 F0:0 C444 XCOLORRANGE=FULL", [8, 8, 8]))
    write("video", "parameters", b"YUV4MPEG2 W2 H2\nFRAME Ip\n" + bytes(6))
    write("video", "empty", b"YUV4MPEG2 W2 H2 C444\n")


def texts():
    for number, text in enumerate(["full", "auto", "auto:0.5", "0.7", "1:2.2", "auto:1e-3", "0.5:3"]):
        write("exposure", str(number), text.encode())
    for number, lines in enumerate([
        ["", "out", "a.png"],
        ["b", "out", "b/c/a.jpg", "b/a.png", "l/a.png"],
        ["", "new", "b"],
        ["b", "b", "b", "b/../a.png", "./a.png"],
        ["b/loop", "out", "b/loop/b", "dead.png", "none.png"],
        ["", "b/l.png", "a.png"],
        ["", "x.jpg", "a.png"],
    ]):
        write("paths", str(number), "\n".join(lines).encode())


def configurations():
    cases = {
        "least": {"data": "photos"},
        "plus-plus": {"model": {"method": "sci++", "stages": 3}, "data": "p", "alternation": {}},
        "full": {
            "data": "photos", "validation": "more", "epochs": 3, "batch_size": 8, "seed": 1,
            "stop_at_luminance": 0.4,
            "model": {"method": "sci", "stages": 3, "estimator": {"blocks": 1, "channels": 3},
                      "calibrator": {"blocks": 3, "channels": 16}},
            "loss": {"fidelity_weight": 1.5, "smoothness": {"sigma": 10.0, "ycbcr": "per-pixel"}},
            "optimizer": {"max_gradient_norm": 5.0},
            "sampling": {"crop": [160, 120], "flip": True, "darken": {"stops": [2.0, 4.0]}},
        },
    }
    for name, case in cases.items():
        write("configuration", f"{name}.json", json.dumps(case).encode())


def kernels():
    for kind in range(8):
        write("kernels", str(kind), bytes([kind]) + random.integers(0, 256, 300, np.uint8).tobytes())
    numbers = struct.pack("<64h", *range(-32000, 32000, 1000))
    write("kernels", "steps", b"\0" + numbers * 2)
    # The loss of nearly equal colors, whose differences are rounding in part.
    flat = (
        "033b36353736333335333235343338333533313633509b94"
        "4b68a173e53bfee0acdd5618ffac22531a997f5eeb8ecc42"
    )
    write("kernels", "flat", bytes.fromhex(flat))


photos()
weights()
videos()
texts()
configurations()
kernels()
# The preset `plus-plus` is a seed too (`weights/plus-plus.safetensors`, `configuration/preset.json`), and
# `weights/estimator.bpk` is what `finetune --steps 1 -o estimator.bpk` made.
