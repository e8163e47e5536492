#!/usr/bin/env python3
"""Writes the wheel of Sembla from the unpacked archive that package.sh makes; the standard library is enough.

Usage: make-wheel.py TREE OUT_FOLDER VERSION PLATFORM_TAG

`pip install` puts the binary into the environment's `bin`, ONNX Runtime into `lib/sembla`, and the models into
`share/sembla`, where the binary looks for them. The wheel depends on no version of Python; the same tree gives the same bytes.
"""
import base64
import hashlib
import os
import pathlib
import sys
import time
import zipfile

METADATA = """Metadata-Version: 2.4
Name: sembla
Version: {version}
Summary: SQL and streams over what text means: embeddings, search, deduplication and topics in one binary
License-Expression: Apache-2.0 AND MIT
License-File: LICENSE
License-File: licences/crates.txt
License-File: licences/onnxruntime-LICENSE
License-File: licences/onnxruntime-ThirdPartyNotices.txt
Classifier: Environment :: Console
Classifier: Operating System :: POSIX :: Linux
Requires-Python: >=3.8
Description-Content-Type: text/markdown

"""
WHEEL = """Wheel-Version: 1.0
Generator: sembla
Root-Is-Purelib: false
Tag: py3-none-{platform}
"""
# Where the files of the archive go: to `scripts` or `data` of the environment.
COMPLETIONS = {
    "bash": "data/share/bash-completion/completions/sembla",
    "zsh": "data/share/zsh/site-functions/_sembla",
    "fish": "data/share/fish/vendor_completions.d/sembla.fish",
}


def place(path: pathlib.PurePosixPath, data: str, info: str) -> "str | None":
    """The name in the wheel of a file of the archive; None when the wheel does without it."""
    if path.name == "sembla":
        return f"{data}/scripts/sembla"
    if path.name == "libonnxruntime.so":
        return f"{data}/data/lib/sembla/{path}"
    if path.parts[0] == "models":
        return f"{data}/data/share/sembla/{path}"
    if path.parts[0] == "completions":
        return f"{data}/{COMPLETIONS[path.suffix[1:]]}"
    if path.name == "sembla.1":
        return f"{data}/data/share/man/man1/sembla.1"
    if path.parts[0] == "licences" or path.name == "LICENSE":
        return f"{info}/licenses/{path}"
    return None


def contents(tree: pathlib.Path, version: str, platform: str) -> "dict[str, tuple[bytes, bool]]":
    """Every file of the wheel but RECORD: its bytes, and whether it can be executed."""
    data, info = f"sembla-{version}.data", f"sembla-{version}.dist-info"
    files = {}
    for path in sorted(tree.rglob("*")):
        name = place(pathlib.PurePosixPath(path.relative_to(tree)), data, info) if path.is_file() else None
        if name:
            files[name] = (path.read_bytes(), os.access(path, os.X_OK))
    readme = (tree / "README.md").read_text()
    files[f"{info}/METADATA"] = ((METADATA.format(version=version) + readme).encode(), False)
    files[f"{info}/WHEEL"] = (WHEEL.format(platform=platform).encode(), False)
    return files


def record(files: "dict[str, tuple[bytes, bool]]", own: str) -> bytes:
    """RECORD: name, hash and size of every file; its own line has neither."""
    lines = []
    for name, (content, _) in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}")
    return ("\n".join(lines) + f"\n{own},,\n").encode()


def main() -> None:
    tree, out, version, platform = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    files = contents(tree, version, platform)
    own = f"sembla-{version}.dist-info/RECORD"
    files[own] = (record(files, own), False)
    # The format of zip begins in 1980.
    moment = time.gmtime(max(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())), 315532800))[:6]
    target = out / f"sembla-{version}-py3-none-{platform}.whl"
    part = target.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as wheel:
        for name, (content, is_executable) in files.items():
            entry = zipfile.ZipInfo(name, moment)
            entry.external_attr = (0o100755 if is_executable else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, content)
    part.replace(target)
    print(target)


if __name__ == "__main__":
    main()
