"""Copies ONNX Runtime so that it finds no AVX-512 on the processor, and so runs as on one with AVX2 only.

ONNX Runtime has no setting for this. It asks the processor itself (CPUID, leaf 7: bit 16 of EBX is AVX-512F), and all of
its AVX-512 kernels hang on that answer. In the copy the two tests of that bit have an empty mask, so they always say no.
For measurements only. Needs objdump and readelf (binutils).
"""
import pathlib
import re
import shutil
import subprocess

# A test of the bit stands this many lines of disassembly behind its CPUID at most.
REACH = 400
# How `test $0x10000, %register` ends in machine code.
MASK = (0x10000).to_bytes(4, "little")


def without_avx512(library, copy):
    """Writes the library `copy`, which is `library` but for the masks."""
    code = bytearray(library.read_bytes())
    sections = subprocess.run(["readelf", "-S", "-W", library], capture_output=True, text=True, check=True).stdout
    address, place = (int(text, 16) for text in re.search(r"\.text\s+PROGBITS\s+(\w+)\s+(\w+)", sections).groups())
    listing = subprocess.Popen(["objdump", "-d", library], stdout=subprocess.PIPE, text=True)
    asked, changed = None, 0
    for number, line in enumerate(listing.stdout):
        if "\tcpuid" in line:
            asked = number
        elif asked is not None and number - asked < REACH and re.search(r"\ttest\s+\$0x10000,%\w+$", line.rstrip()):
            at, words = line.split("\t")[:2]
            instruction = bytes.fromhex(words)
            start = int(at.strip().rstrip(":"), 16) - address + place
            if code[start:start + len(instruction)] != instruction or not instruction.endswith(MASK):
                raise SystemExit(f"{library}: the instruction at {at.strip()} is not where it should be")
            end = start + len(instruction)
            code[end - len(MASK):end] = bytes(len(MASK))
            changed += 1
    if listing.wait() != 0 or changed != 2:
        raise SystemExit(f"{library}: found {changed} tests for AVX-512 instead of 2; this version is not known here")
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(code)


def python_package(folder):
    """A copy of the installed `onnxruntime` in `folder`, which goes first on PYTHONPATH."""
    import onnxruntime

    package = pathlib.Path(onnxruntime.__file__).parent
    if not (folder / "onnxruntime").exists():
        shutil.copytree(package, folder / "part", dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.so.*"))
        for library in (package / "capi").glob("onnxruntime_pybind11_state*.so"):
            without_avx512(library, folder / "part" / "capi" / library.name)
        (folder / "part").rename(folder / "onnxruntime")
    return folder


def library(original, folder):
    """A copy of Sembla's `libonnxruntime.so` in `folder`, for ORT_DYLIB_PATH."""
    copy = folder / original.name
    if not copy.exists():
        without_avx512(original, copy)
    return copy
