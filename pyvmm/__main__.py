# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""``python -m pyvmm`` is the command ``pyvmm``."""

import sys

from pyvmm.cli.main import main

sys.exit(main())
