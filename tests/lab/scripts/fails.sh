# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# One check that holds, one that doesn't, and a status of its own. count=N is of the command line.
check "one is one" [ 1 = 1 ]
check "there are $count" [ "$(nproc)" = "$count" ]
exit 42
