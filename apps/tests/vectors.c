// SPDX-License-Identifier: MIT OR Apache-2.0

// Vector registers, x87 registers and floating-point control belong to a thread: more threads than CPUs hold patterns
// of their own in long loops without a system call, while they are pre-empted and handlers use the same registers.
// With AVX2 where there is some, prints the same without.

#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#include "check.h"

#define ALL(one) one(0) one(1) one(2) one(3) one(4) one(5) one(6) one(7) \
    one(8) one(9) one(10) one(11) one(12) one(13) one(14) one(15)
#define LOAD_XMM(n) "movdqu " #n "*32(%[in]), %%xmm" #n "\n"
#define STORE_XMM(n) "movdqu %%xmm" #n ", " #n "*32(%[out])\n"
#define ONES_XMM(n) "pcmpeqd %%xmm" #n ", %%xmm" #n "\n"
#define LOAD_YMM(n) "vmovdqu " #n "*32(%[in]), %%ymm" #n "\n"
#define STORE_YMM(n) "vmovdqu %%ymm" #n ", " #n "*32(%[out])\n"
#define ONES_YMM(n) "vpcmpeqd %%ymm" #n ", %%ymm" #n ", %%ymm" #n "\n"
#define CLOBBERS "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
    "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
#define SPIN "mov %[loops], %[left]\n1: sub $1, %[left]\njnz 1b\n"

enum { MOST_THREADS = 64, LOOPS = 10000000, MS_EACH = 200 };

static int avx2;

__attribute__((target("avx2"))) static void hold_ymm(const void *in, void *out, long loops)
{
    long left;
    __asm__ volatile(ALL(LOAD_YMM) SPIN ALL(STORE_YMM) "vzeroupper"
                     : [left] "=&r"(left) : [in] "r"(in), [out] "r"(out), [loops] "r"(loops) : CLOBBERS);
}

static void hold_xmm(const void *in, void *out, long loops)
{
    long left;
    __asm__ volatile(ALL(LOAD_XMM) SPIN ALL(STORE_XMM)
                     : [left] "=&r"(left) : [in] "r"(in), [out] "r"(out), [loops] "r"(loops) : CLOBBERS);
}

static void hold(const void *in, void *out, long loops)
{
    (avx2 ? hold_ymm : hold_xmm)(in, out, loops);
}

static atomic_int failures;

static void *keeps_vectors(void *arg)
{
    unsigned char in[16 * 32], out[16 * 32];
    uint64_t end = now(CLOCK_MONOTONIC) + MS_EACH * MS;
    for (int round = 0; round < 3 || now(CLOCK_MONOTONIC) < end; round++) {
        for (size_t i = 0; i < sizeof in; i++)
            in[i] = (unsigned char)((size_t)(intptr_t)arg * 37 + i * 5 + (size_t)round);
        memset(out, 0, sizeof out);
        hold(in, out, LOOPS);
        for (int i = 0; i < 16; i++)
            failures += memcmp(in + i * 32, out + i * 32, avx2 ? 32 : 16) != 0;
    }
    return NULL;
}

/* Each thread has a rounding mode of its own, for SSE and x87, and a full x87 stack. */
static void *keeps_control(void *arg)
{
    uint32_t mode = (uint32_t)(intptr_t)arg % 4, mxcsr = 0x1f80 | mode << 13, mxcsr_after;
    uint16_t word = (uint16_t)(0x37f | mode << 10), word_after;
    uint64_t end = now(CLOCK_MONOTONIC) + MS_EACH * MS;
    for (int round = 0; round < 3 || now(CLOCK_MONOTONIC) < end; round++) {
        long in[8], out[8], left;
        for (int i = 0; i < 8; i++)
            in[i] = (intptr_t)arg * 1000 + round * 10 + i;
        __asm__ volatile("fninit\nfldcw %[word]\nldmxcsr %[mxcsr]\n"
                         "fildq (%[in])\nfildq 8(%[in])\nfildq 16(%[in])\nfildq 24(%[in])\n"
                         "fildq 32(%[in])\nfildq 40(%[in])\nfildq 48(%[in])\nfildq 56(%[in])\n" SPIN
                         "fistpq 56(%[out])\nfistpq 48(%[out])\nfistpq 40(%[out])\nfistpq 32(%[out])\n"
                         "fistpq 24(%[out])\nfistpq 16(%[out])\nfistpq 8(%[out])\nfistpq (%[out])\n"
                         "fnstcw %[word_after]\nstmxcsr %[mxcsr_after]\nfninit\n"
                         : [left] "=&r"(left), [word_after] "=m"(word_after), [mxcsr_after] "=m"(mxcsr_after)
                         : [in] "r"(in), [out] "r"(out), [loops] "r"((long)LOOPS), [word] "m"(word), [mxcsr] "m"(mxcsr)
                         : "memory", "cc", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
        failures += memcmp(in, out, sizeof in) != 0 || word_after != word || mxcsr_after != mxcsr;
        uint32_t usual = 0x1f80;
        __asm__ volatile("ldmxcsr %0" ::"m"(usual));
    }
    return NULL;
}

static int threads_wanted(void)
{
    cpu_set_t set;
    MUST(sched_getaffinity(0, sizeof set, &set) == 0);
    int threads = 2 * CPU_COUNT(&set) + 1;
    return threads < MOST_THREADS ? threads : MOST_THREADS;
}

static pthread_t threads[MOST_THREADS];

static int in_all(void *(*run)(void *), int signals)
{
    int count = threads_wanted();
    failures = 0;
    for (int i = 0; i < count; i++)
        threads[i] = start(run, (void *)(intptr_t)i);
    for (int round = 0; round < signals; round++) {
        sleep_ms(MS_EACH / 2 / (unsigned)signals);
        for (int i = 0; i < count; i++)
            CHECK(pthread_kill(threads[i], SIGUSR1) == 0);
    }
    for (int i = 0; i < count; i++)
        join(threads[i]);
    CHECK_IS(failures, 0);
    return 0;
}

static int over_preemption(void)
{
    return in_all(keeps_vectors, 0);
}

static int control_too(void)
{
    return in_all(keeps_control, 0);
}

static atomic_int handled;

__attribute__((target("avx2"))) static void overwrite_ymm(void)
{
    __asm__ volatile(ALL(ONES_YMM) ::: CLOBBERS);
}

static void overwrite(int number)
{
    (void)number;
    if (avx2)
        overwrite_ymm();
    else
        __asm__ volatile(ALL(ONES_XMM) ::: CLOBBERS);
    uint32_t other = 0x3f80;
    __asm__ volatile("fninit\nfldz\nldmxcsr %0" ::"m"(other));
    handled++;
}

/* Threads still exist as long as nobody has joined them, so signals may come too late to be handled: not all count. */
static int over_signals(void)
{
    struct sigaction action = {.sa_handler = overwrite, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    int status = in_all(keeps_vectors, 20) || in_all(keeps_control, 20);
    CHECK(handled > 0);
    return status;
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"over pre-emption", over_preemption},
        {"control too", control_too},
        {"over signals", over_signals},
    };
    avx2 = __builtin_cpu_supports("avx2");
    return RUN_PARTS(parts, argc, argv);
}
