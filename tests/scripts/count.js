// Counts words in two worker threads, and shows the result through a child process.
const { Worker, isMainThread, parentPort, workerData } = require("worker_threads");
const fs = require("fs");
const { execFileSync } = require("child_process");

function count(lines) {
  const counts = new Map();
  for (const line of lines) for (const word of line.match(/\w+/g) ?? []) counts.set(word, (counts.get(word) ?? 0) + 1);
  return counts;
}

if (!isMainThread) {
  parentPort.postMessage(count(workerData));
} else {
  const lines = fs.readFileSync("/data/words.txt", "utf8").split("\n");
  const half = lines.length >> 1;
  const parts = [lines.slice(0, half), lines.slice(half)].map(
    (part) => new Promise((done, failed) => new Worker(__filename, { workerData: part }).on("message", done).on("error", failed)),
  );
  Promise.all(parts).then(([one, other]) => {
    for (const [word, number] of other) one.set(word, (one.get(word) ?? 0) + number);
    const top = [...one].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 3);
    const input = top.map(([word, number]) => `${number} ${word}\n`).join("");
    fs.writeFileSync(process.argv[2], execFileSync("cat", { input }));
  });
}
