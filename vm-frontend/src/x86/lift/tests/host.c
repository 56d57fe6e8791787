/* Runs the instructions that standard input holds, each on a state, and writes the states that follow.
 *
 * The instruction stands at a fixed address, and the registers of the state are the processor's while it runs. It leaves
 * by falling through, by a jump to a fixed place, or by a signal. */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define CODE 0x20001000
#define AT (CODE + 0x100)
#define TARGET (CODE + 0x180)
#define STATE 0x20003000
#define MEMORY 0x10000000
#define PAGE 4096
#define GS_BASE 0x1230

struct state {
    uint64_t regs[16]; /* in the order of their numbers */
    uint64_t flags;
    uint64_t host_sp;
    uint64_t end; /* 0 behind the instruction, 1 at the target, 2 by an exception */
    uint64_t vector;
    uint64_t address;
    uint64_t hash; /* of the writable page */
    uint64_t len;
    uint64_t bits; /* of code: 32 or 64 */
    uint8_t code[24];
    uint8_t memory[256]; /* the ends of the writable page */
};

void enter(void);
void leave_behind(void);
void leave_target(void);
void enter_32(void);
void leave_behind_32(void);
void leave_target_32(void);

__asm__(
    ".intel_syntax noprefix\n"
    ".text\n"
    "enter:\n"
    "push rbx\npush rbp\npush r12\npush r13\npush r14\npush r15\n"
    "mov [0x20003088], rsp\n"
    "push qword ptr [0x20003080]\npopfq\n"
    "mov rax, [0x20003000]\nmov rcx, [0x20003008]\nmov rdx, [0x20003010]\nmov rbx, [0x20003018]\n"
    "mov rsp, [0x20003020]\nmov rbp, [0x20003028]\nmov rsi, [0x20003030]\nmov rdi, [0x20003038]\n"
    "mov r8, [0x20003040]\nmov r9, [0x20003048]\nmov r10, [0x20003050]\nmov r11, [0x20003058]\n"
    "mov r12, [0x20003060]\nmov r13, [0x20003068]\nmov r14, [0x20003070]\nmov r15, [0x20003078]\n"
    "jmp qword ptr [0x20003800]\n"
    "leave_target:\n"
    "mov qword ptr [0x20003090], 1\n"
    "jmp save\n"
    "leave_behind:\n"
    "mov qword ptr [0x20003090], 0\n"
    "save:\n"
    "mov [0x20003000], rax\nmov [0x20003008], rcx\nmov [0x20003010], rdx\nmov [0x20003018], rbx\n"
    "mov [0x20003020], rsp\nmov [0x20003028], rbp\nmov [0x20003030], rsi\nmov [0x20003038], rdi\n"
    "mov [0x20003040], r8\nmov [0x20003048], r9\nmov [0x20003050], r10\nmov [0x20003058], r11\n"
    "mov [0x20003060], r12\nmov [0x20003068], r13\nmov [0x20003070], r14\nmov [0x20003078], r15\n"
    "mov rsp, [0x20003088]\n"
    "pushfq\npop qword ptr [0x20003080]\n"
    "cld\n"
    "pop r15\npop r14\npop r13\npop r12\npop rbp\npop rbx\n"
    "ret\n"
    /* The same by way of a 32-bit code segment, with data segments that have no base. */
    "enter_32:\n"
    "push rbx\npush rbp\npush r12\npush r13\npush r14\npush r15\n"
    "mov [0x20003088], rsp\n"
    "mov eax, 0x2b\nmov ds, eax\nmov es, eax\n"
    "mov esp, 0x20003f00\n"
    "mov eax, offset in_32\n"
    "push 0x23\npush rax\nretfq\n"
    ".code32\n"
    "in_32:\n"
    "push dword ptr [0x20003080]\npopfd\n"
    "mov eax, [0x20003000]\nmov ecx, [0x20003008]\nmov edx, [0x20003010]\nmov ebx, [0x20003018]\n"
    "mov esp, [0x20003020]\nmov ebp, [0x20003028]\nmov esi, [0x20003030]\nmov edi, [0x20003038]\n"
    "jmp dword ptr [0x20003800]\n"
    "leave_target_32:\n"
    "mov dword ptr [0x20003090], 1\n"
    "jmp save_32\n"
    "leave_behind_32:\n"
    "mov dword ptr [0x20003090], 0\n"
    "save_32:\n"
    "mov [0x20003000], eax\nmov [0x20003008], ecx\nmov [0x20003010], edx\nmov [0x20003018], ebx\n"
    "mov [0x20003020], esp\nmov [0x20003028], ebp\nmov [0x20003030], esi\nmov [0x20003038], edi\n"
    "mov esp, 0x20003f00\n"
    "pushfd\npop dword ptr [0x20003080]\n"
    "cld\n"
    "push 0x33\npush offset out_32\nretf\n"
    ".code64\n"
    "out_32:\n"
    "mov rsp, [0x20003088]\n"
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
    now->address = machine->gregs[REG_CR2];
    siglongjmp(before, 1);
}

static uint8_t *pages(uint64_t at, int count, int rights) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    return mmap((void *)at, count * PAGE, rights, flags, -1, 0);
}

static void jump(uint64_t from, void (*to)(void)) {
    int32_t by = (int32_t)((uint64_t)to - (from + 5));
    *(uint8_t *)from = 0xe9;
    memcpy((void *)(from + 1), &by, 4);
}

static uint64_t hash(const uint8_t *page) {
    uint64_t sum = 0;
    for (int n = 0; n < PAGE / 8; n++) {
        uint64_t word;
        memcpy(&word, page + 8 * n, 8);
        sum = (sum ^ word) * 0x100000001b3;
    }
    return sum;
}

int main(void) {
    static uint8_t stack[1 << 16], pattern[PAGE];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    uint8_t *page = pages(MEMORY, 3, PROT_READ | PROT_WRITE);
    if (page != (uint8_t *)MEMORY) return 2;
    if (pages(CODE, 1, PROT_READ | PROT_WRITE | PROT_EXEC) != (uint8_t *)CODE) return 2;
    if (pages(STATE, 1, PROT_READ | PROT_WRITE) != (uint8_t *)STATE) return 2;
    for (int n = 0; n < PAGE; n++) pattern[n] = (uint8_t)(n * 7);
    memcpy(page, pattern, PAGE);
    mprotect(page, PAGE, PROT_READ);
    mprotect(page + 2 * PAGE, PAGE, PROT_NONE);
    syscall(SYS_arch_prctl, ARCH_SET_GS, GS_BASE);
    sigaltstack(&alternate, NULL);
    for (unsigned n = 0; n < sizeof signals / sizeof *signals; n++) sigaction(signals[n], &action, NULL);
    while (fread(now, sizeof *now, 1, stdin) == 1) {
        memcpy(page + PAGE, pattern, PAGE);
        memcpy(page + PAGE, now->memory, 128);
        memcpy(page + 2 * PAGE - 128, now->memory + 128, 128);
        memcpy((void *)AT, now->code, now->len);
        int narrow = now->bits == 32;
        jump(AT + now->len, narrow ? leave_behind_32 : leave_behind);
        jump(TARGET, narrow ? leave_target_32 : leave_target);
        *(uint64_t *)(STATE + 0x800) = AT;
        now->vector = now->address = 0;
        if (sigsetjmp(before, 0) == 0) (narrow ? enter_32 : enter)();
        if (narrow)
            for (int n = 0; n < 16; n++) now->regs[n] = n < 8 ? (uint32_t)now->regs[n] : 0;
        now->hash = hash(page + PAGE);
        if (fwrite(now, sizeof *now, 1, stdout) != 1) return 3;
    }
    return 0;
}
