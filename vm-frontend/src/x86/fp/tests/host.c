/* Runs the instructions that standard input holds, each on a state, and writes the states that follow.
 *
 * The instruction stands at a fixed address; general registers and what XSAVE keeps are the processor's while it runs. It
 * leaves by falling through or by a signal. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define CODE 0x20001000
#define AT (CODE + 0x100)
#define STATE 0x20003000
#define MEMORY 0x10000000
#define PAGE 4096
#define AREA 832

struct state {
    uint64_t regs[16]; /* in the order of their numbers */
    uint64_t flags;
    uint64_t host_sp;
    uint64_t end; /* 0 behind the instruction, 2 by an exception */
    uint64_t vector;
    uint64_t unused;
    uint64_t len;
    uint8_t code[16];
    uint8_t memory[PAGE]; /* the writable page */
    uint8_t fill[64];
    uint8_t area[AREA] __attribute__((aligned(64)));
};

void enter(void);
void leave_behind(void);

/* The area is at STATE + 0x1100. */
__asm__(
    ".intel_syntax noprefix\n"
    ".text\n"
    "enter:\n"
    "push rbx\npush rbp\npush r12\npush r13\npush r14\npush r15\n"
    "mov [0x20003088], rsp\n"
    "mov eax, 7\nxor edx, edx\n"
    "xrstor64 [0x20004100]\n"
    "push qword ptr [0x20003080]\npopfq\n"
    "mov rax, [0x20003000]\nmov rcx, [0x20003008]\nmov rdx, [0x20003010]\nmov rbx, [0x20003018]\n"
    "mov rsp, [0x20003020]\nmov rbp, [0x20003028]\nmov rsi, [0x20003030]\nmov rdi, [0x20003038]\n"
    "mov r8, [0x20003040]\nmov r9, [0x20003048]\nmov r10, [0x20003050]\nmov r11, [0x20003058]\n"
    "mov r12, [0x20003060]\nmov r13, [0x20003068]\nmov r14, [0x20003070]\nmov r15, [0x20003078]\n"
    "jmp qword ptr [0x20005000]\n"
    "leave_behind:\n"
    "mov qword ptr [0x20003090], 0\n"
    "mov [0x20003000], rax\nmov [0x20003008], rcx\nmov [0x20003010], rdx\nmov [0x20003018], rbx\n"
    "mov [0x20003020], rsp\nmov [0x20003028], rbp\nmov [0x20003030], rsi\nmov [0x20003038], rdi\n"
    "mov [0x20003040], r8\nmov [0x20003048], r9\nmov [0x20003050], r10\nmov [0x20003058], r11\n"
    "mov [0x20003060], r12\nmov [0x20003068], r13\nmov [0x20003070], r14\nmov [0x20003078], r15\n"
    "mov rsp, [0x20003088]\n"
    "pushfq\npop qword ptr [0x20003080]\n"
    "mov eax, 7\nxor edx, edx\n"
    "xsave64 [0x20004100]\n"
    "ldmxcsr [0x20005008]\n"
    "fninit\n"
    "pop r15\npop r14\npop r13\npop r12\npop rbp\npop rbx\n"
    "ret\n"
    ".att_syntax\n");

static struct state *const now = (struct state *)STATE;
static sigjmp_buf before;

static void caught(int signal, siginfo_t *info, void *context) {
    static const int REGS[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                 REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
    (void)signal;
    (void)info;
    for (int n = 0; n < 16; n++) now->regs[n] = machine->gregs[REGS[n]];
    now->flags = machine->gregs[REG_EFL];
    now->end = 2;
    now->vector = machine->gregs[REG_TRAPNO];
    memcpy(now->area, machine->fpregs, AREA);
    siglongjmp(before, 1);
}

static uint8_t *pages(uint64_t at, int count, int rights) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    return mmap((void *)at, count * PAGE, rights, flags, -1, 0);
}

int main(void) {
    static uint8_t stack[1 << 16];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    uint8_t *page = pages(MEMORY, 3, PROT_READ | PROT_WRITE);
    if (page != (uint8_t *)MEMORY) return 2;
    if (pages(CODE, 1, PROT_READ | PROT_WRITE | PROT_EXEC) != (uint8_t *)CODE) return 2;
    if (pages(STATE, 3, PROT_READ | PROT_WRITE) != (uint8_t *)STATE) return 2;
    if (sizeof *now != 0x1440 || (uint64_t)now->area != STATE + 0x1100) return 4;
    for (int n = 0; n < PAGE; n++) page[n] = (uint8_t)(n * 7);
    mprotect(page, PAGE, PROT_READ);
    mprotect(page + 2 * PAGE, PAGE, PROT_NONE);
    *(uint64_t *)(STATE + 0x2000) = AT;
    *(uint32_t *)(STATE + 0x2008) = 0x1f80;
    sigaltstack(&alternate, NULL);
    for (unsigned n = 0; n < sizeof signals / sizeof *signals; n++) sigaction(signals[n], &action, NULL);
    while (fread(now, sizeof *now, 1, stdin) == 1) {
        int32_t by = (int32_t)((uint64_t)leave_behind - (AT + now->len + 5));
        memcpy(page + PAGE, now->memory, PAGE);
        memcpy((void *)AT, now->code, now->len);
        *(uint8_t *)(AT + now->len) = 0xe9;
        memcpy((void *)(AT + now->len + 1), &by, 4);
        now->vector = 0;
        if (sigsetjmp(before, 0) == 0) enter();
        memcpy(now->memory, page + PAGE, PAGE);
        if (fwrite(now, sizeof *now, 1, stdout) != 1) return 3;
    }
    return 0;
}
