#!/usr/bin/env python3
"""Brightens the photographs of a list on the machines of a Spark cluster.

    pip install pyspark
    cargo build --release --example enhance
    find $PWD/photos -name '*.jpg' > list.txt
    spark-submit examples/spark/enhance.py list.txt --root $PWD/photos --output $PWD/results \\
        --enhance $PWD/target/release/examples/enhance --partitions 64

Every machine sees the photographs, the results and the program under the same absolute paths. A
partition is one call of the program. A task that is killed is begun again by Spark and skips what is done; so is the
whole, by the same command. A photograph that cannot be read fails by itself: the reports folder gets a table for each
partition with the photographs that failed and why.
"""
import argparse
import pathlib
import subprocess

from pyspark.sql import SparkSession


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("list", help="a file with one path a line")
    parser.add_argument("--root", required=True, help="the folder whose tree the results keep")
    parser.add_argument("--output", required=True, help="the folder for the results")
    parser.add_argument("--enhance", default="enhance", help="the program, on every machine")
    parser.add_argument("--partitions", type=int, default=16)
    parser.add_argument("--reports", help="the folder for the tables of failures; by default OUTPUT-failures")
    options, more = parser.parse_known_args()
    reports = pathlib.Path(options.reports or f"{options.output}-failures")
    reports.mkdir(parents=True, exist_ok=True)
    command = [options.enhance, "--files-from", "-", "--root", options.root, "-o", options.output, *more]

    def enhance(index, photographs):
        report = reports / f"failures-{index:05}.csv"
        photographs = "".join(f"{photograph}\n" for photograph in photographs)
        if not photographs:
            return
        done = subprocess.run([*command, "--report", report], input=photographs.encode(), capture_output=True)
        # Status 1 is that of photographs that failed, which the report names, and of a wrong call, which writes none.
        if done.returncode not in (0, 1) or not done.stdout:
            raise RuntimeError(done.stderr.decode(errors="replace").strip() or f"status {done.returncode}")
        yield index, done.stdout.decode().strip()

    session = SparkSession.builder.appName("sci-burn enhance").getOrCreate()
    # Neighbors in the list are of similar size: dealt out one by one, all partitions take about as long.
    numbered = session.sparkContext.textFile(options.list, options.partitions).zipWithIndex()
    dealt = numbered.map(lambda pair: (pair[1], pair[0])).partitionBy(options.partitions, int).values()
    for index, summary in sorted(dealt.mapPartitionsWithIndex(enhance).collect()):
        print(f"partition {index}: {summary}")
    session.stop()


if __name__ == "__main__":
    main()
