/* Runs the cases of cases.S, each on the states that standard input holds, and writes the states that follow. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

struct state {
    uint64_t regs[8]; /* x0 to x7 */
    uint64_t flags;
    uint64_t v[3][2];
    uint32_t fpcr, fpsr;
    uint64_t fault;
    uint64_t which;
    uint8_t memory[256];
};

extern void (*const cases[])(struct state *);

static struct state now;
static sigjmp_buf before;

static void caught(int signal, siginfo_t *info, void *context) {
    mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
    struct fpsimd_context *vectors = (struct fpsimd_context *)machine->__reserved;
    (void)info;
    memcpy(now.regs, machine->regs, sizeof now.regs);
    now.flags = machine->pstate;
    if (vectors->head.magic == FPSIMD_MAGIC) {
        memcpy(now.v, vectors->vregs, sizeof now.v);
        now.fpsr = vectors->fpsr;
    }
    now.fault = signal == SIGFPE ? 2 : 1;
    siglongjmp(before, 1);
}

int main(void) {
    static uint8_t stack[1 << 16];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    int fixed = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    uint8_t *page = mmap((void *)0x10000000, 3 * 4096, PROT_READ | PROT_WRITE, fixed, -1, 0);
    if (page != (uint8_t *)0x10000000) return 2;
    for (int n = 0; n < 4096; n++) page[n] = (uint8_t)(n * 7);
    mprotect(page, 4096, PROT_READ);
    mprotect(page + 2 * 4096, 4096, PROT_NONE);
    sigaltstack(&alternate, NULL);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGFPE, &action, NULL);
    while (fread(&now, sizeof now, 1, stdin) == 1) {
        memcpy(page + 4096, now.memory, 128);
        memcpy(page + 8192 - 128, now.memory + 128, 128);
        now.fault = 0;
        if (sigsetjmp(before, 0) == 0) cases[now.which](&now);
        memcpy(now.memory, page + 4096, 128);
        memcpy(now.memory + 128, page + 8192 - 128, 128);
        if (fwrite(&now, sizeof now, 1, stdout) != 1) return 3;
    }
    return 0;
}
