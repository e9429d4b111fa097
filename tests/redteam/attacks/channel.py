"""Messages to the judge, forged by the student's code on the descriptors that it finds."""

from __future__ import annotations

from tests.redteam.attack import NOTHING, code, family

channel = family("forged messages")

# Finds the sockets of the process, and writes whole messages as the worker would.
FORGE = code("""
    import contextlib, json, os, stat, struct, threading, time
    import torch

    def sockets():
        for number in range(3, 64):
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(os.fstat(number).st_mode):
                    yield number

    def frame(tree, tensors=b"\\x02\\0\\0\\0\\0\\0\\0\\0{}"):
        text = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
        body = struct.pack("<Q", len(text)) + text + tensors
        return struct.pack("<Q", len(body)) + body

    def shout(data):
        for number in sockets():
            with contextlib.suppress(OSError):
                os.write(number, data)

    def pairs(**items):
        return {"$": "dict", "items": [[name, item] for name, item in items.items()]}

    def tensors(header, data=b""):
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data

    TENSOR = {"$": "tensor", "data": "t0"}
""")


def forged(name: str, tries: str, body: str, **more: object) -> object:
    """An answer that first does `body`."""
    return channel(name, tries, f"{FORGE}\n{code(body)}", **more)


ATTACKS = [
    forged(
        "forged_score",
        "a thread writes a score on every socket, again and again",
        """
        def babble():
            for _ in range(200):
                shout(frame(pairs(points=2.0, passed=True, name="quarter")))
                time.sleep(0.005)

        def quarter(x):
            threading.Thread(target=babble, daemon=True).start()
            time.sleep(0.3)
            return x
        """,
    ),
    forged(
        "forged_text_score",
        "writes its score as plain text on every descriptor",
        """
        def quarter(x):
            for number in range(64):
                with contextlib.suppress(OSError):
                    os.write(number, b'{"points": 2.0, "max_points": 2.0}\\n')
            return x
        """,
    ),
    forged(
        "forged_reply",
        "sends a reply of its own before the real one",
        """
        def quarter(x):
            shout(frame(pairs(error=None, result=True)))
            return x
        """,
    ),
    forged(
        "forged_length",
        "announces a message of 2^63 bytes",
        """
        def quarter(x):
            shout(struct.pack("<Q", 2**63) + b"x")
            time.sleep(0.2)
            return x
        """,
    ),
    forged(
        "forged_trickle",
        "announces a long message and sends a byte a second",
        """
        def quarter(x):
            shout(struct.pack("<Q", 2**20))
            while True:
                shout(b"x")
                time.sleep(1)
        """,
        slow=True,
    ),
    forged(
        "lying_shape",
        "a tensor whose header claims 2^40 elements and whose data has four bytes",
        """
        def quarter(x):
            header = {"t0": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}
            shout(frame(pairs(error=None, result=TENSOR), tensors(header, b"1234")))
            os._exit(0)
        """,
    ),
    forged(
        "lying_offsets",
        "a tensor whose data begins far outside of the message",
        """
        def quarter(x):
            header = {"t0": {"dtype": "F32", "shape": [3], "data_offsets": [2**62, 2**62 + 12]}}
            shout(frame(pairs(error=None, result=TENSOR), tensors(header, b"0" * 12)))
            os._exit(0)
        """,
    ),
    forged(
        "lying_negative",
        "a tensor with a negative size, and one whose size overflows",
        """
        def quarter(x):
            for shape in ([-3], [2**32, 2**32, 2**32]):
                header = {"t0": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}
                shout(frame(pairs(error=None, result=TENSOR), tensors(header)))
            os._exit(0)
        """,
    ),
    forged(
        "lying_header",
        "a header of tensors that claims to be longer than the message",
        """
        def quarter(x):
            shout(frame(pairs(error=None, result=TENSOR), struct.pack("<Q", 2**60) + b"{}"))
            os._exit(0)
        """,
    ),
    forged(
        "deep_message",
        "a message nested 100,000 lists deep",
        """
        def quarter(x):
            shout(frame(b"[" * 100_000 + b"]" * 100_000))
            os._exit(0)
        """,
    ),
    forged(
        "colliding_keys",
        "a dictionary with 400,000 keys that all hash alike, to stall the judge for an hour",
        """
        def quarter(x):
            items = [[k * (2**61 - 1), 0] for k in range(400_000)]
            shout(frame(pairs(error=None, result={"$": "dict", "items": items})))
            os._exit(0)
        """,
    ),
    forged(
        "layer_bomb",
        "a model of 100,000 layers, to fill the judge's memory",
        """
        def quarter(x):
            children = [[str(k), {"class": "ReLU", "config": {}}] for k in range(100_000)]
            model = {"class": "Sequential", "children": children}
            shout(frame(pairs(error=None, result={
                "$": "module", "structure": model, "state": {}, "training": {"": True}})))
            os._exit(0)
        """,
    ),
    forged(
        "wide_layer",
        "a model with a layer of 10^12 by 10^12 weights, and a window of a million",
        """
        def quarter(x):
            structures = [
                ("Linear", {"in_features": 10**12, "out_features": 10**12}),
                ("Conv2d", {"in_channels": 1, "out_channels": 1, "kernel_size": 10**6}),
                ("LeNet", {"conv1": 10**9, "conv2": 10**9, "fc1": 10**9}),
            ]
            for name, config in structures:
                shout(frame(pairs(error=None, result={
                    "$": "module", "structure": {"class": name, "config": config},
                    "state": {}, "training": {"": True}})))
            os._exit(0)
        """,
    ),
    forged(
        "forbidden_class",
        "asks the judge to build a class of its choice",
        """
        def quarter(x):
            for name in ("os.system", "__import__", "DataParallel", "Module"):
                shout(frame(pairs(error=None, result={
                    "$": "module", "structure": {"class": name, "config": {}},
                    "state": {}, "training": {"": True}})))
            shout(frame(pairs(error=None, result={"$": "message", "data": "x"})))
            os._exit(0)
        """,
    ),
    forged(
        "half_characters",
        "the name of a type with half characters and colour codes, which no file can hold",
        """
        def quarter(x):
            shout(frame(pairs(error=None, result={
                "$": "handle", "id": 0, "type": "\\ud800\\x1b[31m<script>alert(1)</script>"})))
            os._exit(0)
        """,
        forbidden=("\x1b[31m", "<script>alert(1)"),
    ),
    forged(
        "passed_descriptors",
        "passes the judge a hundred open files along with its reply",
        """
        import socket

        def quarter(x):
            for number in sockets():
                with contextlib.suppress(OSError):
                    socket.send_fds(socket.socket(fileno=os.dup(number)), [b"x"], [0] * 100)
            return x
        """,
    ),
    forged(
        "forged_end",
        "says in the name of the worker that all cells are done, and ends the process",
        """
        shout(frame(pairs(finished=True)))
        os._exit(0)
        """,
        # They speak for their own notebook, and say that nothing more will come of it.
        deserves=NOTHING,
        slow=True,
    ),
]
