/* Integer kernels over data: checksums, sorting, tables, trees, searching, arithmetic. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

/* crc32: the table-driven CRC-32 of IEEE 802.3, a byte at a time, over 64 KiB. */

static uint32_t crc_step(const uint32_t table[256], uint32_t crc, uint8_t byte) {
    return table[(crc ^ byte) & 0xff] ^ crc >> 8;
}

uint64_t kernel_crc32(uint64_t repeats) {
    static uint32_t table[256];
    static uint8_t data[65536];
    uint64_t random = 1;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? crc >> 1 ^ UINT32_C(0xedb88320) : crc >> 1;
        }
        table[i] = crc;
    }
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(next_random(&random) >> 56);
    }
    uint32_t crc = 0xffffffff;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        for (size_t i = 0; i < sizeof data; i++) {
            crc = crc_step(table, crc, data[i]);
        }
    }
    return crc;
}

/* sha256: FIPS 180-4, 6.2, over 16 KiB in 64-byte blocks; each pass continues from the last state. */

static const uint32_t sha256_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate_right_32(uint32_t value, unsigned bits) {
    return value >> bits | value << (32 - bits);
}

static void sha256_block(uint32_t state[8], const uint8_t block[64]) {
    uint32_t w[64];
    for (int i = 0; i < 16; i++) {
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    }
    for (int i = 16; i < 64; i++) {
        uint32_t s0 = rotate_right_32(w[i - 15], 7) ^ rotate_right_32(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = rotate_right_32(w[i - 2], 17) ^ rotate_right_32(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 64; i++) {
        uint32_t s1 = rotate_right_32(e, 6) ^ rotate_right_32(e, 11) ^ rotate_right_32(e, 25);
        uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + sha256_constants[i] + w[i];
        uint32_t s0 = rotate_right_32(a, 2) ^ rotate_right_32(a, 13) ^ rotate_right_32(a, 22);
        uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + t2;
    }
    uint32_t sums[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; i++) {
        state[i] += sums[i];
    }
}

uint64_t kernel_sha256(uint64_t repeats) {
    static uint8_t data[16384];
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint64_t random = 2;
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(next_random(&random) >> 56);
    }
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        for (size_t i = 0; i < sizeof data; i += 64) {
            sha256_block(state, data + i);
        }
    }
    uint64_t sum = 0;
    for (int i = 0; i < 8; i++) {
        sum = mix(sum, state[i]);
    }
    return sum;
}

/* sort: quicksort (middle pivot) with insertion sort below 16 elements, 10,000 random words. */

static void insertion_sort(uint32_t *values, long count) {
    for (long i = 1; i < count; i++) {
        uint32_t value = values[i];
        long j = i;
        for (; j > 0 && values[j - 1] > value; j--) {
            values[j] = values[j - 1];
        }
        values[j] = value;
    }
}

static void quicksort(uint32_t *values, long count) {
    while (count > 16) {
        uint32_t pivot = values[count / 2];
        long low = 0;
        long high = count - 1;
        while (low <= high) {
            while (values[low] < pivot) {
                low++;
            }
            while (values[high] > pivot) {
                high--;
            }
            if (low <= high) {
                uint32_t swap = values[low];
                values[low++] = values[high];
                values[high--] = swap;
            }
        }
        if (high + 1 < count - low) {
            quicksort(values, high + 1);
            values += low;
            count -= low;
        } else {
            quicksort(values + low, count - low);
            count = high + 1;
        }
    }
    insertion_sort(values, count);
}

uint64_t kernel_sort(uint64_t repeats) {
    enum { COUNT = 10000 };
    static uint32_t values[COUNT];
    uint64_t random = 3;
    uint64_t sum = 0;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        for (int i = 0; i < COUNT; i++) {
            values[i] = (uint32_t)(next_random(&random) >> 32);
        }
        quicksort(values, COUNT);
        for (int i = 0; i < COUNT; i += 97) {
            sum = mix(sum, values[i]);
        }
    }
    return sum;
}

/* sieve: Eratosthenes over 256 Ki bytes. */

uint64_t kernel_sieve(uint64_t repeats) {
    enum { LIMIT = 1 << 18 };
    static uint8_t composite[LIMIT];
    uint64_t sum = 0;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        uint32_t limit = LIMIT - (uint32_t)(repeat % 64);
        memset(composite, 0, limit);
        uint64_t primes = 0;
        for (uint32_t i = 2; i < limit; i++) {
            if (composite[i]) {
                continue;
            }
            primes++;
            for (uint64_t j = (uint64_t)i * i; j < limit; j += i) {
                composite[j] = 1;
            }
        }
        sum = mix(sum, primes);
    }
    return sum;
}

/* int_matrix: product of 64 x 64 matrices of 32-bit integers. */

uint64_t kernel_int_matrix(uint64_t repeats) {
    enum { N = 64 };
    static uint32_t a[N][N], b[N][N], c[N][N];
    uint64_t random = 4;
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            a[i][j] = (uint32_t)next_random(&random);
            b[i][j] = (uint32_t)next_random(&random);
        }
    }
    uint64_t sum = 0;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        for (int i = 0; i < N; i++) {
            for (int j = 0; j < N; j++) {
                uint32_t dot = 0;
                for (int k = 0; k < N; k++) {
                    dot += a[i][k] * b[k][j];
                }
                c[i][j] = dot;
            }
        }
        a[repeat % N][repeat / N % N] ^= c[repeat / N % N][repeat % N];
        sum = mix(sum, c[repeat % N][N - 1]);
    }
    return sum;
}

/* hash_table: open addressing with linear probing, 64 Ki slots; inserts and look-ups. */

uint64_t kernel_hash_table(uint64_t repeats) {
    enum { SLOTS = 1 << 16, KEYS = SLOTS / 2 };
    static uint64_t keys[SLOTS], values[SLOTS];
    uint64_t sum = 0;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        memset(keys, 0, sizeof keys);
        uint64_t random = 5 + repeat;
        for (int i = 0; i < KEYS; i++) {
            uint64_t key = next_random(&random) | 1;
            uint64_t slot = key * UINT64_C(0x9e3779b97f4a7c15) >> 48;
            while (keys[slot] != 0 && keys[slot] != key) {
                slot = (slot + 1) % SLOTS;
            }
            keys[slot] = key;
            values[slot] = (uint64_t)i;
        }
        /* Every other key looked for is not there. */
        random = 5 + repeat;
        uint64_t found = 0;
        for (int i = 0; i < KEYS; i++) {
            uint64_t key = (next_random(&random) | 1) ^ (uint64_t)(i & 1) << 40;
            uint64_t slot = key * UINT64_C(0x9e3779b97f4a7c15) >> 48;
            while (keys[slot] != 0 && keys[slot] != key) {
                slot = (slot + 1) % SLOTS;
            }
            found += keys[slot] == key ? values[slot] : 1;
        }
        sum = mix(sum, found);
    }
    return sum;
}

/* binary_tree: an unbalanced search tree of 4,096 random keys from malloc, walked, searched, freed. */

struct node {
    struct node *child[2];
    uint32_t key;
};

static struct node *tree_insert(struct node *root, uint32_t key) {
    struct node **at = &root;
    while (*at != NULL && (*at)->key != key) {
        at = &(*at)->child[key > (*at)->key];
    }
    if (*at == NULL) {
        *at = calloc(1, sizeof **at);
        require(*at != NULL, "calloc");
        (*at)->key = key;
    }
    return root;
}

static uint64_t tree_sum(const struct node *node, uint64_t depth) {
    if (node == NULL) {
        return 0;
    }
    return node->key * depth + tree_sum(node->child[0], depth + 1) + tree_sum(node->child[1], depth + 1);
}

static void tree_free(struct node *node) {
    if (node != NULL) {
        tree_free(node->child[0]);
        tree_free(node->child[1]);
        free(node);
    }
}

uint64_t kernel_binary_tree(uint64_t repeats) {
    uint64_t sum = 0;
    uint64_t random = 6;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        struct node *root = NULL;
        for (int i = 0; i < 4096; i++) {
            root = tree_insert(root, (uint32_t)(next_random(&random) >> 40));
        }
        uint64_t hits = 0;
        for (int i = 0; i < 4096; i++) {
            uint32_t key = (uint32_t)(next_random(&random) >> 40);
            const struct node *node = root;
            while (node != NULL && node->key != key) {
                node = node->child[key > node->key];
                hits++;
            }
        }
        sum = mix(sum, tree_sum(root, 1) + hits);
        tree_free(root);
    }
    return sum;
}

/* string_search: Boyer-Moore-Horspool over 64 KiB of letters, patterns of 3 to 18 letters. */

static uint64_t horspool(const uint8_t *text, size_t length, const uint8_t *pattern, size_t size) {
    uint16_t skip[256];
    uint64_t matches = 0;
    for (int i = 0; i < 256; i++) {
        skip[i] = (uint16_t)size;
    }
    for (size_t i = 0; i + 1 < size; i++) {
        skip[pattern[i]] = (uint16_t)(size - 1 - i);
    }
    for (size_t at = 0; at + size <= length; at += skip[text[at + size - 1]]) {
        size_t i = size;
        while (i > 0 && text[at + i - 1] == pattern[i - 1]) {
            i--;
        }
        matches += i == 0;
    }
    return matches;
}

uint64_t kernel_string_search(uint64_t repeats) {
    static uint8_t text[65536];
    uint64_t random = 7;
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (uint8_t)('a' + (next_random(&random) >> 32) % 6);
    }
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        size_t size = 3 + repeat % 16;
        size_t from = (next_random(&random) >> 32) % (sizeof text - size);
        sum = mix(sum, horspool(text, sizeof text, text + from, size));
    }
    return sum;
}

#ifdef __SIZEOF_INT128__
/* multiply_divide: 64- and 32-bit products, high halves, quotients and remainders, signed and not. */

uint64_t kernel_multiply_divide(uint64_t repeats) {
    uint64_t sum = 0;
    uint64_t random = 8;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        for (int i = 0; i < 256; i++) {
            uint64_t a = next_random(&random);
            uint64_t b = (a >> (i % 48)) | 1;
            int64_t c = (int64_t)rotate_left(a, 21);
            sum += (uint64_t)((unsigned __int128)a * b >> 64);
            sum += (uint64_t)((__int128)c * (int64_t)(b >> 1) >> 64);
            sum ^= a / b + a % (b >> 7 | 1);
            sum += (uint64_t)(c / (int64_t)(b >> 2 | 1)) * 3;
            sum ^= (uint32_t)a / ((uint32_t)b | 1) + (uint64_t)((int32_t)a % 1000003);
        }
    }
    return sum;
}
#endif

/* vector_loops: loops over arrays that compilers turn into vector instructions: sums, sums of absolute
 * differences, saturation, minimum and maximum, widening, over 4,096 elements. */

enum { LENGTH = 4096 };
static uint8_t bytes_a[LENGTH], bytes_b[LENGTH], bytes_c[LENGTH];
static uint16_t halves[LENGTH];
static uint32_t words_a[LENGTH], words_b[LENGTH], words_c[LENGTH];

static NOINLINE void add_words(void) {
    for (int i = 0; i < LENGTH; i++) {
        words_c[i] = words_a[i] + 3 * words_b[i];
    }
}

static NOINLINE void saturate_bytes(void) {
    for (int i = 0; i < LENGTH; i++) {
        unsigned total = (unsigned)bytes_a[i] + bytes_b[i];
        bytes_c[i] = (uint8_t)(total > 255 ? 255 : total);
    }
}

static NOINLINE uint32_t absolute_differences(void) {
    uint32_t sum = 0;
    for (int i = 0; i < LENGTH; i++) {
        int difference = bytes_a[i] - bytes_b[i];
        sum += (uint32_t)(difference < 0 ? -difference : difference);
    }
    return sum;
}

static NOINLINE void widen(void) {
    for (int i = 0; i < LENGTH; i++) {
        halves[i] = (uint16_t)(bytes_a[i] * bytes_c[i]);
    }
}

static NOINLINE uint32_t largest_word(void) {
    uint32_t largest = 0;
    for (int i = 0; i < LENGTH; i++) {
        largest = words_c[i] > largest ? words_c[i] : largest;
    }
    return largest;
}

uint64_t kernel_vector_loops(uint64_t repeats) {
    uint64_t random = 9;
    uint64_t sum = 0;
    for (int i = 0; i < LENGTH; i++) {
        uint64_t value = next_random(&random);
        bytes_a[i] = (uint8_t)value;
        bytes_b[i] = (uint8_t)(value >> 8);
        words_a[i] = (uint32_t)(value >> 16);
        words_b[i] = (uint32_t)(value >> 32);
    }
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        add_words();
        saturate_bytes();
        widen();
        sum = mix(sum, absolute_differences() + (uint64_t)largest_word() + halves[repeat % LENGTH]);
        words_a[repeat % LENGTH] = (uint32_t)sum;
        bytes_b[repeat % LENGTH] = (uint8_t)(sum >> 32);
    }
    return sum;
}
