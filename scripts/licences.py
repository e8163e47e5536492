#!/usr/bin/env python3
"""Prints the licences of all crates that the binary is linked with: one table, then every text once, with the crates it belongs to.

It asks cargo for the crates of sembla on this platform, without tests and build tools, and reads the files that came
with them; the C sources that some crates carry (OpenSSL, librdkafka, zstd, …) are under the licence files of those crates.
"""
import collections
import json
import os
import pathlib
import re
import subprocess

LICENCE = re.compile(r"^(licen[cs]e|copying|notice|copyright|unlicense)", re.IGNORECASE)
# Folders of a crate's own tests and examples have no say in what is linked.
ASIDE = {"tests", "test", "testdata", "examples", "benches", "fuzz", "docs", "doc", ".github"}


def cargo(*arguments: str) -> str:
    command = [os.environ.get("CARGO", "cargo"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def linked() -> "set[str]":
    """`name version` of every crate that is linked."""
    tree = cargo("tree", "--locked", "--package", "sembla", "--edges", "normal,build", "--prefix", "none", "--format", "{p}")
    return {" ".join(line.split()[:2]).replace(" v", " ") for line in tree.splitlines() if line.strip()}


def texts_of(folder: pathlib.Path) -> "list[str]":
    """The licence texts in a crate's folder, at most three levels down."""
    found = []
    for place, folders, names in os.walk(folder):
        depth = len(pathlib.Path(place).relative_to(folder).parts)
        folders[:] = sorted(name for name in folders if name not in ASIDE) if depth < 3 else []
        for name in sorted(names):
            path = pathlib.Path(place) / name
            if LICENCE.match(name) and path.suffix.lower() in ("", ".txt", ".md") and path.stat().st_size < 200_000:
                found.append(path.read_text(errors="replace").strip())
    return found


def main() -> None:
    wanted = linked()
    packages = json.loads(cargo("metadata", "--locked", "--format-version", "1"))["packages"]
    packages = [package for package in packages if package["source"] and f"{package['name']} {package['version']}" in wanted]
    packages.sort(key=lambda package: (package["name"], package["version"]))
    print("Crates that Sembla is linked with, and their licences.\n")
    owners = collections.defaultdict(list)
    for package in packages:
        name = f"{package['name']} {package['version']}"
        print(f"{name:<44} {package['license'] or 'see its text below'}")
        for text in texts_of(pathlib.Path(package["manifest_path"]).parent):
            if name not in owners[text]:
                owners[text].append(name)
    for text, names in owners.items():
        print(f"\n{'=' * 100}\n{', '.join(names)}\n{'-' * 100}\n{text}")


if __name__ == "__main__":
    main()
