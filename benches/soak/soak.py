#!/usr/bin/env python3
"""Lets the programs work for long: 10 000 steps of training, 100 000 photographs, an hour of video. Their memory is to
stay as it is, and their last results are to be those of a short run. Draws docs/soak.png and prints a table.

    cargo build --release --features train --examples
    pip install numpy pillow matplotlib
    python benches/soak/soak.py [--scale 0.01]
"""
import argparse
import filecmp
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
SIZE = (96, 64)
PHOTOS = 100
VIDEO = (320, 240)
FRAMES_OF_A_SECOND = 25


def example(name):
    return ROOT / "target/release/examples" / name


class Watched:
    """A program, and how many megabytes of its memory were resident at which second."""

    def __init__(self, command, **pipes):
        self.began = time.monotonic()
        self.memory = []
        self.process = subprocess.Popen([str(part) for part in command], **pipes)
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()

    def watch(self):
        status = Path(f"/proc/{self.process.pid}/status")
        while self.process.poll() is None:
            try:
                lines = status.read_text().splitlines()
            except OSError:  # It has ended.
                break
            second = time.monotonic() - self.began
            kibibytes = [int(line.split()[1]) for line in lines if line.startswith("VmRSS")]
            self.memory += [(second, number * 1024 / 1e6) for number in kibibytes]
            time.sleep(0.2)

    def finish(self):
        assert self.process.wait() == 0, self.process.args
        self.watcher.join()
        return np.array(self.memory).reshape(-1, 2)


def training(folder, scale):
    epochs = max(2, int(100 * scale))
    options = ["--data", folder / "dark", "--crop", "64x48", "--no-previews"]

    def run(name, epochs, **environment):
        command = [example("train"), *options, "--epochs", epochs, "--out", folder / name]
        environment = {**os.environ, **environment}
        return Watched(command, env=environment, stdout=subprocess.DEVNULL).finish()

    memory = run("long", epochs)
    run("short", 2)
    rows = [(folder / name / "metrics.csv").read_text().splitlines() for name in ["long", "short"]]
    assert rows[0][:3] == rows[1], "the first epochs differ"
    run("one-thread", epochs, RAYON_NUM_THREADS="1")
    for name in ["metrics.csv", "model.safetensors"]:
        assert filecmp.cmp(folder / "long" / name, folder / "one-thread" / name, False), name
    return f"{epochs * PHOTOS} steps of training", memory


def photographs(folder, scale):
    copies = max(2, int(1000 * scale))
    many = folder / "many"
    for copy in range(copies):
        place = many / f"{copy:04}"
        place.mkdir(parents=True)
        for photo in (folder / "dark").iterdir():
            os.link(photo, place / photo.name)

    def run(inputs, output):
        command = [example("enhance"), inputs, "-o", output, "--compression", "fast"]
        return Watched(command, stdout=subprocess.DEVNULL).finish()

    memory = run(many, folder / "results")
    run(folder / "dark", folder / "expected")
    expected = {path.name: path.read_bytes() for path in (folder / "expected").iterdir()}
    done = 0
    for place in (folder / "results").iterdir():
        for path in place.iterdir():
            assert path.read_bytes() == expected[path.name], path
            done += 1
    assert done == copies * PHOTOS
    return f"{done} photographs", memory


def video(folder, scale):
    frames = max(100, int(3600 * FRAMES_OF_A_SECOND * scale))
    width, height = VIDEO
    random = np.random.default_rng(1)
    second = [random.integers(0, 60, (height, width, 3), np.uint8).tobytes()
              for _ in range(FRAMES_OF_A_SECOND)]

    def run(frames):
        # A fixed exposure: the automatic one remembers the frames before.
        command = [example("video"), "--size", f"{width}x{height}", "--exposure", "0.8"]
        program = Watched(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def feed():
            for frame in range(frames):
                program.process.stdin.write(second[frame % FRAMES_OF_A_SECOND])
            program.process.stdin.close()

        threading.Thread(target=feed).start()
        for _ in range(frames - FRAMES_OF_A_SECOND):
            program.process.stdout.read(len(second[0]))
        last = [program.process.stdout.read(len(second[0])) for _ in range(FRAMES_OF_A_SECOND)]
        assert not program.process.stdout.read()
        return last, program.finish()

    last, memory = run(frames)
    expected, _ = run(2 * FRAMES_OF_A_SECOND)
    assert last == expected
    return f"{frames} frames of {width}×{height}, {frames / FRAMES_OF_A_SECOND / 60:.0f} minutes", memory


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--output", type=Path, default=ROOT / "docs/soak.png")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        dark = folder / "dark"
        dark.mkdir()
        random = np.random.default_rng(0)
        for number in range(PHOTOS):
            noise = random.integers(0, 25, (SIZE[1], SIZE[0], 3))
            ramp = np.linspace(0, 40 + number % 30, SIZE[0])[None, :, None]
            Image.fromarray((noise + ramp).astype(np.uint8)).save(dark / f"{number:03}.png")
        figure, axes = plt.subplots(1, 3, figsize=(12, 3.2), constrained_layout=True)
        for axis, work in zip(axes, [training, photographs, video]):
            title, memory = work(folder, arguments.scale)
            seconds, megabytes = memory.T
            quarter = max(1, len(megabytes) // 4)
            first, last = megabytes[quarter:2 * quarter].max(initial=0), megabytes[-quarter:].max()
            print(f"| {title} | {seconds[-1]:.0f} s | {first:.1f} MB | {last:.1f} MB |", flush=True)
            axis.plot(seconds, megabytes, linewidth=1)
            axis.set(title=title, xlabel="seconds", ylim=(0, megabytes.max() * 1.3))
        axes[0].set_ylabel("resident memory, MB")
        figure.savefig(arguments.output, dpi=80)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
