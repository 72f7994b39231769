"""`python without_landlock.py PROGRAM ARGUMENT...` runs a program as on a kernel that has no Landlock."""

from __future__ import annotations

import errno
import os
import struct
import sys

from gradclinic_worker.cage import prctl, seccomp

LANDLOCK_CREATE_RULESET = 444
LOAD_NUMBER, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06

if __name__ == "__main__":
    prctl.gain_no_privileges()
    program = [
        (LOAD_NUMBER, 0, 0, 0),
        (JUMP_EQUAL, 0, 1, LANDLOCK_CREATE_RULESET),
        (RETURN, 0, 0, seccomp.refuse(errno.ENOSYS)),
        (RETURN, 0, 0, seccomp.ALLOW),
    ]
    seccomp.install(b"".join(struct.pack("=HBBI", *one) for one in program))
    os.execv(sys.argv[1], sys.argv[1:])
