"""Imports and builds what takes its time, says that it is ready, and tells the host what it is: through libstrait, with nothing but ctypes."""
import collections, ctypes, decimal, email.message, hashlib, json, os, random, re, sqlite3, sys, xml.dom.minidom

table = {number: str(number * number) for number in range(50_000)}
script = open(__file__)
first = script.readline()

strait = ctypes.CDLL("/strait/libstrait.so")
strait.strait_last_error.restype = ctypes.c_char_p


def call(name, *arguments):
    result = getattr(strait, name)(*arguments)
    if result < 0:
        sys.exit(f"{name}: {strait.strait_last_error().decode()}")
    return result


is_clone = call("strait_checkpoint")
if is_clone:
    # What was random before is the same in every clone.
    random.seed(os.urandom(16))
client, host = ctypes.c_void_p(), ctypes.c_uint64()
call("strait_open", ctypes.byref(client))
call("strait_resolve", client, b"host", ctypes.byref(host))
# Memory grows and shrinks, files and libraries work, and the file that was open is where it was.
table.update((number, str(number)) for number in range(100_000, 400_000))
numbers = list(range(1_000_000))
del numbers
rest = script.readline()
database = sqlite3.connect("/tmp/clone.db")
database.execute("create table t (n integer)")
assert hashlib.sha256(b"").hexdigest().startswith("e3b0c442") and re.match(r"\w+", "word")
text = json.dumps(
    {"is_clone": is_clone, "pid": os.getpid(), "rows": len(table), "random": random.random(), "line": rest, "hash": hash("x")}
).encode()
call("strait_send", client, host, text, ctypes.c_size_t(len(text)), -1, None)
strait.strait_close(client)
