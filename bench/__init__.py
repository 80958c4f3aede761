# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The benchmarks: ``python -m bench`` prints pyvmm beside QEMU and beside a bare loop in C."""
