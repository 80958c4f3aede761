#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Make sure of the commands that only the distribution can give: install their packages when
# root on a Debian system, otherwise say the exact command and stop.
#
# usage: prerequisites.sh run|test
#   run: what it takes to build the guests and run pyvmm    test: what the tests use besides
set -eu

missing=""
need() { # need PACKAGE CHECK...: PACKAGE is missing if CHECK fails
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

need python3 python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'
need python3-venv python3 -c 'import ensurepip, venv'
need gcc sh -c 'echo "int x;" | gcc -c -x c -o /dev/null -'
need binutils ld --version
need make make --version
if [ "${1:-run}" = test ]; then
    need libc6-dev sh -c 'printf "#include <stddef.h>\n#include <stdio.h>\n" | gcc -c -x c -o /dev/null -'
    need qemu-system-x86 qemu-system-x86_64 --version
    need acpica-tools iasl -v
fi
[ -z "$missing" ] && exit 0

command="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing what is missing:$missing"
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of packages
    DEBIAN_FRONTEND=noninteractive $command -qq >/dev/null
else
    echo "pyvmm needs these packages:$missing" >&2
    echo "install them, then try again:  sudo $command" >&2
    exit 1
fi
