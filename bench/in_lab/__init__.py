# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The benchmarks' part that runs in the lab: ``python -m bench.in_lab PART`` prints its rows."""
