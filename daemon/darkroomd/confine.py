"""What a worker may still do: the kernel's word for it, given before the first byte of a photo is decoded.

Landlock: no file of people's can be opened, neither the photo (which the service hands over, open) nor its neighbours,
results, homes, other disks, the ledger. seccomp: no other process or program, no network, no debugging of other
processes, no mounts and namespaces. Limits: to memory, open files and the size of files. All of it stays for the life
of the process and of its threads. The systemd unit closes the service off from the machine; this closes a worker off
from the service, and also holds where there is no such unit. By ctypes, because the bindings that are published are
unfinished or need a library of the system's.
"""

import ctypes
import errno
import os
import platform
import resource
import struct
import sys
import sysconfig
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from darkroomd.job import Job
from darkroomd.places import HERE, engines_folder, shipped, tiles_folder

# Where people and services keep things. Everything else below / is system: programs, libraries, /proc, /dev.
PRIVATE = frozenset(("boot", "home", "lost+found", "media", "mnt", "root", "run", "srv", "tmp", "var"))
ALSO_WRITABLE: tuple[Path, ...] = ()  # for tests whose workers report what they covered

OPEN_FILES = 1024
BYTES_PER_PIXEL = 32  # in a scratch file: twice four channels of float32
NVIDIA = Path("/dev/nvidiactl")

_PR_SET_NO_NEW_PRIVS = 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_SECCOMP = {"x86_64": 317, "aarch64": 277}

# linux/landlock.h
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_REMOVE_FILE, _MAKE_DIR, _MAKE_REG, _REFER = 1 << 5, 1 << 7, 1 << 8, 1 << 13
_READ = _READ_FILE | _READ_DIR
_CHANGE = _READ | _WRITE_FILE | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE
_DEVICE = _READ | _WRITE_FILE | 1 << 15  # ioctl
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | 1 << 15
# rights that a version of Landlock knows: 13 at first, then refer, truncate, (3 to 4: TCP), ioctl
_KNOWN = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_KNOWN_FROM_5 = (1 << 16) - 1
_TCP = 0b11  # bind, connect
_SCOPES = 0b11  # abstract sockets and signals beyond the worker itself

# Never needed to turn one picture into another. Numbers on (x86_64, aarch64); -1: not there.
_DENIED = {
    "fork": (57, -1), "vfork": (58, -1), "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117),
    "kcmp": (312, 272), "pidfd_getfd": (438, 438),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "process_madvise": (440, 440),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97),
    "setns": (308, 268), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "reboot": (169, 142), "open_by_handle_at": (304, 265),
    "personality": (135, 92), "fanotify_init": (300, 262), "swapon": (167, 224), "swapoff": (168, 225),
    "acct": (163, 89), "quotactl": (179, 60), "syslog": (103, 116), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171), "sethostname": (170, 161),
    "setdomainname": (171, 162), "mknod": (133, -1), "mknodat": (259, 33), "iopl": (172, -1), "ioperm": (173, -1),
    "vhangup": (153, 58), "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143),
    "setresuid": (117, 147), "setresgid": (119, 149), "setgroups": (116, 159),
}  # fmt: skip
_CLONE, _CLONE3, _SOCKET = (56, 220), (435, 435), (41, 198)
_NAMESPACES, _THREAD = 0x7E020000, 0x10000
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000
_FAMILIES = (1, 16)  # AF_UNIX; AF_NETLINK, by which graphics drivers learn of devices


@dataclass(frozen=True, slots=True)
class Walls:
    """Folders that a worker may read below, and those that it may also change; how large a file it may write, and how
    much memory of its own it may ask for (0: as much as it likes)."""

    read: frozenset[Path]
    write: frozenset[Path]
    file_bytes: int = 1 << 40
    data_bytes: int = 0


def walls(job: Job) -> Walls:
    """The system, this installation and room for scratch files; nothing of the photo's, which is handed over."""
    read, write = _always()
    if job.engine.device.startswith("tensorrt"):
        engines_folder().mkdir(parents=True, exist_ok=True)  # beyond the walls only what is there can be let in
        write |= {engines_folder()}
    with suppress(OSError):
        tiles_folder().mkdir(parents=True, exist_ok=True)
        write |= {tiles_folder()}
    most = max(job.limits.max_megapixels * 1e6 * BYTES_PER_PIXEL, job.limits.max_file_mb * 1e6)
    # a driver of a graphics card asks for far more than it uses
    on_cpu = job.engine.device in ("auto", "cpu") and not NVIDIA.exists()
    return Walls(read, write, int(most) + (64 << 20), _machine_bytes() if on_cpu else 0)


@cache
def _always() -> tuple[frozenset[Path], frozenset[Path]]:
    system = {path for path in Path("/").iterdir() if path.name not in PRIVATE}
    python = {sys.prefix, sys.base_prefix, *sys.path, *sysconfig.get_paths().values()}
    ours = {HERE, shipped("models").resolve()}
    nvidia = Path("~/.nv").expanduser()  # where CUDA keeps what it compiled
    scratch = {Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"), nvidia, *ALSO_WRITABLE}
    return frozenset({*system, *(Path(one) for one in python if one), *ours}), frozenset(scratch)


def _machine_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def confined(inside: Walls) -> str:
    """Puts this process, and every thread that it will start, behind the walls; says which of them stand.

    To be called while there is one thread only. A kernel without Landlock or seccomp leaves that wall out.
    """
    for which, most in (
        (resource.RLIMIT_CORE, 0),  # a core dump would be a copy of somebody's photo
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_FSIZE, inside.file_bytes),
        # not the address space: a giant's pixels are mapped files, which the kernel takes back when it needs the memory
        (resource.RLIMIT_DATA, inside.data_bytes or resource.RLIM_INFINITY),
    ):
        _limit(which, most)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return "none"
    stand = [name for name, stands in (("Landlock", _landlock(libc, inside)), ("seccomp", _seccomp(libc))) if stands]
    return " and ".join(stand) or "none"


def _limit(which: int, most: int) -> None:
    """Never above what holds already."""
    hard = resource.getrlimit(which)[1]
    most = most if hard == resource.RLIM_INFINITY else hard if most == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(which, (most, most))


def landlock_version() -> int:
    """Of this kernel's Landlock; 0 where there is none."""
    return max(0, int(ctypes.CDLL(None, use_errno=True).syscall(_CREATE_RULESET, None, 0, 1)))


def _landlock(libc: ctypes.CDLL, inside: Walls) -> bool:
    version = landlock_version()
    if version == 0:
        return False
    known = _KNOWN.get(version, _KNOWN_FROM_5)
    fields = [known, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0]
    fields = fields[: 3 if version >= 6 else 2 if version >= 4 else 1]
    attribute = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = libc.syscall(_CREATE_RULESET, attribute, ctypes.c_size_t(len(attribute)), 0)
    if ruleset < 0:
        return False
    try:
        rules = [(path, _READ) for path in inside.read] + [(path, _CHANGE) for path in inside.write]
        for path, rights in [*rules, (Path("/dev"), _DEVICE), (Path("/proc/self"), _READ | _WRITE_FILE)]:
            _allow(libc, ruleset, path, rights & known)
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # not there, and so nothing to be let into
        return
    try:
        rights &= _OF_FILES if not path.is_dir() else ~0
        libc.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)


def _seccomp(libc: ctypes.CDLL) -> bool:
    machine = platform.machine()
    if machine not in _SECCOMP:
        return False
    program = b"".join(struct.pack("=HBBI", *line) for line in _filter(machine))
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HP", len(program) // 8, ctypes.addressof(buffer))
    return bool(libc.syscall(_SECCOMP[machine], 1, 0, header) == 0)


def _filter(machine: str) -> list[tuple[int, int, int, int]]:
    """A program of classic BPF over (number, architecture, arguments): (code, jump if true, jump if false, value)."""
    load, equal, over, any_bit, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, refuse, kill = 0x7FFF0000, 0x00050000, 0x80000000
    column = list(_SECCOMP).index(machine)
    lines = [(load, 0, 0, 4), (equal, 1, 0, _AUDIT_ARCH[machine]), (answer, 0, 0, kill), (load, 0, 0, 0)]
    if machine == "x86_64":
        lines += [(over, 0, 1, _X32), (answer, 0, 0, refuse | errno.EPERM)]
    for number in (numbers[column] for numbers in _DENIED.values()):
        if number >= 0:
            lines += [(equal, 0, 1, number), (answer, 0, 0, refuse | errno.EPERM)]
    # the flags of clone3 lie in memory, where a filter cannot look: without it libc takes clone
    lines += [(equal, 0, 1, _CLONE3[column]), (answer, 0, 0, refuse | errno.ENOSYS)]
    lines += [(equal, 0, 5, _CLONE[column]), (load, 0, 0, 16), (any_bit, 1, 0, _NAMESPACES), (any_bit, 1, 0, _THREAD)]
    lines += [(answer, 0, 0, refuse | errno.EPERM), (answer, 0, 0, allow)]
    lines += [(equal, 0, 4, _SOCKET[column]), (load, 0, 0, 16)]
    lines += [(equal, 2, 0, _FAMILIES[0]), (equal, 1, 0, _FAMILIES[1]), (answer, 0, 0, refuse | errno.EPERM)]
    return [*lines, (answer, 0, 0, allow)]
