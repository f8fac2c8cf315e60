// SPDX-License-Identifier: MIT OR Apache-2.0

// `fault sse`: vector registers and floating-point control survive system calls and interrupts.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"

int vector_test(void);

/* All sixteen registers loaded, a system call made, all sixteen stored, with nothing in between. */
#define ALL(one) one(0) one(1) one(2) one(3) one(4) one(5) one(6) one(7) \
    one(8) one(9) one(10) one(11) one(12) one(13) one(14) one(15)
#define LOAD_XMM(n) "movdqu " #n "*16(%[in]), %%xmm" #n "\n"
#define STORE_XMM(n) "movdqu %%xmm" #n ", " #n "*16(%[out])\n"
#define LOAD_YMM(n) "vmovdqu " #n "*32(%[in]), %%ymm" #n "\n"
#define STORE_YMM(n) "vmovdqu %%ymm" #n ", " #n "*32(%[out])\n"

#define AROUND_CALL(load, store, in_, out_, number, a, b, c)                          \
    do {                                                                              \
        register long rdx_ __asm__("rdx") = (long)(c);                                \
        long rax_ = (number);                                                         \
        __asm__ volatile(ALL(load) "syscall\n" ALL(store)                             \
                         : "+a"(rax_), "+r"(rdx_)                                     \
                         : [in] "r"(in_), [out] "r"(out_), "D"((long)(a)), "S"((long)(b)) \
                         : "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", \
                           "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", \
                           "xmm15");                                                  \
        result = rax_;                                                                \
    } while (0)

static unsigned char in[16 * 32], out[16 * 32];

static void fill(int round)
{
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (unsigned char)(i * 7 + (size_t)round * 13 + 1);
    memset(out, 0, sizeof out);
}

static int sse(void)
{
    long result;
    char byte = 1;
    int null = open("/dev/null", O_RDWR);
    CHECK(null >= 0);
    for (int round = 0; round < 200; round++) {
        fill(round);
        AROUND_CALL(LOAD_XMM, STORE_XMM, in, out, SYS_getpid, 0, 0, 0);
        CHECK(result > 0 && memcmp(in, out, 16 * 16) == 0);
        fill(round + 1);
        AROUND_CALL(LOAD_XMM, STORE_XMM, in, out, SYS_write, null, &byte, 1);
        CHECK(result == 1 && memcmp(in, out, 16 * 16) == 0);
    }
    close(null);
    return 0;
}

__attribute__((target("avx"))) static int avx(void)
{
    long result;
    char byte = 1;
    int null = open("/dev/null", O_RDWR);
    CHECK(null >= 0);
    for (int round = 0; round < 200; round++) {
        fill(round);
        AROUND_CALL(LOAD_YMM, STORE_YMM, in, out, SYS_getpid, 0, 0, 0);
        CHECK(result > 0 && memcmp(in, out, sizeof in) == 0);
        fill(round + 1);
        AROUND_CALL(LOAD_YMM, STORE_YMM, in, out, SYS_write, null, &byte, 1);
        CHECK(result == 1 && memcmp(in, out, sizeof in) == 0);
    }
    close(null);
    return 0;
}

/* Rounding mode and x87 precision stay as they are set. */
static int control(void)
{
    uint32_t mxcsr, changed, back;
    uint16_t word, changed_word, word_back;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    CHECK((mxcsr & 0xffc0) == 0x1f80);
    changed = mxcsr | 0x6000;
    __asm__ volatile("ldmxcsr %0" ::"m"(changed));
    __asm__ volatile("fnstcw %0" : "=m"(word));
    changed_word = (uint16_t)(word | 0x0c00);
    __asm__ volatile("fldcw %0" ::"m"(changed_word));
    syscall(SYS_getppid);
    __asm__ volatile("stmxcsr %0" : "=m"(back));
    __asm__ volatile("fnstcw %0" : "=m"(word_back));
    __asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
    __asm__ volatile("fldcw %0" ::"m"(word));
    CHECK((back & 0x6000) == 0x6000 && word_back == changed_word && word == 0x37f);
    return 0;
}

/* Long enough that interrupts come, if there are any. */
static int sums(void)
{
    double sum = 0;
    for (int i = 1; i <= 20000000; i++)
        sum += 1.0 / ((double)i * i);
    printf("sum %.12f\n", sum);
    return 0;
}

int vector_test(void)
{
    int status = sse() | control() | sums();
    /* The text is the same where there is no AVX. */
    if (__builtin_cpu_supports("avx"))
        status |= avx();
    printf("vectors: %s\n", status ? "FAILED" : "ok");
    return status;
}
