#!/usr/bin/env python3
"""Runs this crate's benches and the other ways to run and train SCI, in one sitting, and writes the
tables in PERFORMANCE.md.

    pip install numpy torch onnx onnxruntime openvino
    python benches/peers/compare.py

Times are medians in milliseconds, all with the same number of threads. The weights are random: only
time and memory are measured. Takes some ten minutes, most of it the training steps.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIZES = {"600x400": (600, 400), "1920x1080": (1920, 1080), "3840x2160": (3840, 2160)}


def median_ms(work, runs, warmup=2):
    seconds = []
    for run in range(warmup + runs):
        start = time.perf_counter()
        work()
        if run >= warmup:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds) * 1e3


# ---------------------------------------------------------------- the other ways


def networks():
    """SCI in PyTorch, as its formulas read."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Estimator(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
            self.norm = nn.BatchNorm2d(3)

        def forward(self, image):
            features = F.relu(self.convs[0](image))
            features = features + F.relu(self.norm(self.convs[1](features)))
            return (torch.sigmoid(self.convs[2](features)) + image).clamp(1e-4, 1)

    class Calibrator(nn.Module):
        def __init__(self):
            super().__init__()
            channels = [(3, 16), (16, 16), (16, 16), (16, 3)]
            self.convs = nn.ModuleList(nn.Conv2d(*pair, 3, padding=1) for pair in channels)
            self.norms = nn.ModuleList(nn.BatchNorm2d(16) for _ in range(3))

        def forward(self, reflectance):
            features = F.relu(self.norms[0](self.convs[0](reflectance)))
            for _ in range(3):
                block = F.relu(self.norms[1](self.convs[1](features)))
                features = features + F.relu(self.norms[2](self.convs[2](block)))
            return reflectance - torch.sigmoid(self.convs[3](features))

    class Enhance(nn.Module):
        def __init__(self):
            super().__init__()
            self.estimator = Estimator()

        def forward(self, image):
            return (image / self.estimator(image)).clamp(0, 1)

    matrix = torch.tensor([[0.257, -0.148, 0.439], [0.564, -0.291, -0.368], [0.098, 0.439, -0.071]])
    offset = torch.tensor([16.0, 128.0, 128.0]) / 255

    def loss(image, light):
        """As published: every pair of pixels once from each end."""
        color = (image.contiguous().view(-1, 3) @ matrix + offset).view(image.shape)
        height, width = image.shape[2:]
        total = 1.5 * F.mse_loss(light, image)
        for down in range(-2, 3):
            for right in range(-2, 3):
                if (down, right) == (0, 0):
                    continue
                here = (..., slice(max(-down, 0), height - max(down, 0)),
                        slice(max(-right, 0), width - max(right, 0)))
                there = (..., slice(max(down, 0), height - max(-down, 0)),
                         slice(max(right, 0), width - max(-right, 0)))
                apart = (color[here] - color[there]).pow(2).sum(1, keepdim=True)
                change = torch.norm(light[here] - light[there], 1.0, dim=1, keepdim=True)
                total = total + (torch.exp(-apart / 200) * change).mean()
        return total

    class Cascade(nn.Module):
        def __init__(self):
            super().__init__()
            self.estimator, self.calibrator = Estimator(), Calibrator()

        def forward(self, image):
            stage, total = image, 0
            for _ in range(3):
                light = self.estimator(stage)
                total = total + loss(stage, light)
                stage = image + self.calibrator((image / light).clamp(0, 1))
            return total

    return Enhance, Cascade, loss


def peer_enhance(name, threads):
    """Milliseconds for each way to enhance a picture of a size."""
    import numpy
    import torch

    torch.set_num_threads(threads)
    width, height = SIZES[name]
    model = networks()[0]().eval()
    pixels = numpy.random.default_rng(0).integers(0, 100, (height, width, 3), dtype=numpy.uint8)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float().div(255).contiguous()
    runs = 30 if width < 1000 else 12
    times = {}
    with torch.no_grad():
        times["eager"] = median_ms(lambda: model(image), runs)
        last = image.to(memory_format=torch.channels_last)
        times["channels-last"] = median_ms(lambda: model(last), runs)

        def bytes_to_bytes():
            floats = torch.from_numpy(pixels).permute(2, 0, 1)[None].float().div_(255)
            return (model(floats)[0].permute(1, 2, 0) * 255).to(torch.uint8).numpy()

        times["bytes"] = median_ms(bytes_to_bytes, runs)

    path = os.path.join(tempfile.mkdtemp(), "sci.onnx")
    torch.onnx.export(model, (image,), path, input_names=["image"], dynamo=False)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options)
    floats = image.numpy()
    times["onnxruntime"] = median_ms(lambda: session.run(None, {"image": floats}), runs)

    import openvino
    from openvino.preprocess import PrePostProcessor

    core = openvino.Core()
    steps = PrePostProcessor(core.read_model(path))
    steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    steps.input().preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(steps.build(), "CPU", settings).create_infer_request()
    times["openvino"] = median_ms(lambda: request.infer({0: pixels[None]}), runs)
    return times


def peer_train(kind, threads):
    """Milliseconds and peak megabytes of a training step, or milliseconds of a loss."""
    import torch

    torch.set_num_threads(threads)
    _, cascade, loss = networks()
    if kind == "loss":
        pair = [torch.rand(1, 3, 400, 600, requires_grad=True) for _ in range(2)]
        return {"ms": median_ms(lambda: loss(*pair).backward(), 8)}
    model = cascade()
    forward = torch.compile(model) if kind == "compile" else model
    adam = torch.optim.Adam(model.parameters(), lr=3e-4, weight_decay=3e-4)
    image = torch.rand(1, 3, 400, 600) * 0.3

    def step():
        adam.zero_grad()
        forward(image).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5)
        adam.step()

    milliseconds = median_ms(step, 6)
    return {"ms": milliseconds, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def peer(function, argument, threads):
    """In a process of its own, so that no peer has another's threads or memory."""
    command = [sys.executable, __file__, "--threads", str(threads), "--peer", function, argument]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{function} {argument} failed:\n{result.stderr}")
    return json.loads(result.stdout.splitlines()[-1])


# ---------------------------------------------------------------- this crate


def binary(bench):
    command = ["cargo", "bench", "--features", "train", "--bench", bench, "--no-run", "--message-format=json"]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for line in lines.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == bench:
            return message["executable"]
    sys.exit(f"cargo built no bench {bench}")


def ours(bench, ident, threads, **environment):
    """The median of one bench in milliseconds."""
    command = [binary(bench), "--bench", f"^{re.escape(ident)}$"]
    # A folder of its own, so that no earlier result is taken for this one.
    with tempfile.TemporaryDirectory() as folder:
        environment = bench_environment(threads, CRITERION_HOME=folder, **environment)
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env=environment)
        for estimates in pathlib.Path(folder).glob("**/new/estimates.json"):
            return json.loads(estimates.read_text())["median"]["point_estimate"] / 1e6
    sys.exit(f"no bench is called {ident}")


def bench_environment(threads, **more):
    environment = {name: value for name, value in os.environ.items() if name != "SCI_SIMD"}
    return {**environment, "RAYON_NUM_THREADS": str(threads), **more}


def our_memory(bench, ident, threads):
    """Peak megabytes of a bench."""
    command = [binary(bench), "--bench", "--profile-time", "3", f"^{re.escape(ident)}$"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=bench_environment(threads))
    _, _, usage = os.wait4(process.pid, 0)
    return usage.ru_maxrss / 1024


# ---------------------------------------------------------------- the tables


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    threads = options.threads
    if options.peer:
        function, argument = options.peer
        work = peer_enhance if function == "enhance" else peer_train
        print(json.dumps(work(argument, threads)))
        return

    # Each of ours right before the peers that it is compared with.
    rgb8, single, enhance = {}, {}, {}
    for size in SIZES:
        print(f"enhancing {size}", flush=True)
        rgb8[size] = ours("enhance", f"enhance/rgb8/{size}", threads)
        single[size] = ours("enhance", f"enhance/rgb8/{size}/threads-1", threads)
        enhance[size] = peer("enhance", size, threads)
    tensor = ours("enhance", "enhance/tensor/cpu/600x400", threads)
    avx2 = ours("enhance", "enhance/rgb8/1920x1080", threads, SCI_SIMD="avx2")
    huge = ours("enhance", "enhance/rgb8/11600x8640", threads)
    pixels = 11600 * 8640
    beyond = our_memory("enhance", "enhance/rgb8/11600x8640", threads) - 2 * pixels * 3 / 2**20
    print("training", flush=True)
    step = ours("train_step", "train_step/cpu/600x400", threads)
    step_single = ours("train_step", "train_step/cpu/600x400/threads-1", threads)
    eager = peer("train", "eager", threads)
    compiled = peer("train", "compile", threads)
    step_memory = our_memory("train_step", "train_step/cpu/600x400", threads)
    loss = ours("loss", "loss/cpu/600x400", threads)
    peer_loss = peer("train", "loss", threads)["ms"]
    conv = [ours("conv3x3", f"conv3x3/cpu/{part}", threads) for part in ("forward", "forward_backward")]

    def faster(theirs, own):
        return f"{theirs / own:.1f} times faster"

    per_pixel = [rgb8[size] / (w * h) for size, (w, h) in SIZES.items()] + [huge / pixels]
    full_hd, uhd = enhance["1920x1080"], enhance["3840x2160"]
    rows = [
        ("1920×1080 RGB8→RGB8 against OpenVINO (RGB8 in)", rgb8["1920x1080"], full_hd["openvino"],
         "6 times faster"),
        ("3840×2160 RGB8→RGB8 against OpenVINO (RGB8 in)", rgb8["3840x2160"], uhd["openvino"],
         "7 times faster"),
        ("600×400 tensors against PyTorch channels-last", tensor,
         enhance["600x400"]["channels-last"], "2 times faster"),
        ("the AVX2 path against OpenVINO, 1920×1080", avx2, full_hd["openvino"], "3 times faster"),
        ("training step 600×400 against PyTorch eager", step, eager["ms"], "4 times faster"),
        ("training step 600×400 against torch.compile", step, compiled["ms"], "1.7 times faster"),
        ("loss of a stage, forward and backward, against PyTorch", loss, peer_loss,
         "15 times faster"),
    ]
    lines = ["| | ours | theirs | measured | wanted |", "|---|---|---|---|---|"]
    for what, own, theirs, wanted in rows:
        lines.append(f"| {what} | {own:.2f} ms | {theirs:.1f} ms | {faster(theirs, own)} | {wanted} |")
    spread = max(per_pixel) / min(per_pixel)
    scaling = single["1920x1080"] / rgb8["1920x1080"]
    lines += [
        f"| time per pixel, 0.24 to 100 megapixels | {min(per_pixel) * 1e6:.2f} – "
        f"{max(per_pixel) * 1e6:.2f} ns | | within {spread:.2f} times of the best | 1.5 times |",
        f"| one thread against {threads}, 1920×1080 | {single['1920x1080']:.2f} ms | | "
        f"{scaling:.2f} times | 1.8 times |",
        f"| memory beyond input and output, 100 megapixels | {beyond:.0f} MB | | | under 50 MB |",
        f"| training step's peak memory against PyTorch eager | {step_memory:.0f} MB | "
        f"{eager['mb']:.0f} MB | {step_memory / eager['mb']:.2f} of it | a third |",
        "",
        "| enhancing | 600×400 | 1920×1080 | 3840×2160 |",
        "|---|---|---|---|",
        "| **this crate, RGB8 to RGB8** | " + " | ".join(f"{rgb8[s]:.2f} ms" for s in SIZES) + " |",
        "| this crate, one thread | " + " | ".join(f"{single[s]:.2f} ms" for s in SIZES) + " |",
    ]
    for key, label in [("openvino", "OpenVINO, RGB8 in, floats out"),
                       ("onnxruntime", "ONNX Runtime, floats"),
                       ("channels-last", "PyTorch channels-last, floats"),
                       ("eager", "PyTorch eager, floats"),
                       ("bytes", "PyTorch eager, RGB8 to RGB8")]:
        lines.append(f"| {label} | " + " | ".join(f"{enhance[s][key]:.1f} ms" for s in SIZES) + " |")
    lines += [
        "",
        "| training, 600×400, batch 1 | time | peak memory |",
        "|---|---|---|",
        f"| **this crate, a step of three stages** | {step:.0f} ms | {step_memory:.0f} MB |",
        f"| this crate, the same on one thread | {step_single:.0f} ms | |",
        f"| PyTorch eager | {eager['ms']:.0f} ms | {eager['mb']:.0f} MB |",
        f"| torch.compile | {compiled['ms']:.0f} ms | {compiled['mb']:.0f} MB |",
        f"| **this crate, one stage's loss, forward and backward** | {loss:.1f} ms | |",
        f"| PyTorch eager | {peer_loss:.0f} ms | |",
        f"| this crate, 3×3 convolution 16 → 16, forward | {conv[0]:.1f} ms | |",
        f"| this crate, the same, forward and backward | {conv[1]:.1f} ms | |",
    ]
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo")
                  if line.startswith("model name")), platform.processor())
    import torch

    head = (f"{model}, {threads} threads, PyTorch {torch.__version__.split('+')[0]}, "
            f"{datetime.date.today().isoformat()}.")
    path = ROOT / "PERFORMANCE.md"
    text = path.read_text()
    begin, end = "<!-- compare.py: begin -->", "<!-- compare.py: end -->"
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    path.write_text(f"{before}{begin}\n{head}\n\n" + "\n".join(lines) + f"\n{end}{after}")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
