/* Integer kernels of control flow: a computed-goto interpreter, indirect calls, recursion. */
#include "bench.h"

/* interpreter: a stack machine whose operations jump to each other through a table of labels. Its
 * program counts down from 1,000 and mixes a sum. */

enum operation { PUSH, LOAD, STORE, ADD, SUB, XOR, SHIFT, MULTIPLY, DUP, SWAP, JUMP_UNLESS_ZERO, HALT };

static NOINLINE uint64_t interpret(const uint8_t *program, uint64_t locals[4]) {
    static const void *const labels[] = {&&push, &&load, &&store,    &&add, &&sub,  &&xor,
                                         &&shift, &&multiply, &&dup, &&swap, &&jump_unless_zero,
                                         &&halt};
    uint64_t stack[16];
    uint64_t *top = stack;
    const uint8_t *at = program;
#define NEXT goto *labels[*at++]
    NEXT;
push:
    *top++ = *at++;
    NEXT;
load:
    *top++ = locals[*at++];
    NEXT;
store:
    locals[*at++] = *--top;
    NEXT;
add:
    top--;
    top[-1] += top[0];
    NEXT;
sub:
    top--;
    top[-1] -= top[0];
    NEXT;
xor:
    top--;
    top[-1] ^= top[0];
    NEXT;
shift:
    top--;
    top[-1] = rotate_left(top[-1], ((unsigned)top[0] & 31) | 1);
    NEXT;
multiply:
    top--;
    top[-1] *= top[0];
    NEXT;
dup:
    top[0] = top[-1];
    top++;
    NEXT;
swap: {
    uint64_t upper = top[-1];
    top[-1] = top[-2];
    top[-2] = upper;
    NEXT;
}
jump_unless_zero:
    at = *--top != 0 ? program + *at : at + 1;
    NEXT;
halt:
    return locals[1];
#undef NEXT
}

uint64_t kernel_interpreter(uint64_t repeats) {
    static const uint8_t program[] = {
        /* locals[1] = rotate((locals[1] ^ locals[0]) * 31 + locals[2], 13) */
        LOAD, 1, LOAD, 0, XOR, PUSH, 31, MULTIPLY, LOAD, 2, ADD, PUSH, 13, SHIFT, STORE, 1,
        /* locals[2] = locals[2] + locals[1] - locals[0] */
        LOAD, 2, LOAD, 1, ADD, LOAD, 0, SUB, STORE, 2,
        /* locals[0] = locals[0] - 1; until it is 0 */
        PUSH, 1, LOAD, 0, SWAP, SUB, DUP, STORE, 0, JUMP_UNLESS_ZERO, 0, HALT};
    uint64_t sum = 0;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        uint64_t locals[4] = {1000, sum, repeat, 0};
        sum = interpret(program, locals);
    }
    return sum;
}

/* indirect_calls: small functions called through a table in an order that no predictor knows. */

static NOINLINE uint64_t call_add(uint64_t a, uint64_t b) { return a + b; }
static NOINLINE uint64_t call_sub(uint64_t a, uint64_t b) { return a - b; }
static NOINLINE uint64_t call_xor(uint64_t a, uint64_t b) { return a ^ b; }
static NOINLINE uint64_t call_mul(uint64_t a, uint64_t b) { return a * (b | 1); }
static NOINLINE uint64_t call_and(uint64_t a, uint64_t b) { return a & ~b; }
static NOINLINE uint64_t call_or(uint64_t a, uint64_t b) { return a | b; }
static NOINLINE uint64_t call_rotate(uint64_t a, uint64_t b) { return rotate_left(a, (b & 31) + 1); }
static NOINLINE uint64_t call_mix(uint64_t a, uint64_t b) { return mix(a, b); }

uint64_t kernel_indirect_calls(uint64_t repeats) {
    static uint64_t (*const functions[8])(uint64_t, uint64_t) = {
        call_add, call_sub, call_xor, call_mul, call_and, call_or, call_rotate, call_mix};
    static uint8_t order[1024];
    uint64_t random = 10;
    for (int i = 0; i < 1024; i++) {
        order[i] = (uint8_t)(next_random(&random) >> 61);
    }
    uint64_t sum = 0;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        for (int i = 0; i < 1024; i++) {
            sum = functions[order[i]](sum, repeat + (uint64_t)i);
        }
    }
    return sum;
}

/* recursion: Fibonacci's 20th number the slow way, and Ackermann(2, 9). */

static NOINLINE uint64_t fibonacci(uint64_t n) {
    if (n < 2) {
        return n;
    }
    uint64_t first = fibonacci(opaque(n - 1));
    return first + fibonacci(opaque(n - 2));
}

static NOINLINE uint64_t ackermann(uint64_t m, uint64_t n) {
    if (m == 0) {
        return n + 1;
    }
    if (n == 0) {
        return opaque(ackermann(m - 1, 1));
    }
    return opaque(ackermann(m - 1, ackermann(m, opaque(n - 1))));
}

uint64_t kernel_recursion(uint64_t repeats) {
    uint64_t sum = 0;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        sum = mix(sum, fibonacci(opaque(20)) + ackermann(opaque(2), opaque(9)));
    }
    return sum;
}
