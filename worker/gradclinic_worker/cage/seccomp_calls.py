"""System calls by what the cage does with them, each with its number on x86-64 and on aarch64.

The numbers are those of the kernel's own headers; `-` stands where an architecture lacks the call. What is not named
here does not exist for a caged process (ENOSYS), also what kernels will learn later.
"""

from __future__ import annotations

from typing import NamedTuple


class Call(NamedTuple):
    """A system call and its numbers; None where the architecture lacks it."""

    name: str
    x86_64: int | None
    aarch64: int | None


def _table(text: str) -> dict[str, Call]:
    rows = [entry.split() for entry in text.replace("\n", " ").split(",")]
    return {
        name: Call(name, *(None if number == "-" else int(number) for number in (x86, arm))) for name, x86, arm in rows
    }


ALLOWED = _table("""
read 0 63, readv 19 65, pread64 17 67, preadv 295 69, write 1 64, writev 20 66, close 3 57, close_range 436 436,
lseek 8 62, dup 32 23, dup2 33 -, dup3 292 24, fstat 5 80, newfstatat 262 79, stat 4 -, lstat 6 -, statx 332 291,
access 21 -, faccessat 269 48, faccessat2 439 439, readlink 89 -, readlinkat 267 78, getdents64 217 61,
statfs 137 43, fstatfs 138 44, getcwd 79 17, fadvise64 221 223, mmap 9 222, munmap 11 215, mremap 25 216,
mprotect 10 226, madvise 28 233, brk 12 214, msync 26 227, mincore 27 232, mlock 149 228, munlock 150 229,
membarrier 324 283, futex 202 98, set_robust_list 273 99, get_robust_list 274 100, rseq 334 293,
set_tid_address 218 96, arch_prctl 158 -, exit 60 93, exit_group 231 94, rt_sigaction 13 134, rt_sigprocmask 14 135,
rt_sigreturn 15 139, rt_sigpending 127 136, rt_sigtimedwait 128 137, rt_sigsuspend 130 133, sigaltstack 131 132,
restart_syscall 219 128, pause 34 -, sched_yield 24 124, sched_getaffinity 204 123, sched_getparam 143 121,
sched_getscheduler 145 120, sched_get_priority_max 146 125, sched_get_priority_min 147 126, getcpu 309 168,
getrandom 318 278, clock_gettime 228 113, clock_getres 229 114, clock_nanosleep 230 115, nanosleep 35 101,
gettimeofday 96 169, time 201 -, times 100 153, getrusage 98 165, getrlimit 97 163,
sysinfo 99 179, uname 63 160, getpid 39 172, gettid 186 178, getppid 110 173, getpgid 121 155, getpgrp 111 -,
getsid 124 156, getuid 102 174, geteuid 107 175, getgid 104 176, getegid 108 177, getresuid 118 148,
getresgid 120 150, getgroups 115 158, getpriority 140 141, capget 125 90, poll 7 -, ppoll 271 73, select 23 -,
pselect6 270 72, epoll_create 213 -, epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22,
eventfd2 290 19, pipe 22 -, pipe2 293 59, recvfrom 45 207, recvmsg 47 212, shutdown 48 210, getsockopt 55 209,
getsockname 51 204, getpeername 52 205
""")
"""What arithmetic, memory, threads, time, reading and an open pipe need."""

CUDA_ONLY = _table("""
get_mempolicy 239 236, set_mempolicy 238 237, mbind 237 235, sched_setaffinity 203 122, sched_setscheduler 144 119,
mlock2 325 284, ioctl 16 29
""")
"""What the CUDA driver also asks for."""

CONDITIONAL = _table("""
openat 257 56, open 2 -, clone 56 220, ioctl 16 29, fcntl 72 25, prctl 157 167, prlimit64 302 261, sendto 44 206,
kill 62 129, tgkill 234 131, socket 41 198, setrlimit 160 164
""")
"""Allowed with some arguments only; see `seccomp.py`."""

HOSTILE = _table("""
execve 59 221, execveat 322 281, fork 57 -, vfork 58 -, ptrace 101 117, process_vm_readv 310 270,
process_vm_writev 311 271, process_madvise 440 440, process_mrelease 448 448, kcmp 312 272, connect 42 203,
bind 49 200, listen 50 201, accept 43 202, accept4 288 242, mount 165 40, umount2 166 39, pivot_root 155 41,
chroot 161 51, open_tree 428 428, move_mount 429 429, fsopen 430 430, fsconfig 431 431, fsmount 432 432,
fspick 433 433, mount_setattr 442 442, bpf 321 280, perf_event_open 298 241, userfaultfd 323 282,
io_uring_setup 425 425, io_uring_enter 426 426, io_uring_register 427 427, unshare 272 97, setns 308 268,
keyctl 250 219, add_key 248 217, request_key 249 218, tkill 200 130, rt_sigqueueinfo 129 138,
rt_tgsigqueueinfo 297 240, pidfd_open 434 434, pidfd_getfd 438 438, pidfd_send_signal 424 424, setuid 105 146,
setgid 106 144, setreuid 113 145, setregid 114 143, setresuid 117 147, setresgid 119 149, setfsuid 122 151,
setfsgid 123 152, setgroups 116 159, capset 126 91, init_module 175 105, finit_module 313 273,
delete_module 176 106, kexec_load 246 104, kexec_file_load 320 294, reboot 169 142, swapon 167 224, swapoff 168 225,
acct 163 89, quotactl 179 60, quotactl_fd 443 443, syslog 103 116, settimeofday 164 170, clock_settime 227 112,
clock_adjtime 305 266, adjtimex 159 171, sethostname 170 161, setdomainname 171 162, iopl 172 -, ioperm 173 -,
modify_ldt 154 -, open_by_handle_at 304 265, name_to_handle_at 303 264, fanotify_init 300 262, vhangup 153 58,
lookup_dcookie 212 18
""")
"""Nothing honest asks for these: who does is ended at once, and the attempt is counted."""
