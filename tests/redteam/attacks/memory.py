"""Filling memory and disk, also where no usual limit counts it."""

from __future__ import annotations

from tests.redteam.attack import family

memory = family("memory and disk")
TWO_GIB_AND_MORE = 2200

ATTACKS = [
    memory(
        "fills_memory_slowly",
        "takes 16 MiB twenty times a second",
        """
        import time

        def quarter(x):
            kept = []
            for _ in range(300):
                kept.append(b"x" * (16 * 2**20))
                time.sleep(0.05)
            return x / 4
        """,
        slow=True,
        elsewhere="it may take as much as there is",
    ),
    memory(
        "fills_shared_memory",
        "takes shared memory, which belongs to no process and counts for none",
        f"""
        import mmap

        def quarter(x):
            kept = []
            for _ in range({TWO_GIB_AND_MORE} // 100):
                kept.append(mmap.mmap(-1, 100 * 2**20))
                for place in range(0, len(kept[-1]), 4096):
                    kept[-1][place] = 1
            return x / 4
        """,
        elsewhere="it may take as much as there is",
    ),
    memory(
        "fills_memory_files",
        "writes files that exist in memory only",
        f"""
        import os

        def quarter(x):
            block, kept = b"x" * 2**20, []
            for _ in range({TWO_GIB_AND_MORE} // 50):
                kept.append(os.memfd_create("kept"))
                for _ in range(50):
                    os.write(kept[-1], block)
            return x / 4
        """,
        elsewhere="it may take as much as there is",
    ),
    memory(
        "fills_dev_shm",
        "writes files to /dev/shm and /dev, which lie in memory",
        f"""
        def quarter(x):
            block = b"x" * 2**20
            for folder in ("/dev/shm", "/dev"):
                for number in range({TWO_GIB_AND_MORE} // 50):
                    with open(f"{{folder}}/{{number}}", "wb") as file:
                        for _ in range(50):
                            file.write(block)
            return x / 4
        """,
        elsewhere="it may take as much as there is",
    ),
    memory(
        "fills_the_disk",
        "writes files of any size wherever it can",
        """
        import os

        def quarter(x):
            block = b"x" * 2**20
            for folder in (".", "/tmp", "/var/tmp", os.path.expanduser("~")):
                for number in range(20):
                    with open(f"{folder}/large{number}", "wb") as file:
                        for _ in range(20):
                            file.write(block)
            return x / 4
        """,
        elsewhere="it may take as much as there is",
    ),
    memory(
        "memory_in_many_processes",
        "twelve processes that take a third of a gigabyte each",
        """
        import os, time

        def quarter(x):
            hear, tell = os.pipe()
            for _ in range(12):
                if os.fork() == 0:
                    kept = b"x" * (350 * 2**20)
                    os.write(tell, b"x")
                    time.sleep(60)
                    os._exit(0)
            for _ in range(12):
                os.read(hear, 1)
            return x / 4
        """,
        slow=True,
        elsewhere="it may take as much as there is",
    ),
]
