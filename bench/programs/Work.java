import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.zip.CRC32;

/** java: records, sealed types, generics, streams, collections, strings, arithmetic. */
public final class Work {
    sealed interface Shape permits Circle, Box, Group {}

    record Circle(int radius) implements Shape {}

    record Box(int width, int height) implements Shape {}

    record Group(List<Shape> members) implements Shape {}

    static long area(Shape shape) {
        return switch (shape) {
            case Circle(int radius) -> 355L * radius * radius / 113;
            case Box(int width, int height) -> (long) width * height;
            case Group(List<Shape> members) -> members.stream().mapToLong(Work::area).sum();
        };
    }

    static final class Cache<K extends Comparable<K>, V> {
        private final Map<K, V> known = new HashMap<>();
        private final Function<? super K, ? extends V> make;
        private int misses;

        Cache(Function<? super K, ? extends V> make) {
            this.make = make;
        }

        V get(K key) {
            return known.computeIfAbsent(key, k -> {
                misses++;
                return make.apply(k);
            });
        }
    }

    static int queens(int n, int row, int columns, int left, int right) {
        if (row == n) {
            return 1;
        }
        int total = 0;
        for (int free = ~(columns | left | right) & ((1 << n) - 1); free != 0; free &= free - 1) {
            int bit = free & -free;
            total += queens(n, row + 1, columns | bit, (left | bit) << 1, (right | bit) >> 1);
        }
        return total;
    }

    static Map<String, Integer> words(int count) {
        Map<String, Integer> counts = new TreeMap<>();
        int state = 1;
        for (int i = 0; i < count; i++) {
            state = state * 1103515245 + 12345;
            String word = "" + (char) ('a' + (state >>> 8) % 26) + (char) ('a' + (state >>> 18) % 26);
            counts.merge(word, 1, Integer::sum);
        }
        return counts;
    }

    static double[][] product(double[][] a, double[][] b) {
        int n = a.length;
        double[][] out = new double[n][n];
        for (int i = 0; i < n; i++) {
            for (int k = 0; k < n; k++) {
                double value = a[i][k];
                for (int j = 0; j < n; j++) {
                    out[i][j] += value * b[k][j];
                }
            }
        }
        return out;
    }

    enum Operation implements BiFunction<Long, Long, Long> {
        ADD { public Long apply(Long a, Long b) { return a + b; } },
        MULTIPLY { public Long apply(Long a, Long b) { return a * b; } },
        XOR { public Long apply(Long a, Long b) { return a ^ b; } };
    }

    public static void main(String[] arguments) {
        List<Shape> shapes = new ArrayList<>();
        for (int i = 0; i < 3000; i++) {
            shapes.add(i % 3 == 0 ? new Circle(i) : new Box(i, i + 1));
        }
        System.out.println(area(new Group(shapes)));

        Cache<Integer, String> cache = new Cache<>(key -> "value " + key * 31);
        long length = 0;
        for (int i = 0; i < 200000; i++) {
            length += cache.get(i * 7919 % 1009).length();
        }
        System.out.println(length + " " + cache.misses);
        System.out.println(queens(10, 0, 0, 0, 0));

        System.out.println(words(200000).entrySet().stream()
            .sorted(Map.Entry.<String, Integer>comparingByValue(Comparator.reverseOrder()).thenComparing(Map.Entry.comparingByKey()))
            .limit(5)
            .map(entry -> entry.getKey() + "=" + entry.getValue())
            .collect(Collectors.joining(", ")));

        double[][] matrix = new double[120][120];
        for (int i = 0; i < matrix.length; i++) {
            for (int j = 0; j < matrix.length; j++) {
                matrix[i][j] = (i * 31 + j * 17) % 10;
            }
        }
        for (int i = 0; i < 4; i++) {
            double[][] squared = product(matrix, matrix);
            for (int j = 0; j < matrix.length; j++) {
                for (int k = 0; k < matrix.length; k++) {
                    matrix[j][k] = squared[j][k] % 10;
                }
            }
        }
        System.out.println(matrix[3][5] + matrix[100][7]);

        long value = 1;
        for (int i = 0; i < 100000; i++) {
            value = Operation.values()[i % 3].apply(value, (long) i | 1);
        }
        System.out.println(value);

        CRC32 sum = new CRC32();
        sum.update(IntStream.range(0, 50000).mapToObj(Integer::toHexString).collect(Collectors.joining("-")).getBytes());
        System.out.println(Long.toHexString(sum.getValue()));
    }
}
