#!/usr/bin/env python3
"""Runs this crate's benches and the peers, in one sitting, and writes the tables in PERFORMANCE.md.

    pip install numpy torch onnx onnxruntime openvino opencv-contrib-python-headless
    python benches/peers/compare.py                   # everything
    python benches/peers/compare.py --only enhance    # or train: that part's tables, the others stay

The peers are the other ways to run and train SCI, Zero-DCE, and OpenCV's filters against noise. Times
are medians in milliseconds, all with the same number of threads; what takes tens of seconds runs once.
The weights are random: only time and memory are measured. Takes some ten minutes for each part, and 9
GB of memory for Zero-DCE at 3840x2160.
"""
import argparse
import datetime
import importlib.metadata
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
# Runs and warm-ups of what takes seconds.
FEW = {"600x400": (5, 1), "1920x1080": (3, 1), "3840x2160": (1, 0)}


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

    class Residual(nn.Module):
        """The networks of SCI++, with so many convolutions in each block."""

        def __init__(self, blocks, channels, convs):
            super().__init__()
            self.first, self.last = (nn.Conv2d(*pair, 3, padding=1)
                                     for pair in ((3, channels), (channels, 3)))
            self.blocks = nn.ModuleList(
                nn.Sequential(*[layer for _ in range(convs) for layer in
                                (nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU())])
                for _ in range(blocks))

        def forward(self, image):
            features = F.relu(self.first(image))
            for block in self.blocks:
                features = features + block(features)
            return self.last(features)

    class PlusPlus(nn.Module):
        """SCI++: the loss of the estimator's steps or of the calibrator's."""

        def __init__(self, trains):
            super().__init__()
            self.estimator = Residual(1, 3, 1)
            self.increment, self.calibrator = Residual(3, 16, 1), Residual(3, 16, 2)
            self.trains = trains
            if trains == "calibrator":
                self.estimator.requires_grad_(False)

        def forward(self, image):
            light = (torch.sigmoid(self.estimator(image)) + image).clamp(1e-4, 1)
            if self.trains == "estimator":
                return loss(image, light)
            first, total = light, 0
            for _ in range(2):
                reflectance = (image / light).clamp(0, 1)
                calibration = reflectance + self.calibrator(reflectance)
                light = light + calibration + self.increment(calibration)
                total = total + (first - light).abs().mean() + 0.1 * loss(image, light)
            return total

    return Enhance, Cascade, PlusPlus, loss


def zero_dce():
    """Zero-DCE (Guo et al., CVPR 2020) in PyTorch, as section 3 of the paper reads."""
    import torch
    from torch import nn

    class ZeroDce(nn.Module):
        def __init__(self):
            super().__init__()
            channels = [(3, 32), (32, 32), (32, 32), (32, 32), (64, 32), (64, 32), (64, 24)]
            self.convs = nn.ModuleList(nn.Conv2d(*pair, 3, padding=1) for pair in channels)

        def forward(self, image):
            features, earlier = image, []
            for conv in self.convs[:4]:
                features = torch.relu_(conv(features))
                earlier.append(features)
            earlier.pop()
            # The last three also see the features of the third, the second and the first.
            for conv in self.convs[4:6]:
                features = torch.relu_(conv(torch.cat([earlier.pop(), features], 1)))
            maps = torch.tanh(self.convs[6](torch.cat([earlier.pop(), features], 1)))
            for curve in maps.split(3, 1):
                image = image + curve * image * (1 - image)
            return image

    return ZeroDce


def dark(name):
    """The bytes of a dark picture of a size."""
    import numpy

    width, height = SIZES[name]
    return numpy.random.default_rng(0).integers(0, 100, (height, width, 3), dtype=numpy.uint8)


def floats(pixels):
    import torch

    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float().div_(255)


def onnx_file(model, image):
    import torch

    path = os.path.join(tempfile.mkdtemp(), "model.onnx")
    torch.onnx.export(model, (image,), path, input_names=["image"], dynamo=False)
    return path


def onnx_run(path, image, threads):
    """What runs a file in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options)
    inputs = {"image": image.numpy()}
    return lambda: session.run(None, inputs)


def peer_enhance(name, threads):
    """Milliseconds for each way to enhance a picture of a size."""
    import torch

    torch.set_num_threads(threads)
    model = networks()[0]().eval()
    pixels = dark(name)
    image = floats(pixels).contiguous()
    runs = 30 if name == "600x400" else 12
    times = {}
    with torch.no_grad():
        times["eager"] = median_ms(lambda: model(image), runs)
        last = image.to(memory_format=torch.channels_last)
        times["channels-last"] = median_ms(lambda: model(last), runs)

        def bytes_to_bytes():
            return (model(floats(pixels))[0].permute(1, 2, 0) * 255).to(torch.uint8).numpy()

        times["bytes"] = median_ms(bytes_to_bytes, runs)

    path = onnx_file(model, image)
    times["onnxruntime"] = median_ms(onnx_run(path, image, threads), runs)

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


def peer_zero_dce(name, threads):
    """Milliseconds for Zero-DCE to enhance a picture of a size."""
    import torch

    torch.set_num_threads(threads)
    model = zero_dce()().eval()
    image = floats(dark(name)).contiguous()
    with torch.no_grad():
        times = {"zero-dce": median_ms(lambda: model(image), *FEW[name])}
    if name != "3840x2160":
        run = onnx_run(onnx_file(model, image), image, threads)
        times["zero-dce-onnxruntime"] = median_ms(run, *FEW[name])
    return times


def peer_denoise(name, threads):
    """Milliseconds for OpenCV's filters to take the noise out of a picture of a size."""
    import cv2

    cv2.setNumThreads(threads)
    pixels = dark(name)
    return {
        "guided": median_ms(lambda: cv2.ximgproc.guidedFilter(pixels, pixels, 2, 25), 12),
        "bilateral": median_ms(lambda: cv2.bilateralFilter(pixels, 5, 25, 25), 12),
        "means": median_ms(lambda: cv2.fastNlMeansDenoisingColored(pixels), *FEW[name]),
    }


def peer_train(kind, threads):
    """Milliseconds and peak megabytes of a training step, or milliseconds of a loss."""
    import torch

    torch.set_num_threads(threads)
    _, cascade, plus_plus, loss = networks()
    if kind == "loss":
        pair = [torch.rand(1, 3, 400, 600, requires_grad=True) for _ in range(2)]
        return {"ms": median_ms(lambda: loss(*pair).backward(), 8)}
    compiled, _, trains = kind.partition("-")
    model = plus_plus(trains) if trains else cascade()
    forward = torch.compile(model) if compiled == "compile" else model
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    adam = torch.optim.Adam(parameters, lr=3e-4, weight_decay=3e-4)
    image = torch.rand(1, 3, 400, 600) * 0.3

    def step():
        adam.zero_grad()
        forward(image).backward()
        if not trains:
            torch.nn.utils.clip_grad_norm_(parameters, 5)
        adam.step()

    milliseconds = median_ms(step, 6)
    return {"ms": milliseconds, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


PEERS = {"enhance": peer_enhance, "zero-dce": peer_zero_dce, "denoise": peer_denoise,
         "train": peer_train}


def peer(function, argument, threads):
    """In a process of its own, so that no peer has another's threads or memory."""
    command = [sys.executable, __file__, "--threads", str(threads), "--peer", function, argument]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{function} {argument} failed:\n{result.stderr}")
    return json.loads(result.stdout.splitlines()[-1])


# ---------------------------------------------------------------- this crate


# The features that the benches are compiled with. Enhancing needs no training, and compiling it takes long.
FEATURES = {"enhance": "", "conv3x3": "train", "loss": "train", "train_step": "train"}


def binary(bench):
    command = ["cargo", "bench", "--features", FEATURES[bench], "--bench", bench, "--no-run",
               "--message-format=json"]
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


WANTED = ["| | ours | theirs | measured | wanted |", "|---|---|---|---|---|"]


def faster(what, own, theirs, wanted):
    return f"| {what} | {own:.2f} ms | {theirs:.1f} ms | {theirs / own:.1f} times faster | {wanted} |"


def sizes(label, times, digits=1):
    """A row of milliseconds of every size, with a dash where there are none."""
    cells = ("–" if ms is None else f"{ms:.{digits}f} ms" for ms in times)
    return f"| {label} | " + " | ".join(cells) + " |"


def enhance_tables(threads):
    # Each of ours next to what it is compared with.
    own, theirs = {bench: {} for bench in ("threads-1", "tone", "denoise", "auto", "rgb8")}, {}
    for size in SIZES:
        print(f"enhancing {size}", flush=True)
        theirs[size] = peer("denoise", size, threads)
        for bench, times in own.items():
            ident = f"rgb8/{size}/{bench}" if bench == "threads-1" else f"{bench}/{size}"
            times[size] = ours("enhance", f"enhance/{ident}", threads)
        theirs[size] |= peer("enhance", size, threads) | peer("zero-dce", size, threads)
    tensor = ours("enhance", "enhance/tensor/cpu/600x400", threads)
    avx2 = ours("enhance", "enhance/rgb8/1920x1080", threads, SCI_SIMD="avx2")
    huge = ours("enhance", "enhance/rgb8/11600x8640", threads)
    pixels = 11600 * 8640
    beyond = our_memory("enhance", "enhance/rgb8/11600x8640", threads) - 2 * pixels * 3 / 2**20

    per_pixel = [own["rgb8"][size] / (w * h) for size, (w, h) in SIZES.items()] + [huge / pixels]
    full_hd, uhd = theirs["1920x1080"]["openvino"], theirs["3840x2160"]["openvino"]
    rgb8, auto, denoise = (own[bench]["1920x1080"] for bench in ("rgb8", "auto", "denoise"))
    single, tone = (own[bench]["1920x1080"] for bench in ("threads-1", "tone"))
    uhd_denoise = own["denoise"]["3840x2160"]
    added = [own["denoise"][size] - own["auto"][size] for size in SIZES]
    heads = " | ".join(size.replace("x", "×") for size in SIZES)

    def ours_row(label, bench):
        return sizes(label, own[bench].values(), 2)

    def theirs_row(label, key):
        return sizes(label, [theirs[size].get(key) for size in SIZES])

    return [
        *WANTED,
        faster("1920×1080 RGB8→RGB8 against OpenVINO (RGB8 in)", rgb8, full_hd, "6 times faster"),
        faster("3840×2160 RGB8→RGB8 against OpenVINO (RGB8 in)", own["rgb8"]["3840x2160"], uhd,
               "7 times faster"),
        faster("600×400 tensors against PyTorch channels-last", tensor,
               theirs["600x400"]["channels-last"], "2 times faster"),
        faster("the AVX2 path against OpenVINO, 1920×1080", avx2, full_hd, "3 times faster"),
        f"| 1920×1080 with tone, against without | {auto:.2f} ms | | {auto / rgb8:.2f} times | "
        "at most 1.25 times, aim 1.1 |",
        f"| 1920×1080 with tone and noise filter, against without | {denoise:.2f} ms | | "
        f"{denoise / rgb8:.2f} times | at most 2.2 times, aim 1.7 |",
        f"| 3840×2160 with tone and noise filter | {uhd_denoise:.2f} ms | | "
        f"{1000 / uhd_denoise:.0f} frames a second | 30, aim 45 |",
        f"| the search for the tone, 1920×1080, against enhancing without | {tone:.2f} ms | | "
        f"{tone / rgb8:.2f} of it | |",
        f"| time per pixel, 0.24 to 100 megapixels | {min(per_pixel) * 1e6:.2f} – "
        f"{max(per_pixel) * 1e6:.2f} ns | | within {max(per_pixel) / min(per_pixel):.2f} times of the "
        "best | 1.5 times |",
        f"| one thread against {threads}, 1920×1080 | {single:.2f} ms | | {single / rgb8:.2f} times | "
        "1.8 times |",
        f"| memory beyond input and output, 100 megapixels | {beyond:.0f} MB | | | under 50 MB |",
        "",
        f"| enhancing | {heads} |",
        "|---|---|---|---|",
        ours_row("**this crate, RGB8 to RGB8**", "rgb8"),
        ours_row("this crate, one thread", "threads-1"),
        ours_row("**this crate, with tone and colors**", "auto"),
        ours_row("**this crate, with tone, colors and noise filter**", "denoise"),
        ours_row("this crate, the search for the tone alone", "tone"),
        theirs_row("OpenVINO, RGB8 in, floats out", "openvino"),
        theirs_row("ONNX Runtime, floats", "onnxruntime"),
        theirs_row("PyTorch channels-last, floats", "channels-last"),
        theirs_row("PyTorch eager, floats", "eager"),
        theirs_row("PyTorch eager, RGB8 to RGB8", "bytes"),
        theirs_row("Zero-DCE, ONNX Runtime, floats", "zero-dce-onnxruntime"),
        theirs_row("Zero-DCE, PyTorch eager, floats", "zero-dce"),
        "",
        f"| taking noise away, RGB8 to RGB8 | {heads} |",
        "|---|---|---|---|",
        sizes("**this crate, what the filter adds to enhancing**", added, 2),
        theirs_row("OpenCV `bilateralFilter`, d = 5", "bilateral"),
        theirs_row("OpenCV `guidedFilter`, guided by the picture itself, radius 2", "guided"),
        theirs_row("OpenCV `fastNlMeansDenoisingColored`", "means"),
    ]


def peer_steps(eager, compiled):
    """The rows of PyTorch's step."""
    return [f"| {name} | {step['ms']:.0f} ms | {step['mb']:.0f} MB |"
            for name, step in (("PyTorch eager", eager), ("torch.compile", compiled))]


def train_tables(threads):
    print("training", flush=True)
    step = ours("train_step", "train_step/cpu/600x400", threads)
    step_single = ours("train_step", "train_step/cpu/600x400/threads-1", threads)
    eager = peer("train", "eager", threads)
    compiled = peer("train", "compile", threads)
    batch, whole = [ours("train_step", f"train_step/cpu/{size}", threads)
                    for size in ("batch-8/160x120", "480x320")]
    step_memory = our_memory("train_step", "train_step/cpu/600x400", threads)
    turns = {}
    for trains in ("estimator", "calibrator"):
        bench = ("train_step", f"train_step/cpu/scipp-{trains}/600x400", threads)
        peers = [peer("train", f"{kind}-{trains}", threads) for kind in ("eager", "compile")]
        turns[trains] = ours(*bench), our_memory(*bench), *peers
    loss = ours("loss", "loss/cpu/600x400", threads)
    peer_loss = peer("train", "loss", threads)["ms"]
    conv = [ours("conv3x3", f"conv3x3/cpu/{part}", threads) for part in ("forward", "forward_backward")]
    return [
        *WANTED,
        faster("training step 600×400 against PyTorch eager", step, eager["ms"], "8 times faster, aim 12"),
        faster("training step 600×400 against torch.compile", step, compiled["ms"],
               "3.5 times faster, aim 5"),
        f"| training step on two threads against one | {step:.0f} ms | | "
        f"{step_single / step:.2f} times | 1.6 times, aim 1.85 |",
        f"| eight crops of 160×120 against as many pixels of one photograph | {batch:.0f} ms | | "
        f"{batch / whole:.2f} times | at most 1.2 times, aim 1.1 |",
        faster("loss of a stage, forward and backward, against PyTorch", loss, peer_loss,
               "15 times faster"),
        f"| training step's peak memory against PyTorch eager | {step_memory:.0f} MB | "
        f"{eager['mb']:.0f} MB | {step_memory / eager['mb']:.2f} of it | a third; 400 MB, aim 300 |",
        "",
        "| training, 600×400, batch 1 | time | peak memory |",
        "|---|---|---|",
        f"| **this crate, a step of three stages** | {step:.0f} ms | {step_memory:.0f} MB |",
        f"| this crate, the same on one thread | {step_single:.0f} ms | |",
        *peer_steps(eager, compiled),
        *[row for trains, (own, memory, *peers) in turns.items() for row in (
            f"| **this crate, a step of SCI++ that trains the {trains}** | {own:.0f} ms | {memory:.0f} MB |",
            *peer_steps(*peers),
        )],
        f"| **this crate, one stage's loss, forward and backward** | {loss:.1f} ms | |",
        f"| PyTorch eager | {peer_loss:.0f} ms | |",
        f"| this crate, 3×3 convolution 16 → 16, forward | {conv[0]:.1f} ms | |",
        f"| this crate, the same, forward and backward | {conv[1]:.1f} ms | |",
    ]


# The tables of each part, and the packages that its peers need.
PARTS = {
    "enhance": (enhance_tables, {"torch": "PyTorch", "onnxruntime": "ONNX Runtime",
                                 "openvino": "OpenVINO", "opencv-contrib-python-headless": "OpenCV"}),
    "train": (train_tables, {"torch": "PyTorch"}),
}


def sitting(threads, packages):
    """The machine, its instruction set, the threads, the versions and the day."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = set(facts.get("flags", "").split())
    needs = {"AVX-512": {f"avx512{part}" for part in ("f", "bw", "cd", "dq", "vl")},
             "AVX2": {"avx2", "fma"}}
    versions = [f"{name} {importlib.metadata.version(package).split('+')[0]}"
                for package, name in packages.items()]
    return ", ".join([
        facts.get("model name", platform.processor()),
        *[name for name, needed in needs.items() if needed <= flags][:1],
        f"{threads} threads",
        *versions,
        datetime.date.today().isoformat(),
    ]) + "."


def write(part, text):
    """Between the marks of a part."""
    path = ROOT / "PERFORMANCE.md"
    begin, end = f"<!-- compare.py: {part} begin -->", f"<!-- compare.py: {part} end -->"
    before, rest = path.read_text().split(begin)
    after = rest.split(end)[1]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")
    print(f"{part}: written to {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=PARTS, help="measure and write this part alone")
    parser.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    threads = options.threads
    if options.peer:
        function, argument = options.peer
        print(json.dumps(PEERS[function](argument, threads)))
        return
    for part, (tables, packages) in PARTS.items():
        if options.only in (None, part):
            # First the head: a package that is missing says so before anything is measured.
            head = sitting(threads, packages)
            write(part, "\n".join([head, "", *tables(threads)]))


if __name__ == "__main__":
    main()
