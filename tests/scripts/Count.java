import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** Counts words in parallel, checks itself in a pool of threads, and shows the result through a child process. */
public class Count {
    public static void main(String[] arguments) throws Exception {
        List<String> lines = Files.readAllLines(Path.of("/data/words.txt"));
        Pattern word = Pattern.compile("\\w+");
        Map<String, Long> counts = lines.parallelStream()
            .flatMap(line -> word.matcher(line).results().map(MatchResult::group))
            .collect(Collectors.groupingByConcurrent(found -> found, Collectors.counting()));
        var pool = Executors.newFixedThreadPool(4);
        Future<Long> total = pool.submit(() -> counts.values().stream().mapToLong(Long::longValue).sum());
        if (total.get() < lines.size()) throw new AssertionError(total.get());
        pool.shutdown();
        String top = counts.entrySet().stream()
            .sorted(Map.Entry.<String, Long>comparingByValue(Comparator.reverseOrder()).thenComparing(Map.Entry.comparingByKey()))
            .limit(3)
            .map(entry -> entry.getValue() + " " + entry.getKey() + "\n")
            .collect(Collectors.joining());
        Process child = new ProcessBuilder("cat").redirectOutput(Path.of(arguments[0]).toFile()).start();
        child.getOutputStream().write(top.getBytes());
        child.getOutputStream().close();
        if (child.waitFor() != 0) throw new AssertionError("cat");
    }
}
