/* Memory kernels: copies, pointer chases, stores that touch many pages. */
#include "bench.h"

#include <string.h>
#include <sys/mman.h>

enum { PAGE_BYTES = 4096, COPY_BYTES = 1 << 20 };

static uint8_t *map_bytes(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(memory != MAP_FAILED, "mmap");
    return memory;
}

static void fill(uint8_t *memory, size_t bytes, uint64_t seed) {
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t value = next_random(&seed);
        memcpy(memory + i, &value, 8);
    }
}

static uint64_t sum_words(const uint8_t *memory, size_t bytes) {
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t value = 0;
        for (int byte = 7; byte >= 0; byte--) {
            value = value << 8 | memory[i + (size_t)byte];
        }
        sum = mix(sum, value);
    }
    return sum;
}

/* copy_small: 1 to 256 bytes between unaligned places of two 16 KiB buffers. */

uint64_t kernel_copy_small(uint64_t repeats) {
    enum { BYTES = 16384 };
    uint8_t *from = map_bytes(2 * BYTES);
    uint8_t *to = from + BYTES;
    uint64_t random = 11;
    fill(from, BYTES, 12);
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        for (int i = 0; i < 256; i++) {
            uint64_t value = next_random(&random);
            size_t size = 1 + (value & 255);
            size_t source = (value >> 8) % (BYTES - 256);
            size_t target = (value >> 32) % (BYTES - 256);
            memcpy(to + target, from + source, opaque(size));
        }
        from[random % BYTES] = to[repeat % BYTES];
    }
    uint64_t sum = sum_words(to, BYTES);
    munmap(from, 2 * BYTES);
    return sum;
}

/* One MiB copied there and back, the two places `distance` bytes apart. */
static uint64_t copy_back_and_forth(size_t distance, uint64_t repeats) {
    size_t bytes = distance + COPY_BYTES;
    uint8_t *first = map_bytes(bytes);
    uint8_t *second = first + distance;
    fill(first, COPY_BYTES, 13);
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        memcpy(second, first, COPY_BYTES);
        second[repeat * 8 % COPY_BYTES] += 1;
        touch_memory(second);
        memcpy(first, second, COPY_BYTES);
        touch_memory(first);
    }
    uint64_t sum = sum_words(first, COPY_BYTES);
    munmap(first, bytes);
    return sum;
}

/* copy_large: the two places do not alias. */
uint64_t kernel_copy_large(uint64_t repeats) {
    return copy_back_and_forth(COPY_BYTES + 37 * PAGE_BYTES, repeats);
}

/* copy_aliased: the same at a distance of 64 MiB, equal modulo every TLB of up to 16,384 pages. */
uint64_t kernel_copy_aliased(uint64_t repeats) {
    return copy_back_and_forth(64 << 20, repeats);
}

/* chase_*: pointers in one random cycle through all 64-byte lines of a buffer (Sattolo's shuffle). */

static uint64_t chase(size_t bytes, uint64_t repeats) {
    enum { LINE_BYTES = 64, STEPS = 65536, MOST_LINES = (4 << 20) / LINE_BYTES };
    static uint32_t order[MOST_LINES];
    size_t lines = bytes / LINE_BYTES;
    uint8_t *memory = map_bytes(bytes);
    uint64_t random = 14;
    for (size_t i = 0; i < lines; i++) {
        order[i] = (uint32_t)i;
    }
    for (size_t i = lines - 1; i > 0; i--) {
        size_t j = (next_random(&random) >> 32) % i;
        uint32_t swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    for (size_t i = 0; i < lines; i++) {
        *(void **)(memory + i * LINE_BYTES) = memory + (size_t)order[i] * LINE_BYTES;
    }
    uint64_t sum = 0;
    void **at = (void **)memory;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        for (int step = 0; step < STEPS + 1; step++) {
            at = *at;
        }
        sum = mix(sum, (uint64_t)((uint8_t *)at - memory));
    }
    munmap(memory, bytes);
    return sum;
}

uint64_t kernel_chase_16k(uint64_t repeats) {
    return chase(16 << 10, repeats);
}

uint64_t kernel_chase_4m(uint64_t repeats) {
    return chase(4 << 20, repeats);
}

/* page_stores: one 8-byte store in each page of 16 MiB, another line of the page each time, so that
 * translation is the work and not one set of the host's cache. */

uint64_t kernel_page_stores(uint64_t repeats) {
    enum { BYTES = 16 << 20, PAGES = BYTES / PAGE_BYTES };
    uint8_t *memory = map_bytes(BYTES);
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        for (uint64_t page = 0; page < PAGES; page++) {
            uint64_t line = (page + repeat) % 64;
            *(volatile uint64_t *)(memory + page * PAGE_BYTES + line * 64) = page ^ repeat;
        }
    }
    uint64_t sum = 0;
    for (uint64_t page = 0; page < PAGES; page++) {
        for (uint64_t line = 0; line < 64; line++) {
            sum = mix(sum, *(uint64_t *)(memory + page * PAGE_BYTES + line * 64));
        }
    }
    munmap(memory, BYTES);
    return sum;
}
