/* What the kernels of the benchmark program share. */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

/* Runs the kernel `repeats` times and returns a checksum of everything it computed. The checksum is the
 * same on every machine: no kernel depends on addresses, time, byte order or library arithmetic. */
typedef uint64_t kernel_function(uint64_t repeats);

#define KERNEL(name, class, repeats) kernel_function kernel_##name;
#include "kernels.h"
#undef KERNEL

#define NOINLINE __attribute__((noinline))

/* The argument with which `fork_exec` starts this program anew, and the status it then ends with. */
#define CHILD_ARGUMENT "exit"
#define CHILD_STATUS 7

/* Hides where a value comes from, so that the compiler cannot compute with it beforehand. */
static inline uint64_t opaque(uint64_t value) {
    __asm__ volatile("" : "+r"(value));
    return value;
}

/* Makes the compiler believe that memory is read and written here. */
static inline void touch_memory(const void *pointer) {
    __asm__ volatile("" : : "r"(pointer) : "memory");
}

static inline uint64_t rotate_left(uint64_t value, unsigned bits) {
    return value << bits | value >> (64 - bits);
}

/* Adds a value to a checksum; the order of additions matters. */
static inline uint64_t mix(uint64_t sum, uint64_t value) {
    return (rotate_left(sum, 7) ^ value) * UINT64_C(0x9e3779b97f4a7c15);
}

/* The bits of a floating-point result. */
static inline uint64_t bits_of(double value) {
    uint64_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* xorshift64*: the same numbers everywhere. The state must not be 0. */
static inline uint64_t next_random(uint64_t *state) {
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(0x2545f4914f6cdd1d);
}

/* Ends the program with a message when the machine refuses something a kernel needs. */
void require(int holds, const char *what);

#endif
