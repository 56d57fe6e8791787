/* The benchmark program: one kernel of the table in kernels.h per call.
 *
 *   bench list                       name, class and repeats of every kernel
 *   bench KERNEL [REPEATS]           runs it and prints `KERNEL seconds checksum`, and the instructions
 *                                    that the hart retired meanwhile if user mode may read the counter
 *   bench calibrate KERNEL SECONDS   its row of kernels.h with repeats that take that long here
 *
 * Built for the guest and for the host from the same source; equal checksums show that the guest
 * computed the right thing. */
#include "bench.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct kernel {
    const char *name;
    const char *class;
    kernel_function *run;
    uint64_t repeats;
};

static const struct kernel kernels[] = {
#define KERNEL(name, class, repeats) {#name, #class, kernel_##name, repeats},
#include "kernels.h"
#undef KERNEL
};

#define KERNELS (sizeof kernels / sizeof kernels[0])

/* Runs of which the calibration believes the fastest: other work on the host slows the others. They are
 * long enough that what a kernel does once, before its repeats, does not matter. */
#define CALIBRATION_RUNS 3
#define CALIBRATION_RUN_SECONDS 0.7

void require(int holds, const char *what) {
    if (!holds) {
        perror(what);
        exit(1);
    }
}

static double now_seconds(void) {
    struct timespec now;
    require(clock_gettime(CLOCK_MONOTONIC, &now) == 0, "clock_gettime");
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

#ifdef __riscv
static sigjmp_buf no_counter;

static void on_illegal_instruction(int number) {
    (void)number;
    siglongjmp(no_counter, 1);
}

/* Instructions that the hart retired, 0 where user mode may not know (scounteren.IR clear). */
static uint64_t instructions_retired(void) {
    static int readable = -1;
    uint64_t count = 0;
    if (readable == -1) {
        void (*before)(int) = signal(SIGILL, on_illegal_instruction);
        readable = 0;
        if (sigsetjmp(no_counter, 1) == 0) {
            __asm__ volatile("rdinstret %0" : "=r"(count));
            readable = 1;
        }
        signal(SIGILL, before);
    }
    if (readable) {
        __asm__ volatile("rdinstret %0" : "=r"(count));
    }
    return count;
}
#else
static uint64_t instructions_retired(void) {
    return 0;
}
#endif

static void run(const struct kernel *kernel, uint64_t repeats) {
    printf("start %s %llu\n", kernel->name, (unsigned long long)repeats);
    fflush(stdout);
    uint64_t instructions = instructions_retired();
    double start = now_seconds();
    uint64_t sum = kernel->run(repeats);
    double seconds = now_seconds() - start;
    instructions = instructions_retired() - instructions;
    printf("%s %.6f %016llx", kernel->name, seconds, (unsigned long long)sum);
    if (instructions != 0) {
        printf(" %llu", (unsigned long long)instructions);
    }
    printf("\n");
    fflush(stdout);
}

static double seconds_of(const struct kernel *kernel, uint64_t repeats) {
    double start = now_seconds();
    kernel->run(repeats);
    return now_seconds() - start;
}

static void calibrate(const struct kernel *kernel, double target_seconds) {
    uint64_t repeats = 1;
    double seconds = seconds_of(kernel, repeats);
    while (seconds < CALIBRATION_RUN_SECONDS) {
        repeats *= 2;
        seconds = seconds_of(kernel, repeats);
    }
    for (int i = 1; i < CALIBRATION_RUNS; i++) {
        double again = seconds_of(kernel, repeats);
        seconds = again < seconds ? again : seconds;
    }
    uint64_t needed = (uint64_t)(target_seconds / seconds * (double)repeats) + 1;
    /* Two significant digits are enough, and easier to read. */
    uint64_t unit = 1;
    while (needed / unit >= 100) {
        unit *= 10;
    }
    needed = (needed + unit - 1) / unit * unit;
    printf("KERNEL(%s, %s, %llu)\n", kernel->name, kernel->class, (unsigned long long)needed);
    fflush(stdout);
}

static const struct kernel *find(const char *name) {
    for (size_t i = 0; i < KERNELS; i++) {
        if (strcmp(kernels[i].name, name) == 0) {
            return &kernels[i];
        }
    }
    return NULL;
}

static int usage(void) {
    fprintf(stderr, "usage: bench list | bench KERNEL [REPEATS] | bench calibrate KERNEL SECONDS\n");
    return 2;
}

static void list(void) {
    for (size_t i = 0; i < KERNELS; i++) {
        printf("%s %s %llu\n", kernels[i].name, kernels[i].class,
               (unsigned long long)kernels[i].repeats);
    }
}

int main(int count, char **words) {
    const char *first = count > 1 ? words[1] : "";
    if (strcmp(first, CHILD_ARGUMENT) == 0) {
        return CHILD_STATUS;
    }
    if (strcmp(first, "list") == 0) {
        list();
        return 0;
    }
    int calibrates = strcmp(first, "calibrate") == 0;
    const struct kernel *kernel = count > 1 + calibrates ? find(words[1 + calibrates]) : NULL;
    if (kernel == NULL || count > 3 + calibrates) {
        return usage();
    }
    if (calibrates) {
        double target_seconds = count == 4 ? strtod(words[3], NULL) : 0.0;
        if (!(target_seconds > 0.0)) {
            return usage();
        }
        calibrate(kernel, target_seconds);
        return 0;
    }
    uint64_t repeats = count == 3 ? strtoull(words[2], NULL, 10) : kernel->repeats;
    if (repeats == 0) {
        return usage();
    }
    run(kernel, repeats);
    return 0;
}
