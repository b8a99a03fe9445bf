"""Builds the optional IFMA kernel; everything else about the package is in pyproject.toml."""

from __future__ import annotations

import platform

from setuptools import Extension, setup

KERNEL = "protocol/crypto/kernel"

ifma = Extension(
    "protocol.crypto.kernel._ifma",
    sources=[f"{KERNEL}/module.c", f"{KERNEL}/ifma.c"],
    depends=[f"{KERNEL}/ifma.h", f"{KERNEL}/lanes.h", f"{KERNEL}/workspace.h"],
    extra_compile_args=["-O3", "-Wall", "-Wextra"],
    py_limited_api=True,
    optional=True,  # without a compiler the package installs and computes through GMP
)

x86 = platform.machine().lower() in ("x86_64", "amd64")
setup(
    ext_modules=[ifma] if x86 else [],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if x86 else {},
)
