/* System kernels: what passes through the guest's operating system or rewrites code. */
#define _GNU_SOURCE
#include "bench.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096 };

/* getpid: the cheapest system call. */

uint64_t kernel_getpid(uint64_t repeats) {
    uint64_t same = 0;
    long own = getpid();
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        for (int i = 0; i < 1000; i++) {
            same += syscall(SYS_getpid) == own;
        }
    }
    return same;
}

/* pipe_ping_pong: a byte to a child process and back. */

uint64_t kernel_pipe_ping_pong(uint64_t repeats) {
    int there[2], back[2];
    uint64_t sum = 0;
    uint8_t byte = 0;
    require(pipe(there) == 0 && pipe(back) == 0, "pipe");
    pid_t child = fork();
    require(child >= 0, "fork");
    if (child == 0) {
        close(there[1]);
        while (read(there[0], &byte, 1) == 1) {
            byte = (uint8_t)(3 * byte + 1);
            require(write(back[1], &byte, 1) == 1, "write");
        }
        _exit(0);
    }
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        require(write(there[1], &byte, 1) == 1, "write");
        require(read(back[0], &byte, 1) == 1, "read");
        sum = mix(sum, byte);
    }
    close(there[1]);
    require(waitpid(child, NULL, 0) == child, "waitpid");
    close(there[0]);
    close(back[0]);
    close(back[1]);
    return sum;
}

/* fork_exec: a child that starts this program anew, which ends at once. */

uint64_t kernel_fork_exec(uint64_t repeats) {
    uint64_t sum = 0;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        pid_t child = fork();
        require(child >= 0, "fork");
        if (child == 0) {
            execl("/proc/self/exe", "bench", CHILD_ARGUMENT, (char *)NULL);
            _exit(127);
        }
        int status = 0;
        require(waitpid(child, &status, 0) == child, "waitpid");
        require(WIFEXITED(status) && WEXITSTATUS(status) == CHILD_STATUS, "the child's start");
        sum = mix(sum, (uint64_t)WEXITSTATUS(status));
    }
    return sum;
}

/* page_fault: fresh anonymous memory, one store in each of 256 pages. */

uint64_t kernel_page_fault(uint64_t repeats) {
    enum { PAGES = 256 };
    uint64_t sum = 0;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        uint8_t *memory = mmap(NULL, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        require(memory != MAP_FAILED, "mmap");
        /* A huge page would be one fault. Kernels without them refuse; that is as good. */
        (void)madvise(memory, PAGES * PAGE_BYTES, MADV_NOHUGEPAGE);
        for (int page = 0; page < PAGES; page++) {
            volatile uint8_t *byte = memory + page * PAGE_BYTES;
            *byte = (uint8_t)page;
            sum += *byte;
        }
        require(munmap(memory, PAGES * PAGE_BYTES) == 0, "munmap");
    }
    return sum;
}

/* mprotect: a page made read-only, read, made writable, written. */

uint64_t kernel_mprotect(uint64_t repeats) {
    uint8_t *memory = mmap(NULL, 16 * PAGE_BYTES, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(memory != MAP_FAILED, "mmap");
    uint64_t sum = 0;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        volatile uint64_t *word = (volatile uint64_t *)(memory + repeat % 16 * PAGE_BYTES);
        *word += repeat;
        require(mprotect((void *)word, PAGE_BYTES, PROT_READ) == 0, "mprotect");
        sum = mix(sum, *word);
        require(mprotect((void *)word, PAGE_BYTES, PROT_READ | PROT_WRITE) == 0, "mprotect");
    }
    munmap(memory, 16 * PAGE_BYTES);
    return sum;
}

/* signal: sent to the thread itself and handled. */

static volatile sig_atomic_t signals_seen;

static void on_signal(int number) {
    signals_seen += number == SIGUSR1;
}

uint64_t kernel_signal(uint64_t repeats) {
    struct sigaction action, before;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    require(sigaction(SIGUSR1, &action, &before) == 0, "sigaction");
    uint64_t sum = 0;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        signals_seen = 0;
        for (int i = 0; i < 100; i++) {
            raise(SIGUSR1);
        }
        sum = mix(sum, (uint64_t)signals_seen);
    }
    sigaction(SIGUSR1, &before, NULL);
    return sum;
}

/* futex: two threads hand a turn to each other, sleeping while it is the other's. */

static _Atomic uint32_t turn;
static uint64_t futex_rounds;
static uint64_t futex_sum;

static void wait_for_turn(uint32_t mine) {
    uint32_t now;
    while ((now = atomic_load(&turn)) != mine) {
        syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
    }
}

static void pass_turn(uint32_t to) {
    atomic_store(&turn, to);
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *futex_partner(void *unused) {
    for (uint64_t round = 0; round < futex_rounds; round++) {
        wait_for_turn(1);
        futex_sum = mix(futex_sum, 2 * round + 1);
        pass_turn(0);
    }
    return unused;
}

uint64_t kernel_futex(uint64_t repeats) {
    pthread_t partner;
    futex_rounds = repeats;
    futex_sum = 0;
    atomic_store(&turn, 0);
    require(pthread_create(&partner, NULL, futex_partner, NULL) == 0, "pthread_create");
    for (uint64_t round = 0; round < repeats; round++) {
        wait_for_turn(0);
        futex_sum = mix(futex_sum, 2 * round);
        pass_turn(1);
    }
    require(pthread_join(partner, NULL) == 0, "pthread_join");
    return futex_sum;
}

/* file_io: a 1 MiB file written in blocks of 4 KiB, read back, and truncated. */

uint64_t kernel_file_io(uint64_t repeats) {
    enum { BLOCKS = 256 };
    static uint8_t block[PAGE_BYTES];
    char path[] = "/tmp/benchXXXXXX";
    int file = mkstemp(path);
    require(file >= 0, "mkstemp");
    require(unlink(path) == 0, "unlink");
    uint64_t sum = 0;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        require(lseek(file, 0, SEEK_SET) == 0, "lseek");
        for (int i = 0; i < BLOCKS; i++) {
            block[(uint64_t)i * 16 % PAGE_BYTES] = (uint8_t)(i ^ (int)repeat);
            require(write(file, block, PAGE_BYTES) == PAGE_BYTES, "write");
        }
        require(lseek(file, 0, SEEK_SET) == 0, "lseek");
        for (int i = 0; i < BLOCKS; i++) {
            require(read(file, block, PAGE_BYTES) == PAGE_BYTES, "read");
            sum = mix(sum, block[(uint64_t)i * 16 % PAGE_BYTES]);
        }
        require(ftruncate(file, 0) == 0, "ftruncate");
    }
    close(file);
    return sum;
}

/* code_rewrite: a function that returns a constant, written anew and called each time. */

static size_t write_constant_function(uint8_t *code, uint32_t constant) {
#if defined(__riscv)
    /* lui a0, high; addiw a0, a0, low; ret */
    uint32_t high = constant + 0x800;
    uint32_t words[3] = {(high & 0xfffff000) | 10 << 7 | 0x37,
                         (constant & 0xfff) << 20 | 10 << 15 | 10 << 7 | 0x1b, 0x00008067};
#elif defined(__aarch64__)
    /* movz w0, low; movk w0, high, lsl 16; ret */
    uint32_t words[3] = {0x52800000 | (constant & 0xffff) << 5, 0x72a00000 | constant >> 16 << 5,
                         0xd65f03c0};
#elif defined(__x86_64__) || defined(__i386__)
    /* mov eax, constant; ret; int3... */
    uint32_t words[3] = {constant << 8 | 0xb8, 0xccccc300 | constant >> 24, 0xcccccccc};
#else
#error "write the function for this architecture"
#endif
    memcpy(code, words, sizeof words);
    return sizeof words;
}

uint64_t kernel_code_rewrite(uint64_t repeats) {
    uint8_t *code = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(code != MAP_FAILED, "mmap");
    uint64_t sum = 0;
    uint64_t random = 30;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        size_t bytes = write_constant_function(code, (uint32_t)next_random(&random));
        __builtin___clear_cache((char *)code, (char *)code + bytes);
        uint32_t (*function)(void);
        memcpy(&function, &code, sizeof function);
        sum = mix(sum, function());
    }
    munmap(code, PAGE_BYTES);
    return sum;
}
