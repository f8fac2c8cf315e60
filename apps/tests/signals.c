// SPDX-License-Identifier: MIT OR Apache-2.0

// What signal handlers are told, may do and leave untouched: siginfo, the context, registers, masks,
// flags, stacks and queues. All in one thread; see sigwaits.c for more of them.

#define _GNU_SOURCE
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "check.h"

#define PAGE ((size_t)4096)
#define KERNEL ((uintptr_t)0xffffffff81000000)

static void on(int number, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    MUST(sigaction(number, &action, NULL) == 0);
}

static void no_longer(int number)
{
    MUST(signal(number, SIG_DFL) != SIG_ERR);
}

static sigset_t set_of(int first, int second)
{
    sigset_t set;
    sigemptyset(&set);
    if (first)
        sigaddset(&set, first);
    if (second)
        sigaddset(&set, second);
    return set;
}

/* Whether the thread has exactly these signals blocked. */
static int blocked_are(int first, int second)
{
    sigset_t set;
    MUST(sigprocmask(SIG_BLOCK, NULL, &set) == 0);
    for (int number = 1; number <= SIGRTMAX; number++) {
        int blocked = sigismember(&set, number) == 1;
        if (blocked != (number == first || number == second))
            return 0;
    }
    return 1;
}

/* What a handler noted. */
static volatile int count, last_number;
static siginfo_t last;

static void note(int number, siginfo_t *info, void *context)
{
    (void)context;
    count++;
    last_number = number;
    last = *info;
}

static int runs_handlers(void)
{
    on(SIGUSR1, note, 0);
    count = 0;
    for (int i = 1; i <= 100; i++) {
        CHECK(raise(SIGUSR1) == 0);
        CHECK(count == i && last_number == SIGUSR1);
    }
    CHECK(kill(getpid(), SIGUSR1) == 0 && count == 101);
    CHECK(kill(getpid(), 0) == 0 && count == 101);
    /* What sigaction returns is what it was given. */
    struct sigaction action;
    CHECK(sigaction(SIGUSR1, NULL, &action) == 0);
    CHECK(action.sa_sigaction == note && (action.sa_flags & SA_SIGINFO) && sigismember(&action.sa_mask, SIGUSR2) == 0);
    no_longer(SIGUSR1);
    return 0;
}

static int says_who_sent(void)
{
    on(SIGUSR1, note, 0);
    memset(&last, 0, sizeof last);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    CHECK(last.si_signo == SIGUSR1 && last.si_code == SI_USER);
    CHECK(last.si_pid == getpid() && last.si_uid == getuid());
    memset(&last, 0, sizeof last);
    CHECK(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1) == 0);
    CHECK(last.si_code == SI_TKILL && last.si_pid == getpid() && last.si_uid == getuid());
    memset(&last, 0, sizeof last);
    CHECK(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_ptr = &last}) == 0);
    CHECK(last.si_code == SI_QUEUE && last.si_pid == getpid() && last.si_value.sival_ptr == &last);
    no_longer(SIGUSR1);
    return 0;
}

/* Faults, each with what Linux says of it. */

static unsigned char *page; /* its protection depends on the fault */
static sigjmp_buf back;
static greg_t last_registers[NGREG];

static void leap(int number, siginfo_t *info, void *context)
{
    note(number, info, context);
    ucontext_t *c = context;
    memcpy(last_registers, c->uc_mcontext.gregs, sizeof last_registers);
    siglongjmp(back, 1);
}

static void write_null(void) { *(volatile char *)0 = 1; }
static void read_unmapped(void) { (void)*(volatile char *)0x10123; }
static void read_kernel(void) { (void)*(volatile char *)KERNEL; }
static void read_noncanonical(void) { (void)*(volatile char *)0x8000000000000000; }
static void read_page(void) { (void)*(volatile char *)(page + 5); }
static void write_page(void) { *(volatile char *)(page + 7) = 1; }
static void execute_page(void) { ((void (*)(void))(page + 9))(); }
static void execute_null(void) { __asm__ volatile("call *%0" ::"r"(0L) : "memory"); }
static void hlt(void) { __asm__ volatile("hlt"); }
static void ud2(void) { __asm__ volatile("ud2"); }
static void int3(void) { __asm__ volatile("int3"); }

static void divide(void)
{
    volatile int one = 1, zero = 0;
    one = one / zero;
}

static void divide_overflows(void)
{
    volatile long most = LONG_MIN, one = -1;
    most = most / one;
}

static void divide_float(void)
{
    unsigned short unmasked = 0x37f & ~4;
    __asm__ volatile("fninit\nfldcw %0\nfld1\nfldz\nfdivrp\nfwait" ::"m"(unmasked) : "st", "st(1)");
}

/* Error codes of page faults. */
enum { PRESENT = 1, WRITES = 2, USER = 4, FETCHES = 16 };

static int says_what_faulted(void)
{
    /* Where `at` is IP the address is that of the instruction. */
    static char ip[1];
#define IP ((uintptr_t)ip)
#define PAGE_AT(n) ((uintptr_t)page + (n))
    page = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    const struct { const char *name; void (*run)(void); int protection, number, code; uintptr_t at; int trap, error; }
    faults[] = {
        {"write null", write_null, 0, SIGSEGV, SEGV_MAPERR, 0, 14, USER | WRITES},
        {"read unmapped", read_unmapped, 0, SIGSEGV, SEGV_MAPERR, 0x10123, 14, USER},
        {"read kernel", read_kernel, 0, SIGSEGV, SEGV_MAPERR, KERNEL, 14, USER | PRESENT},
        {"read non-canonical", read_noncanonical, 0, SIGSEGV, SI_KERNEL, 0, 13, 0},
        {"read PROT_NONE", read_page, PROT_NONE, SIGSEGV, SEGV_ACCERR, PAGE_AT(5), 14, -1},
        {"write PROT_NONE", write_page, PROT_NONE, SIGSEGV, SEGV_ACCERR, PAGE_AT(7), 14, -1},
        {"write read-only", write_page, PROT_READ, SIGSEGV, SEGV_ACCERR, PAGE_AT(7), 14, -1},
        {"execute data", execute_page, PROT_READ | PROT_WRITE, SIGSEGV, SEGV_ACCERR, PAGE_AT(9), 14, -1},
        {"execute null", execute_null, 0, SIGSEGV, SEGV_MAPERR, 0, 14, USER | FETCHES},
        {"privileged", hlt, 0, SIGSEGV, SI_KERNEL, 0, 13, 0},
        {"divide by 0", divide, 0, SIGFPE, FPE_INTDIV, IP, 0, 0},
        {"divide by -1", divide_overflows, 0, SIGFPE, FPE_INTDIV, IP, 0, 0},
        {"divide x87 by 0", divide_float, 0, SIGFPE, FPE_FLTDIV, IP, 16, 0},
        {"undefined", ud2, 0, SIGILL, ILL_ILLOPN, IP, 6, 0},
        {"breakpoint", int3, 0, SIGTRAP, SI_KERNEL, 0, 3, 0},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        int number = faults[i].number;
        on(number, leap, 0);
        CHECK(mprotect(page, PAGE, faults[i].protection) == 0);
        count = 0;
        memset(&last, 0, sizeof last);
        if (sigsetjmp(back, 1) == 0) {
            faults[i].run();
            fprintf(stderr, "%s: no fault\n", faults[i].name);
            return 1;
        }
        __asm__ volatile("fninit");
        uintptr_t at = faults[i].at == IP ? (uintptr_t)last_registers[REG_RIP] : faults[i].at;
        if (count != 1 || last.si_signo != number || last.si_code != faults[i].code || (uintptr_t)last.si_addr != at) {
            fprintf(stderr, "%s: %d times, signal %d, code %d at %p; expected signal %d, code %d at %p\n",
                    faults[i].name, count, last.si_signo, last.si_code, last.si_addr, number, faults[i].code,
                    (void *)at);
            return 1;
        }
        int trap = (int)last_registers[REG_TRAPNO], error = (int)last_registers[REG_ERR];
        if (trap != faults[i].trap || (faults[i].error >= 0 && error != faults[i].error) ||
            (trap == 14 && (uintptr_t)last_registers[REG_CR2] != at)) {
            fprintf(stderr, "%s: trap %d, error %d, cr2 %llx\n", faults[i].name, trap, error, last_registers[REG_CR2]);
            return 1;
        }
        CHECK(blocked_are(0, 0));
        no_longer(number);
    }
    CHECK(munmap(page, PAGE) == 0);
    return 0;
}

/* Handlers that put things right and return. */

static void unprotect(int number, siginfo_t *info, void *context)
{
    note(number, info, context);
    MUST(mprotect(page, PAGE, PROT_READ | PROT_WRITE) == 0);
}

static void skip_ud2(int number, siginfo_t *info, void *context)
{
    note(number, info, context);
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    registers[REG_RIP] += 2;
    registers[REG_RAX] += 1;
}

static int goes_on_after_repair(void)
{
    page = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    on(SIGSEGV, unprotect, 0);
    count = 0;
    for (int i = 0; i < 50; i++) {
        CHECK(mprotect(page, PAGE, i % 2 ? PROT_READ : PROT_NONE) == 0);
        ((volatile unsigned char *)page)[i] = (unsigned char)(i + 1);
        CHECK(page[i] == i + 1 && count == i + 1);
    }
    CHECK(munmap(page, PAGE) == 0);
    no_longer(SIGSEGV);
    on(SIGILL, skip_ud2, 0);
    long value = 41;
    __asm__ volatile("ud2" : "+a"(value)::"memory");
    CHECK(value == 42);
    no_longer(SIGILL);
    return 0;
}

/*
 * All registers are loaded from in[], then a signal comes (of an undefined instruction, since a system call would
 * change some), then they are stored to out[]. The order is that of `order` below; then flags, and the end of the
 * red zone.
 */
void around_ud2(const uint64_t in[17], uint64_t out[17]);
__asm__(".text\n.globl around_ud2\naround_ud2:\n"
        "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\npush %rsi\n"
        "pushq 15*8(%rdi)\npopfq\n"
        "mov 16*8(%rdi), %rax\nmov %rax, -128(%rsp)\n"
        "mov 0*8(%rdi), %rax\nmov 1*8(%rdi), %rbx\nmov 2*8(%rdi), %rcx\nmov 3*8(%rdi), %rdx\nmov 4*8(%rdi), %rsi\n"
        "mov 6*8(%rdi), %rbp\nmov 7*8(%rdi), %r8\nmov 8*8(%rdi), %r9\nmov 9*8(%rdi), %r10\nmov 10*8(%rdi), %r11\n"
        "mov 11*8(%rdi), %r12\nmov 12*8(%rdi), %r13\nmov 13*8(%rdi), %r14\nmov 14*8(%rdi), %r15\nmov 5*8(%rdi), %rdi\n"
        "ud2\n"
        "movq -128(%rsp), %xmm0\n"
        "pushfq\ncld\npush %rdi\nmov 2*8(%rsp), %rdi\n"
        "mov %rax, 0*8(%rdi)\nmov %rbx, 1*8(%rdi)\nmov %rcx, 2*8(%rdi)\nmov %rdx, 3*8(%rdi)\nmov %rsi, 4*8(%rdi)\n"
        "mov %rbp, 6*8(%rdi)\nmov %r8, 7*8(%rdi)\nmov %r9, 8*8(%rdi)\nmov %r10, 9*8(%rdi)\nmov %r11, 10*8(%rdi)\n"
        "mov %r12, 11*8(%rdi)\nmov %r13, 12*8(%rdi)\nmov %r14, 13*8(%rdi)\nmov %r15, 14*8(%rdi)\n"
        "pop %rax\nmov %rax, 5*8(%rdi)\npop %rax\nmov %rax, 15*8(%rdi)\nmovq %xmm0, 16*8(%rdi)\n"
        "pop %rsi\npop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n");

static const int order[15] = {REG_RAX, REG_RBX, REG_RCX, REG_RDX, REG_RSI, REG_RDI, REG_RBP, REG_R8,
                              REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
#define FLAGS ((uint64_t)0xcd5) /* all that are the program's, the direction among them */
static uint64_t in[17], out[17];
static volatile uint64_t flags_in_handler;
static volatile int seen_in_context;

static void look_at_registers(int number, siginfo_t *info, void *context)
{
    flags_in_handler = __builtin_ia32_readeflags_u64();
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    note(number, info, context);
    seen_in_context = 1;
    for (int i = 0; i < 15; i++)
        seen_in_context &= (uint64_t)registers[order[i]] == in[i];
    seen_in_context &= ((uint64_t)registers[REG_EFL] & FLAGS) == (in[15] & FLAGS);
    registers[REG_RIP] += 2;
    registers[REG_R13] = 1234;
}

static int keeps_registers(void)
{
    on(SIGILL, look_at_registers, 0);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 17; i++)
            in[i] = 0x9e3779b97f4a7c15 * (uint64_t)(round * 17 + i + 1);
        in[15] = 0x202 | (round % 2 ? FLAGS : 0);
        memset(out, 0, sizeof out);
        around_ud2(in, out);
        CHECK(seen_in_context);
        CHECK((flags_in_handler & 0x400) == 0);
        in[12] = 1234; /* R13, which the handler has changed */
        for (int i = 0; i < 17; i++)
            CHECK(i == 15 ? (out[i] & FLAGS) == (in[i] & FLAGS) : out[i] == in[i]);
    }
    no_longer(SIGILL);
    return 0;
}

/* Vector registers, and floating-point control, which is the initial one in a handler. */

#define ALL(one) one(0) one(1) one(2) one(3) one(4) one(5) one(6) one(7) \
    one(8) one(9) one(10) one(11) one(12) one(13) one(14) one(15)
#define LOAD_XMM(n) "movdqu " #n "*32(%[in]), %%xmm" #n "\n"
#define STORE_XMM(n) "movdqu %%xmm" #n ", " #n "*32(%[out])\n"
#define CLEAR_XMM(n) "pxor %%xmm" #n ", %%xmm" #n "\n"
#define LOAD_YMM(n) "vmovdqu " #n "*32(%[in]), %%ymm" #n "\n"
#define STORE_YMM(n) "vmovdqu %%ymm" #n ", " #n "*32(%[out])\n"
#define CLOBBERS "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
    "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

static unsigned char vectors_in[16 * 32], vectors_out[16 * 32];
static volatile uint32_t mxcsr_in_handler;
static volatile uint16_t word_in_handler;
static volatile int vectors_in_context;
static int has_avx;

static void clear_vectors(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    ucontext_t *c = context;
    uint32_t mxcsr;
    uint16_t word;
    __asm__ volatile("stmxcsr %0\nfnstcw %1" : "=m"(mxcsr), "=m"(word));
    mxcsr_in_handler = mxcsr;
    word_in_handler = word;
    vectors_in_context = 1;
    for (int i = 0; i < 16; i++)
        vectors_in_context &= memcmp(&c->uc_mcontext.fpregs->_xmm[i], vectors_in + i * 32, 16) == 0;
    /* What a handler writes there is in the register afterwards. */
    memset(&c->uc_mcontext.fpregs->_xmm[15], 0x77, 16);
    c->uc_mcontext.gregs[REG_RIP] += 2;
    uint32_t other = 0x3f80;
    __asm__ volatile("fninit\nfldz\nfldz\nldmxcsr %0" ::"m"(other));
    if (has_avx)
        __asm__ volatile("vzeroall" ::: CLOBBERS);
    else
        __asm__ volatile(ALL(CLEAR_XMM) ::: CLOBBERS);
}

__attribute__((target("avx"))) static void vectors_around_ud2(void)
{
    if (has_avx)
        __asm__ volatile(ALL(LOAD_YMM) "ud2\n" ALL(STORE_YMM) "vzeroupper"
                         ::[in] "r"(vectors_in), [out] "r"(vectors_out) : CLOBBERS);
    else
        __asm__ volatile(ALL(LOAD_XMM) "ud2\n" ALL(STORE_XMM)
                         ::[in] "r"(vectors_in), [out] "r"(vectors_out) : CLOBBERS);
}

static int keeps_vectors(void)
{
    has_avx = __builtin_cpu_supports("avx");
    on(SIGILL, clear_vectors, 0);
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof vectors_in; i++)
            vectors_in[i] = (unsigned char)(i * 11 + (size_t)round * 3 + 1);
        memset(vectors_out, 0, sizeof vectors_out);
        uint32_t mxcsr, up = 0x1f80 | 0x4000;
        uint16_t word, up_word = 0x37f | 0x0800;
        double pi = 0;
        __asm__ volatile("fninit\nfldcw %0\nfldpi\nldmxcsr %1" ::"m"(up_word), "m"(up));
        vectors_around_ud2();
        __asm__ volatile("fnstcw %0\nstmxcsr %1\nfstpl %2\nfninit" : "=m"(word), "=m"(mxcsr), "=m"(pi));
        uint32_t usual = 0x1f80;
        __asm__ volatile("ldmxcsr %0" ::"m"(usual));
        CHECK(vectors_in_context);
        CHECK(mxcsr_in_handler == 0x1f80 && word_in_handler == 0x37f);
        CHECK((mxcsr & ~0x3fu) == up && word == up_word);
        CHECK(pi > 3.14159 && pi < 3.1416);
        memset(vectors_in + 15 * 32, 0x77, 16);
        for (int i = 0; i < 16; i++)
            CHECK(memcmp(vectors_in + i * 32, vectors_out + i * 32, has_avx ? 32 : 16) == 0);
    }
    no_longer(SIGILL);
    return 0;
}

/* Flags and masks. */

static volatile int depth, deepest, masked_as_expected;

static void again(int number, siginfo_t *info, void *context)
{
    (void)info;
    (void)context;
    depth++;
    count++;
    if (depth > deepest)
        deepest = depth;
    if (count < 5)
        raise(number);
    depth--;
}

static void look_at_mask(int number, siginfo_t *info, void *context)
{
    note(number, info, context);
    sigset_t *before = &((ucontext_t *)context)->uc_sigmask;
    masked_as_expected = blocked_are(SIGUSR1, SIGUSR2);
    masked_as_expected &= !sigismember(before, SIGUSR1) && !sigismember(before, SIGUSR2);
    raise(SIGUSR2); /* comes later */
    masked_as_expected &= count == 1;
    /* The mask in the context is the one it returns to. */
    sigaddset(before, SIGHUP);
}

static int obeys_flags(void)
{
    on(SIGUSR1, again, 0);
    count = depth = deepest = 0;
    raise(SIGUSR1);
    CHECK(count == 5 && deepest == 1);
    on(SIGUSR1, again, SA_NODEFER);
    count = deepest = 0;
    raise(SIGUSR1);
    CHECK(count == 5 && deepest == 5);
    on(SIGUSR1, note, SA_RESETHAND);
    count = 0;
    raise(SIGUSR1);
    struct sigaction action;
    CHECK(count == 1 && sigaction(SIGUSR1, NULL, &action) == 0 && action.sa_handler == SIG_DFL);

    on(SIGUSR2, note, 0);
    struct sigaction with_mask = {.sa_sigaction = look_at_mask, .sa_flags = SA_SIGINFO, .sa_mask = set_of(SIGUSR2, 0)};
    CHECK(sigaction(SIGUSR1, &with_mask, NULL) == 0);
    count = 0;
    raise(SIGUSR1);
    CHECK(masked_as_expected && count == 2 && last_number == SIGUSR2 && blocked_are(SIGHUP, 0));
    sigset_t hup = set_of(SIGHUP, 0);
    CHECK(sigprocmask(SIG_UNBLOCK, &hup, NULL) == 0);
    no_longer(SIGUSR1);
    no_longer(SIGUSR2);
    return 0;
}

static int masks(void)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR2), old, pending;
    on(SIGUSR1, note, 0);
    on(SIGUSR2, note, 0);
    count = 0;
    CHECK(blocked_are(0, 0));
    CHECK(sigprocmask(SIG_BLOCK, &set, &old) == 0 && blocked_are(SIGUSR1, SIGUSR2));
    CHECK(sigismember(&old, SIGUSR1) == 0);
    raise(SIGUSR1);
    raise(SIGUSR1);
    kill(getpid(), SIGUSR2);
    CHECK(count == 0);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1) && sigismember(&pending, SIGUSR2) &&
          !sigismember(&pending, SIGHUP));
    set = set_of(SIGUSR1, 0);
    CHECK(sigprocmask(SIG_UNBLOCK, &set, &old) == 0);
    /* It was raised twice while blocked, but counts once. */
    CHECK(count == 1 && last_number == SIGUSR1 && blocked_are(SIGUSR2, 0));
    CHECK(sigismember(&old, SIGUSR1) && sigismember(&old, SIGUSR2));
    set = set_of(0, 0);
    CHECK(sigprocmask(SIG_SETMASK, &set, NULL) == 0);
    CHECK(count == 2 && last_number == SIGUSR2);
    CHECK(sigpending(&pending) == 0 && !sigismember(&pending, SIGUSR1) && !sigismember(&pending, SIGUSR2));
    /* Two that nobody can block. */
    set = set_of(SIGKILL, SIGSTOP);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0 && blocked_are(0, 0));
    no_longer(SIGUSR1);
    no_longer(SIGUSR2);
    return 0;
}

enum { MOST = 16 };
static volatile int numbers[MOST], values[MOST];

static void note_value(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (count < MOST) {
        numbers[count] = number;
        values[count] = info->si_value.sival_int;
    }
    count++;
}

/* Those of real time are queued: the lowest number first, and one number in the order sent. */
static int queues(void)
{
    sigset_t all, none = set_of(0, 0);
    sigfillset(&all);
    struct sigaction action = {.sa_sigaction = note_value, .sa_flags = SA_SIGINFO, .sa_mask = all};
    for (int i = 0; i < 3; i++)
        CHECK(sigaction(SIGRTMIN + i, &action, NULL) == 0);
    CHECK(sigprocmask(SIG_SETMASK, &all, NULL) == 0);
    for (int value = 0; value < 12; value++)
        CHECK(sigqueue(getpid(), SIGRTMIN + 2 - value % 3, (union sigval){.sival_int = value}) == 0);
    count = 0;
    CHECK(sigprocmask(SIG_SETMASK, &none, NULL) == 0);
    CHECK(count == 12);
    for (int i = 0; i < 12; i++)
        CHECK(numbers[i] == SIGRTMIN + i / 4 && values[i] == 2 - i / 4 + i % 4 * 3);
    for (int i = 0; i < 3; i++)
        no_longer(SIGRTMIN + i);
    return 0;
}

static int ignores(void)
{
    sigset_t set = set_of(SIGUSR1, 0), none = set_of(0, 0), pending;
    CHECK(signal(SIGUSR1, SIG_IGN) == SIG_DFL);
    raise(SIGUSR1);
    /* What waits is dropped when it's ignored. */
    on(SIGUSR1, note, 0);
    count = 0;
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    raise(SIGUSR1);
    CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    CHECK(sigpending(&pending) == 0 && !sigismember(&pending, SIGUSR1));
    on(SIGUSR1, note, 0);
    CHECK(sigprocmask(SIG_SETMASK, &none, NULL) == 0);
    CHECK(count == 0);
    /* These do nothing by default. */
    raise(SIGCHLD);
    raise(SIGURG);
    raise(SIGWINCH);
    raise(SIGCONT);
    no_longer(SIGUSR1);
    return 0;
}

/* Stacks. */

static char stack_memory[65536] __attribute__((aligned(4096)));
static volatile int was_on_stack, was_refused, context_has_stack;
static volatile uintptr_t frame;

static void look_at_stack(int number, siginfo_t *info, void *context)
{
    note(number, info, context);
    volatile char here = 0;
    stack_t now_, other = {.ss_sp = stack_memory, .ss_size = sizeof stack_memory};
    frame = (uintptr_t)__builtin_frame_address(0);
    MUST(sigaltstack(NULL, &now_) == 0);
    uintptr_t begin = (uintptr_t)stack_memory, at = (uintptr_t)&here;
    was_on_stack = (now_.ss_flags & SS_ONSTACK) && at >= begin && at < begin + sizeof stack_memory;
    was_refused = sigaltstack(&other, NULL) == -1 && errno == EPERM;
    stack_t *of_context = &((ucontext_t *)context)->uc_stack;
    context_has_stack = of_context->ss_sp == stack_memory && of_context->ss_size == sizeof stack_memory;
    if (number == SIGUSR1)
        raise(SIGUSR2);
}

static int has_stacks(void)
{
    stack_t stack = {.ss_sp = stack_memory, .ss_size = sizeof stack_memory}, old;
    CHECK(sigaltstack(NULL, &old) == 0 && old.ss_flags == SS_DISABLE);
    CHECK(sigaltstack(&stack, NULL) == 0);
    CHECK(sigaltstack(NULL, &old) == 0 && old.ss_flags == 0);
    CHECK(old.ss_sp == stack_memory && old.ss_size == sizeof stack_memory);
    on(SIGUSR2, look_at_stack, SA_ONSTACK);
    on(SIGUSR1, look_at_stack, SA_ONSTACK);
    was_on_stack = was_refused = context_has_stack = count = 0;
    raise(SIGUSR2);
    CHECK(count == 1 && was_on_stack && was_refused && context_has_stack);
    CHECK(frame % 16 == 0);
    /* A second one continues there, below the first; without the flag it's the ordinary stack. */
    raise(SIGUSR1);
    CHECK(count == 3 && was_on_stack && was_refused);
    on(SIGUSR2, look_at_stack, 0);
    was_on_stack = 1;
    raise(SIGUSR2);
    CHECK(count == 4 && !was_on_stack);
    CHECK(sigaltstack(NULL, &old) == 0 && old.ss_flags == 0);
    stack.ss_size = 1024;
    CHECK_ERRNO(sigaltstack(&stack, NULL), ENOMEM);
    stack.ss_size = sizeof stack_memory;
    stack.ss_flags = 0x100;
    CHECK_ERRNO(sigaltstack(&stack, NULL), EINVAL);
    stack.ss_flags = SS_DISABLE;
    CHECK(sigaltstack(&stack, NULL) == 0 && sigaltstack(NULL, &old) == 0 && old.ss_flags == SS_DISABLE);
    on(SIGUSR2, look_at_stack, SA_ONSTACK);
    raise(SIGUSR2);
    CHECK(count == 5 && !was_on_stack);
    no_longer(SIGUSR1);
    no_longer(SIGUSR2);
    return 0;
}

static int jumps_out(void)
{
    on(SIGUSR1, leap, 0);
    volatile int times = 0;
    for (int i = 0; i < 100; i++) {
        if (sigsetjmp(back, 1) == 0) {
            raise(SIGUSR1);
            return 1;
        }
        times++;
        CHECK(blocked_are(0, 0));
    }
    CHECK(times == 100);
    /* Without the mask, it stays as the handler had it. */
    if (sigsetjmp(back, 0) == 0) {
        raise(SIGUSR1);
        return 1;
    }
    CHECK(blocked_are(SIGUSR1, 0));
    sigset_t none = set_of(0, 0);
    CHECK(sigprocmask(SIG_SETMASK, &none, NULL) == 0);
    no_longer(SIGUSR1);
    return 0;
}

static int refuses(void)
{
    struct sigaction action = {.sa_handler = SIG_IGN};
    sigset_t set = set_of(0, 0);
    CHECK_ERRNO(sigaction(SIGKILL, &action, NULL), EINVAL);
    CHECK_ERRNO(sigaction(SIGSTOP, &action, NULL), EINVAL);
    CHECK_ERRNO(sigaction(0, &action, NULL), EINVAL);
    CHECK_ERRNO(sigaction(65, &action, NULL), EINVAL);
    CHECK_ERRNO(sigprocmask(99, &set, NULL), EINVAL);
    CHECK_ERRNO(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, NULL, 4), EINVAL);
    CHECK_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 16), EINVAL);
    CHECK_ERRNO(kill(getpid(), 65), EINVAL);
    CHECK_ERRNO(kill(getpid(), -1), EINVAL);
    CHECK_ERRNO(kill(0x3fffffff, 0), ESRCH);
    CHECK_ERRNO(syscall(SYS_tgkill, getpid(), 0x3fffffff, SIGUSR1), ESRCH);
    CHECK_ERRNO(syscall(SYS_tgkill, getpid(), -1, SIGUSR1), EINVAL);
    CHECK_ERRNO(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), 65), EINVAL);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"runs handlers", runs_handlers},
        {"says who sent", says_who_sent},
        {"says what faulted", says_what_faulted},
        {"goes on after repair", goes_on_after_repair},
        {"keeps registers", keeps_registers},
        {"keeps vectors", keeps_vectors},
        {"obeys flags", obeys_flags},
        {"masks", masks},
        {"queues", queues},
        {"ignores", ignores},
        {"has stacks", has_stacks},
        {"jumps out", jumps_out},
        {"refuses", refuses},
    };
    return RUN_PARTS(parts, argc, argv);
}
