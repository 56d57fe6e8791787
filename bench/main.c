/* The benchmark program: one kernel of the table in kernels.h per call.
 *
 *   bench list                       name, class and repeats of every kernel
 *   bench KERNEL [REPEATS]           runs it and prints `KERNEL seconds checksum`, and the instructions
 *                                    that the hart retired meanwhile if user mode may read the counter
 *   bench calibrate KERNEL SECONDS   its row of kernels.h with repeats that take that long here
 *   bench program NAME COMMAND...    starts a program and prints `NAME seconds checksum` of its output
 *
 * Built for the guest and for the host from the same source; equal checksums show that the guest
 * computed the right thing. */
#include "bench.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct kernel {
    const char *name;
    const char *class;
    kernel_function *run;
    uint64_t repeats;
};

/* What the names of a build's kernels end with, to tell builds apart. */
#ifndef SUFFIX
#define SUFFIX ""
#endif

static const struct kernel kernels[] = {
#define KERNEL(name, class, repeats) {#name SUFFIX, #class, kernel_##name, repeats},
#include "kernels.h"
#undef KERNEL
};

#define KERNELS (sizeof kernels / sizeof kernels[0])

/* A calibration extrapolates from the shortest of some runs that take as long as this. */
#define CALIBRATION_RUNS 3
#define CALIBRATION_RUN_SECONDS 0.15

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

/* Runs another program to its end; its standard output counts as what it computed. */
static int run_program(const char *name, char **command) {
    int output[2];
    unsigned char buffer[4096];
    uint64_t sum = 0;
    uint64_t bytes = 0;
    printf("start %s\n", name);
    fflush(stdout);
    double start = now_seconds();
    require(pipe(output) == 0, "pipe");
    pid_t child = fork();
    require(child >= 0, "fork");
    if (child == 0) {
        dup2(output[1], STDOUT_FILENO);
        close(output[0]);
        close(output[1]);
        execv(command[0], command);
        perror(command[0]);
        _exit(127);
    }
    close(output[1]);
    for (ssize_t got; (got = read(output[0], buffer, sizeof buffer)) > 0;) {
        for (ssize_t i = 0; i < got; i++) {
            sum = mix(sum, buffer[i]);
        }
        bytes += (uint64_t)got;
    }
    int status = 0;
    require(waitpid(child, &status, 0) == child, "waitpid");
    double seconds = now_seconds() - start;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || bytes == 0) {
        fprintf(stderr, "%s: status %d, %llu bytes\n", name, status, (unsigned long long)bytes);
        return 1;
    }
    printf("%s %.6f %016llx\n", name, seconds, (unsigned long long)sum);
    return 0;
}

/* The shortest of some runs: other work on the host only makes them longer. */
static double seconds_of(const struct kernel *kernel, uint64_t repeats) {
    double least = 0.0;
    for (int i = 0; i < CALIBRATION_RUNS; i++) {
        double start = now_seconds();
        kernel->run(repeats);
        double seconds = now_seconds() - start;
        least = i == 0 || seconds < least ? seconds : least;
    }
    return least;
}

static void calibrate(const struct kernel *kernel, double target_seconds) {
    /* What the kernel does once, before its repeats, does not count. */
    double once = seconds_of(kernel, 1);
    uint64_t repeats = 1;
    double seconds;
    do {
        repeats *= 2;
        seconds = seconds_of(kernel, repeats + 1) - once;
    } while (seconds < CALIBRATION_RUN_SECONDS);
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
    fprintf(stderr, "usage: bench list | bench KERNEL [REPEATS] | bench calibrate KERNEL SECONDS |"
                    " bench program NAME COMMAND...\n");
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
    if (strcmp(first, "program") == 0 && count > 3) {
        return run_program(words[2], words + 3);
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
