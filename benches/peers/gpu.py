#!/usr/bin/env python3
"""Runs this crate's benches on a GPU and PyTorch on the same one, in one sitting, and prints a table.

    pip install numpy torch
    python benches/peers/gpu.py                 # NVIDIA: the feature `cuda`
    python benches/peers/gpu.py --device cpu    # the same on a CPU, to try the script

Times are medians of wall time, each with the device waited for. Pictures in memory go to the device and
back: PyTorch is given pinned memory for that. The weights are random: only time is measured.
"""
import argparse
import os

import compare
from compare import SIZES, dark, median_ms, networks, ours

# Names of benches, and of what PyTorch does for them.
ROWS = [
    *((f"planes {size}", "enhance", f"enhance/tensor/{{}}/{size}") for size in SIZES),
    *((f"bytes {size}", "enhance", f"enhance/rgb8/{{}}/{size}") for size in SIZES),
    ("loss 600x400", "loss", "loss/{}/600x400"),
    ("step 600x400", "train_step", "train_step/{}/600x400"),
]


def waiting(work, device):
    """The same work, done when it returns."""
    import torch

    def done():
        result = work()
        if device == "cuda":
            torch.cuda.synchronize()
        return result

    return done


def theirs(row, device, compiled):
    """Milliseconds of PyTorch for a row of the table."""
    import torch

    # Sizes are compiled one by one, as if there were no others.
    torch.compiler.reset()

    def make(model):
        return torch.compile(model, dynamic=False) if compiled else model

    with torch.device(device):
        enhance, cascade, _, loss = networks()
    kind, size = row.split()
    runs = 30

    if kind in ("planes", "bytes"):
        model = make(enhance().to(device).eval())
        pixels = torch.from_numpy(dark(size))
        if device == "cuda":
            pixels = pixels.pin_memory()

        def planes():
            image = pixels.to(device, non_blocking=True)
            return image.permute(2, 0, 1)[None].float().div_(255)

        image = planes().contiguous()
        with torch.no_grad():
            if kind == "planes":
                return median_ms(waiting(lambda: model(image), device), runs, 5)
            bright = torch.empty(pixels.shape, dtype=torch.uint8, pin_memory=device == "cuda")

            def bytes_to_bytes():
                levels = (model(planes())[0].permute(1, 2, 0) * 255).to(torch.uint8)
                bright.copy_(levels, non_blocking=True)

            return median_ms(waiting(bytes_to_bytes, device), runs, 5)

    image = torch.rand(1, 3, 400, 600, device=device) * 0.3
    if kind == "loss":
        function = make(loss)
        pair = [torch.rand_like(image).requires_grad_() for _ in range(2)]
        return median_ms(waiting(lambda: function(*pair).backward(), device), runs, 5)
    model = cascade().to(device)
    forward = make(model)
    adam = torch.optim.Adam(model.parameters(), lr=3e-4, weight_decay=3e-4)

    def step():
        adam.zero_grad()
        forward(image).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5)
        adam.step()

    return median_ms(waiting(step, device), runs, 5)


def main():
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--only", default="", help="rows whose names begin so, such as planes")
    options = parser.parse_args()
    device, threads = options.device, os.cpu_count()
    if device == "cuda":
        compare.FEATURES = dict.fromkeys(compare.FEATURES, "train,cuda,autotune")
    card = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{card}, PyTorch {torch.__version__}\n")
    print("| | this crate | PyTorch eager | torch.compile | times faster |")
    print("|---|---|---|---|---|")
    for row, bench, ident in ROWS:
        if not row.startswith(options.only):
            continue
        ident = ident.format(device)
        if device == "cpu":
            # Bytes on a CPU are the bench without a device's name.
            ident = ident.replace("rgb8/cpu/", "rgb8/")
        own = ours(bench, ident, threads)
        eager, compiled = (theirs(row, device, compiled) for compiled in (False, True))
        cells = " | ".join(f"{ms:.3f} ms" for ms in (own, eager, compiled))
        print(f"| {row} | {cells} | {compiled / own:.1f} |", flush=True)


if __name__ == "__main__":
    main()
