"""Signals, other processes, and limits of time."""

from __future__ import annotations

from tests.redteam.attack import family

processes = family("processes")

ATTACKS = [
    processes(
        "ignores_time_limit",
        "ignores the signal of the limit on CPU time, and takes its limits off",
        """
        import resource, signal, time

        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        resource.setrlimit = lambda *a: None

        def quarter(x):
            signal.signal(signal.SIGXCPU, signal.SIG_IGN)
            _, most = resource.getrlimit(resource.RLIMIT_CPU)
            while time.process_time() < 25:
                pass
            return x / 4
        """,
        slow=True,
        # There is no such limit there: it answers right.
        elsewhere="there is no limit on CPU time",
    ),
    processes(
        "hops_from_process_to_process",
        "works on in a child whenever its CPU time is nearly used up",
        """
        import os, time

        def quarter(x):
            for _ in range(10):
                child = os.fork()
                if child == 0:
                    while time.process_time() < 3:
                        pass
                    os._exit(0)
                os.waitpid(child, 0)
            return x / 4
        """,
        slow=True,
        elsewhere="there is no limit on CPU time",
    ),
    processes(
        "stops_its_parent",
        "stops the processes above it, so that nobody is told of its end",
        """
        import os, signal, time

        def quarter(x):
            for process in (os.getppid(), 1, 2):
                if process != os.getpid():
                    try:
                        os.kill(process, signal.SIGSTOP)
                    except OSError:
                        pass
            return x
        """,
        slow=True,
    ),
    processes(
        "signals_its_group",
        "sends signals to its process group and session",
        """
        import os, signal

        def quarter(x):
            for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM, signal.SIGKILL):
                os.killpg(0, number)
            return x
        """,
    ),
    processes(
        "sets_alarms",
        "alarms and timers end the process a moment later",
        """
        import os, signal

        def quarter(x):
            signal.signal(signal.SIGALRM, lambda *a: os._exit(0))
            signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
            while True:
                pass
        """,
    ),
    processes(
        "steps_back_behind_others",
        "gives itself the lowest priority, to hold a worker for long on a busy machine",
        """
        import os

        def quarter(x):
            os.nice(19)
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            while True:
                pass
        """,
    ),
    processes(
        "traces_its_parent",
        "attaches to its parent with ptrace and process_vm_writev",
        """
        import ctypes, os

        def quarter(x):
            libc = ctypes.CDLL(None)
            for process in (os.getppid(), 1, 2):
                if libc.ptrace(16, process, 0, 0) == 0:
                    raise ValueError("attached" + f"-{process}")
            return x
        """,
        forbidden=("attached-",),
    ),
    processes(
        "writes_parents_memory",
        "writes over the heap of the process above it",
        """
        import os

        def quarter(x):
            parent = os.getppid()
            with open(f"/proc/{parent}/maps") as maps:
                heap = next(line for line in maps if "[heap]" in line)
            begin = int(heap.split("-")[0], 16)
            with open(f"/proc/{parent}/mem", "r+b", 0) as memory:
                memory.seek(begin)
                memory.write(b"\\x41" * 2**20)
            return x
        """,
        slow=True,
    ),
    processes(
        "leaves_a_daemon",
        "leaves a process of a session of its own behind, which writes and waits",
        """
        import os, time

        def quarter(x):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    for second in range(60):
                        for folder in ("/tmp", "/var/tmp", os.path.expanduser("~")):
                            try:
                                open(f"{folder}/GRAFFITI", "w").close()
                            except OSError:
                                pass
                        time.sleep(1)
                os._exit(0)
            return x
        """,
    ),
    processes(
        "leaves_processes_in_cells",
        "its cell leaves processes behind that compute and fork while others are judged",
        """
        import os, time

        for _ in range(3):
            if os.fork() == 0:
                os.setsid()
                end = time.time() + 60
                while time.time() < end:
                    time.sleep(0.5)
                os._exit(0)

        def quarter(x):
            return x
        """,
    ),
    processes(
        "many_threads",
        "starts 500 threads",
        """
        import threading, time

        def quarter(x):
            for _ in range(500):
                threading.Thread(target=time.sleep, args=(20,), daemon=True).start()
            time.sleep(1)
            return x
        """,
        slow=True,
    ),
    processes(
        "closes_everything",
        "closes every descriptor, and puts files in their place",
        """
        import os

        def quarter(x):
            for number in range(256):
                try:
                    os.close(number)
                except OSError:
                    pass
            for _ in range(64):
                os.open("/dev/null", os.O_RDWR)
            return x
        """,
    ),
    processes(
        "crashes",
        "writes to address zero",
        """
        import ctypes

        def quarter(x):
            ctypes.memset(0, 0, 64)
        """,
    ),
    processes(
        "runs_programs",
        "runs programs of the system",
        """
        import os, subprocess

        def quarter(x):
            graffiti = "touch /tmp/GRAFFITI ~/GRAFFITI"
            for command in ("shutdown -h now", graffiti, "crontab -r", "sync"):
                subprocess.run(command, shell=True, timeout=5)
            return x
        """,
    ),
]
