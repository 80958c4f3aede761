# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""pyvmm: a small KVM virtual machine monitor for people who work on PCI devices."""

__version__ = "0.1.0"
