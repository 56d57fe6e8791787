// Keeps every CPU of a guest busy with what makes an emulator forget translations: new processes, changed
// page rights, rewritten code, loaded modules. Prints a beat every five seconds; ends with status 0 after the
// given time, or with 1 and a reason as soon as something is wrong or a worker stands still.
//
//   soak SECONDS MODULE.ko MODULE
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 4, BEAT_SECONDS = 5, STALL_SECONDS = 60 };
enum kind { SPAWN, PROTECT, CODE, MODULE, KINDS };

static const char *const names[KINDS] = {"fork+exec", "mprotect", "code", "module"};
static volatile uint64_t (*done)[KINDS];
static const char *self, *module_file, *module_name;
static sigjmp_buf fault;

static void fail(const char *what) {
    printf("soak: FAILED: %s (%s)\n", what, strerror(errno));
    fflush(stdout);
    _exit(1);
}

// A child that execs this program, which answers with a status of its own.
static void spawn(uint64_t round) {
    char text[8];
    int status;
    snprintf(text, sizeof text, "%d", (int)(round % 100));
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
        execl(self, self, "--answer", text, (char *)NULL);
        _exit(101);
    }
    if (waitpid(child, &status, 0) != child) fail("waitpid");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != (int)(round % 100)) fail("a child's status");
}

static void on_fault(int signal) {
    (void)signal;
    siglongjmp(fault, 1);
}

// A page that was written, then made read-only, faults on the next store and keeps its contents.
static void protect(uint64_t round) {
    size_t bytes = 4 * 4096;
    volatile uint64_t *page =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    volatile int faulted = 0;
    if (page == MAP_FAILED) fail("mmap");
    for (size_t at = 0; at < bytes / 8; at += 64) page[at] = round + at;
    if (mprotect((void *)page, bytes, PROT_READ)) fail("mprotect to read-only");
    if (sigsetjmp(fault, 1) == 0) {
        page[64] = 0;
    } else {
        faulted = 1;
    }
    if (!faulted) fail("a store to a read-only page went through");
    for (size_t at = 0; at < bytes / 8; at += 64)
        if (page[at] != round + at) fail("a read-only page has changed");
    if (mprotect((void *)page, bytes, PROT_READ | PROT_WRITE)) fail("mprotect to writable");
    page[64] = round;
    if (page[64] != round) fail("a writable page was not written");
    if (munmap((void *)page, bytes)) fail("munmap");
}

// A function that is written anew each time returns what was written last.
static void code(uint64_t round) {
    static unsigned char *page;
    uint32_t wanted = round & 0x3ff;
    if (!page) {
        page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED) fail("mmap of code");
    }
#if defined(__riscv)
    const uint32_t function[] = {0x00000513 | wanted << 20,  // li a0, wanted
                                 0x00008067};                // ret
#elif defined(__x86_64__)
    const unsigned char function[] = {0xb8, wanted & 0xff, wanted >> 8, 0, 0,  // mov eax, wanted
                                      0xc3};                                   // ret
#endif
    memcpy(page, function, sizeof function);
    __builtin___clear_cache((char *)page, (char *)(page + sizeof function));
    if (((uint32_t(*)(void))page)() != wanted) fail("old code ran");
}

// Only the first worker does this: a module has one name.
static void module(void) {
    int file = open(module_file, O_RDONLY);
    if (file < 0) fail("open of the module");
    if (syscall(SYS_delete_module, module_name, O_NONBLOCK) && errno != ENOENT) fail("delete_module");
    if (syscall(SYS_finit_module, file, "", 0)) fail("finit_module");
    close(file);
}

static void work(int worker) {
    for (uint64_t round = 1;; round++) {
        spawn(round);
        done[worker][SPAWN]++;
        for (int i = 0; i < 20; i++) {
            protect(round + i);
            done[worker][PROTECT]++;
            code(round * 20 + i);
            done[worker][CODE]++;
        }
        if (worker == 0) {
            module();
            done[worker][MODULE]++;
        }
    }
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec;
}

int main(int count, char **words) {
    pid_t workers[WORKERS];
    uint64_t before[WORKERS] = {0}, moved[WORKERS];
    if (count == 3 && !strcmp(words[1], "--answer")) return atoi(words[2]);
    if (count != 4) return 2;
    self = "/proc/self/exe";
    module_file = words[2];
    module_name = words[3];
    done = mmap(NULL, WORKERS * sizeof *done, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (done == MAP_FAILED) fail("mmap");
    signal(SIGSEGV, on_fault);
    uint64_t start = now(), end = start + strtoull(words[1], NULL, 10);
    for (int i = 0; i < WORKERS; i++) {
        moved[i] = start;
        workers[i] = fork();
        if (workers[i] < 0) fail("fork");
        if (workers[i] == 0) work(i);
    }
    while (now() < end) {
        uint64_t sums[KINDS] = {0};
        sleep(BEAT_SECONDS);
        for (int i = 0; i < WORKERS; i++) {
            int status;
            uint64_t all = 0;
            if (waitpid(workers[i], &status, WNOHANG)) fail("a worker has ended");
            for (int kind = 0; kind < KINDS; kind++) {
                sums[kind] += done[i][kind];
                all += done[i][kind];
            }
            if (all != before[i]) moved[i] = now();
            if (now() - moved[i] > STALL_SECONDS) fail("a worker stands still");
            before[i] = all;
        }
        printf("soak: beat at %llu s:", (unsigned long long)(now() - start));
        for (int kind = 0; kind < KINDS; kind++)
            printf(" %s %llu", names[kind], (unsigned long long)sums[kind]);
        printf("\n");
        fflush(stdout);
    }
    for (int i = 0; i < WORKERS; i++) {
        kill(workers[i], SIGKILL);
        waitpid(workers[i], NULL, 0);
    }
    printf("soak: done\n");
    return 0;
}
