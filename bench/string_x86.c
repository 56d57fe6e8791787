/* String instructions of x86, each over a large and over a small piece of memory. */
#if defined(BENCH_X86) && defined(__x86_64__)
#include "bench.h"

#include <string.h>

enum { LARGE_BYTES = 1 << 20, SMALL_BYTES = 48 };
static uint8_t from[LARGE_BYTES], to[LARGE_BYTES];

static inline void move_bytes(uint8_t *target, const uint8_t *source, size_t count) {
    __asm__ volatile("rep movsb" : "+D"(target), "+S"(source), "+c"(count) : : "memory");
}

static inline void move_words(uint8_t *target, const uint8_t *source, size_t bytes) {
    size_t count = bytes / 8;
    __asm__ volatile("rep movsq" : "+D"(target), "+S"(source), "+c"(count) : : "memory");
}

static inline void store_bytes(uint8_t *target, uint8_t value, size_t count) {
    __asm__ volatile("rep stosb" : "+D"(target), "+c"(count) : "a"(value) : "memory");
}

/* Bytes before the first one that is zero. */
static inline size_t length_by_scan(const uint8_t *text) {
    size_t count = (size_t)-1;
    __asm__ volatile("repne scasb" : "+D"(text), "+c"(count) : "a"(0) : "memory", "cc");
    return ~count - 1;
}

/* Bytes that were compared when the first difference was found, or all. */
static inline size_t compare_bytes(const uint8_t *a, const uint8_t *b, size_t bytes) {
    size_t count = bytes;
    __asm__ volatile("repe cmpsb" : "+S"(a), "+D"(b), "+c"(count) : : "memory", "cc");
    return bytes - count;
}

static void fill_text(uint64_t seed) {
    for (size_t i = 0; i < LARGE_BYTES; i++) {
        from[i] = (uint8_t)(next_random(&seed) >> 57) | 1;
    }
}

static uint64_t sum_of(const uint8_t *bytes, size_t count) {
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i += 61) {
        sum = mix(sum, bytes[i]);
    }
    return sum;
}

/* rep_movsb: 1 MiB by bytes. */
uint64_t kernel_rep_movsb(uint64_t repeats) {
    fill_text(40);
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        from[repeat % LARGE_BYTES] ^= 0x40;
        move_bytes(to, from, LARGE_BYTES);
    }
    return sum_of(to, LARGE_BYTES);
}

/* rep_movsq: 1 MiB by quadwords. */
uint64_t kernel_rep_movsq(uint64_t repeats) {
    fill_text(41);
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        from[repeat % LARGE_BYTES] ^= 0x40;
        move_words(to, from, LARGE_BYTES);
    }
    return sum_of(to, LARGE_BYTES);
}

/* rep_stosb: 1 MiB set to a byte. */
uint64_t kernel_rep_stosb(uint64_t repeats) {
    uint64_t sum = 0;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        store_bytes(to, (uint8_t)repeat, LARGE_BYTES);
        sum = mix(sum, to[repeat % LARGE_BYTES]);
    }
    return sum;
}

/* rep_small: copies of 1 to 48 bytes, 1,000 a repeat. */
uint64_t kernel_rep_small(uint64_t repeats) {
    fill_text(42);
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        for (size_t i = 0; i < 1000; i++) {
            size_t at = (i * 509 + repeat) % (LARGE_BYTES - SMALL_BYTES);
            move_bytes(to + at, from + i, 1 + (i + repeat) % SMALL_BYTES);
        }
    }
    return sum_of(to, LARGE_BYTES);
}

/* scasb_cmpsb: the end of a text of 64 KiB looked for, and two of them compared up to a difference. */
uint64_t kernel_scasb_cmpsb(uint64_t repeats) {
    enum { TEXT_BYTES = 1 << 16 };
    uint64_t sum = 0;
    fill_text(43);
    memcpy(to, from, TEXT_BYTES);
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        size_t at = TEXT_BYTES / 2 + repeat * 7919 % (TEXT_BYTES / 2);
        uint8_t before = from[at];
        from[at] = 0;
        sum = mix(sum, length_by_scan(from) + compare_bytes(from, to, TEXT_BYTES));
        from[at] = before;
    }
    return sum;
}
#endif
