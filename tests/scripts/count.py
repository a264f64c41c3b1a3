"""Counts words with a pool of threads, a child process, a database and a call into C."""
import collections, concurrent.futures, ctypes, json, re, sqlite3, subprocess, sys

with open("/data/words.txt") as file:
    lines = file.read().splitlines()
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    counts = sum(pool.map(lambda line: collections.Counter(re.findall(r"\w+", line)), lines), collections.Counter())
database = sqlite3.connect("/tmp/counts.db")
database.execute("create table counts (word text primary key, number integer)")
database.executemany("insert into counts values (?, ?)", counts.items())
database.commit()
top = database.execute("select number, word from counts order by number desc, word limit 3").fetchall()
assert ctypes.CDLL(None).abs(-42) == 42 and json.loads(json.dumps(top))[0][1] == top[0][1]
shown = subprocess.run(["cat"], input="".join(f"{number} {word}\n" for number, word in top), text=True, capture_output=True, check=True)
open(sys.argv[1], "w").write(shown.stdout)
