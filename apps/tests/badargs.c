// SPDX-License-Identifier: MIT OR Apache-2.0

// Every pointer that common system calls take, as null, unmapped, inaccessible, the kernel's, not canonical, at the
// end of the addresses, and at the end of memory. Prints the error where Linux documents it; where it doesn't, or where
// an isle may not have the call, it's enough that the program and its memory survive.

#define _GNU_SOURCE
#include <asm/prctl.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>

#include "check.h"

#define PAGE ((size_t)4096)

/* Arguments that main fills in. */
#define BAD ((long)0xbadbadbad)    /* the pointer that is wrong */
#define BUFFER ((long)0xbbbbbbbb)  /* a good page of zeroes, but for its beginning if something is written there */
#define PATH ((long)0xbbbbbbbc)    /* of no file */
#define LINK ((long)0xbbbbbbbd)    /* of a symbolic link */
#define ZERO ((long)0xbbbbbbbe)    /* a descriptor of /dev/zero */
#define FILE_ ((long)0xbbbbbbbf)   /* one of a file that can be written */
#define DIR ((long)0xbbbbbbb0)     /* one of a directory */

/* Which errors are right. */
enum {
    FAULTS = 1,    /* always EFAULT */
    OPTIONAL = 2,  /* null may be passed, otherwise EFAULT */
    INVALID = 4,   /* EINVAL for null, otherwise EFAULT */
    STREAM = 8,    /* EFAULT, but at the end of memory a part may be read or written */
    SURVIVES = 16, /* whatever */
};

static const struct call { const char *name; int expected; long number; long args[6]; } calls[] = {
    /* files */
    {"read", STREAM, SYS_read, {ZERO, BAD, 100}},
    {"write", STREAM, SYS_write, {FILE_, BAD, 100}},
    {"pread64", STREAM, SYS_pread64, {ZERO, BAD, 100}},
    {"pwrite64", STREAM, SYS_pwrite64, {FILE_, BAD, 100}},
    {"readv", FAULTS, SYS_readv, {ZERO, BAD, 2}},
    {"writev", FAULTS, SYS_writev, {FILE_, BAD, 2}},
    {"preadv", FAULTS, SYS_preadv, {ZERO, BAD, 2}},
    {"pwritev", FAULTS, SYS_pwritev, {FILE_, BAD, 2}},
    {"open", FAULTS, SYS_open, {BAD, O_RDONLY}},
    {"openat", FAULTS, SYS_openat, {AT_FDCWD, BAD, O_RDONLY}},
    {"creat", FAULTS, SYS_creat, {BAD, 0600}},
    {"stat path", FAULTS, SYS_stat, {BAD, BUFFER}},
    {"stat", FAULTS, SYS_stat, {LINK, BAD}},
    {"lstat path", FAULTS, SYS_lstat, {BAD, BUFFER}},
    {"lstat", FAULTS, SYS_lstat, {LINK, BAD}},
    {"fstat", FAULTS, SYS_fstat, {ZERO, BAD}},
    {"newfstatat path", FAULTS, SYS_newfstatat, {AT_FDCWD, BAD, BUFFER, 0}},
    {"newfstatat", FAULTS, SYS_newfstatat, {AT_FDCWD, LINK, BAD, 0}},
    {"statx path", FAULTS, SYS_statx, {AT_FDCWD, BAD, 0, 0x7ff, BUFFER}},
    {"statx", FAULTS, SYS_statx, {AT_FDCWD, LINK, 0, 0x7ff, BAD}},
    {"access", FAULTS, SYS_access, {BAD, F_OK}},
    {"faccessat", FAULTS, SYS_faccessat, {AT_FDCWD, BAD, F_OK}},
    {"readlink path", FAULTS, SYS_readlink, {BAD, BUFFER, 100}},
    {"readlink", FAULTS, SYS_readlink, {LINK, BAD, 100}},
    {"readlinkat path", FAULTS, SYS_readlinkat, {AT_FDCWD, BAD, BUFFER, 100}},
    {"readlinkat", FAULTS, SYS_readlinkat, {AT_FDCWD, LINK, BAD, 100}},
    {"getcwd", FAULTS, SYS_getcwd, {BAD, 4096}},
    {"chdir", FAULTS, SYS_chdir, {BAD}},
    {"mkdir", FAULTS, SYS_mkdir, {BAD, 0700}},
    {"mkdirat", FAULTS, SYS_mkdirat, {AT_FDCWD, BAD, 0700}},
    {"rmdir", FAULTS, SYS_rmdir, {BAD}},
    {"unlink", FAULTS, SYS_unlink, {BAD}},
    {"unlinkat", FAULTS, SYS_unlinkat, {AT_FDCWD, BAD, 0}},
    {"rename from", FAULTS, SYS_rename, {BAD, PATH}},
    {"rename to", FAULTS, SYS_rename, {PATH, BAD}},
    {"renameat from", FAULTS, SYS_renameat, {AT_FDCWD, BAD, AT_FDCWD, PATH}},
    {"renameat to", FAULTS, SYS_renameat, {AT_FDCWD, PATH, AT_FDCWD, BAD}},
    {"getdents64", FAULTS, SYS_getdents64, {DIR, BAD, 4096}},
    /* time */
    {"clock_gettime", FAULTS, SYS_clock_gettime, {CLOCK_MONOTONIC, BAD}},
    {"clock_getres", OPTIONAL, SYS_clock_getres, {CLOCK_MONOTONIC, BAD}},
    {"gettimeofday", OPTIONAL, SYS_gettimeofday, {BAD, 0}},
    {"gettimeofday zone", OPTIONAL, SYS_gettimeofday, {0, BAD}},
    {"time", OPTIONAL, SYS_time, {BAD}},
    {"times", OPTIONAL, SYS_times, {BAD}},
    {"nanosleep", FAULTS, SYS_nanosleep, {BAD, 0}},
    {"clock_nanosleep", FAULTS, SYS_clock_nanosleep, {CLOCK_MONOTONIC, 0, BAD, 0}},
    {"getitimer", FAULTS, SYS_getitimer, {ITIMER_REAL, BAD}},
    {"setitimer", OPTIONAL, SYS_setitimer, {ITIMER_REAL, BAD, 0}},
    {"setitimer old", OPTIONAL, SYS_setitimer, {ITIMER_REAL, BUFFER, BAD}},
    {"timer_create id", FAULTS, SYS_timer_create, {CLOCK_MONOTONIC, 0, BAD}},
    {"timer_create", OPTIONAL, SYS_timer_create, {CLOCK_MONOTONIC, BAD, BUFFER}},
    /* signals */
    {"rt_sigaction", OPTIONAL, SYS_rt_sigaction, {SIGUSR1, BAD, 0, 8}},
    {"rt_sigaction old", OPTIONAL, SYS_rt_sigaction, {SIGUSR1, 0, BAD, 8}},
    {"rt_sigprocmask", OPTIONAL, SYS_rt_sigprocmask, {SIG_BLOCK, BAD, 0, 8}},
    {"rt_sigprocmask old", OPTIONAL, SYS_rt_sigprocmask, {SIG_BLOCK, 0, BAD, 8}},
    {"rt_sigpending", FAULTS, SYS_rt_sigpending, {BAD, 8}},
    {"rt_sigsuspend", FAULTS, SYS_rt_sigsuspend, {BAD, 8}},
    {"rt_sigtimedwait", FAULTS, SYS_rt_sigtimedwait, {BAD, 0, BUFFER, 8}},
    {"rt_sigqueueinfo", FAULTS, SYS_rt_sigqueueinfo, {0x3fffffff, SIGURG, BAD}},
    {"sigaltstack", OPTIONAL, SYS_sigaltstack, {BAD, 0}},
    {"sigaltstack old", OPTIONAL, SYS_sigaltstack, {0, BAD}},
    /* threads and processes */
    {"futex wait", FAULTS, SYS_futex, {BAD, FUTEX_WAIT, 1, BUFFER}},
    {"futex private wait", FAULTS, SYS_futex, {BAD, FUTEX_WAIT_PRIVATE, 1, BUFFER}},
    {"futex timeout", SURVIVES, SYS_futex, {BUFFER, FUTEX_WAIT_PRIVATE, 1, BAD}},
    {"futex requeue", FAULTS, SYS_futex, {BAD, FUTEX_CMP_REQUEUE_PRIVATE, 1, 1, BUFFER, 0}},
    {"futex second", FAULTS, SYS_futex, {BUFFER, FUTEX_WAKE_OP_PRIVATE, 1, 1, BAD, 0}},
    {"get_robust_list", FAULTS, SYS_get_robust_list, {0, BAD, BUFFER}},
    {"get_robust_list length", FAULTS, SYS_get_robust_list, {0, BUFFER, BAD}},
    {"sched_getaffinity", FAULTS, SYS_sched_getaffinity, {0, 128, BAD}},
    {"sched_setaffinity", FAULTS, SYS_sched_setaffinity, {0, 128, BAD}},
    {"sched_getparam", INVALID, SYS_sched_getparam, {0, BAD}},
    {"getcpu", OPTIONAL, SYS_getcpu, {BAD, 0, 0}},
    {"getcpu node", OPTIONAL, SYS_getcpu, {0, BAD, 0}},
    {"arch_prctl", FAULTS, SYS_arch_prctl, {ARCH_GET_FS, BAD}},
    {"prctl name", FAULTS, SYS_prctl, {PR_GET_NAME, BAD}},
    {"prctl new name", STREAM, SYS_prctl, {PR_SET_NAME, BAD}},
    {"uname", FAULTS, SYS_uname, {BAD}},
    {"sysinfo", FAULTS, SYS_sysinfo, {BAD}},
    {"getrusage", FAULTS, SYS_getrusage, {RUSAGE_SELF, BAD}},
    {"getrlimit", FAULTS, SYS_getrlimit, {RLIMIT_NOFILE, BAD}},
    {"setrlimit", FAULTS, SYS_setrlimit, {RLIMIT_CORE, BAD}},
    {"prlimit64", OPTIONAL, SYS_prlimit64, {0, RLIMIT_CORE, BAD, 0}},
    {"prlimit64 old", OPTIONAL, SYS_prlimit64, {0, RLIMIT_NOFILE, 0, BAD}},
    {"getrandom", STREAM, SYS_getrandom, {BAD, 100, 0}},
    {"poll", FAULTS, SYS_poll, {BAD, 2, 0}},
    {"ppoll", FAULTS, SYS_ppoll, {BAD, 2, BUFFER, 0, 8}},
    /* these may wait if the pointer is good, so nothing is sure, or an isle may not have them */
    {"clone3", SURVIVES, SYS_clone3, {BAD, 88}},
    {"execve", SURVIVES, SYS_execve, {BAD, 0, 0}},
    {"execve arguments", SURVIVES, SYS_execve, {PATH, BAD, 0}},
    {"wait4", SURVIVES, SYS_wait4, {-1, BAD, 1, 0}},
    {"waitid", SURVIVES, SYS_waitid, {0, 0, BAD, 5, 0}},
    {"pipe", SURVIVES, SYS_pipe, {BAD}},
    {"pipe2", SURVIVES, SYS_pipe2, {BAD, O_CLOEXEC}},
    {"select", SURVIVES, SYS_select, {1, BAD, 0, 0, BUFFER}},
    {"pselect6", SURVIVES, SYS_pselect6, {1, BUFFER, 0, 0, BUFFER, BAD}},
    {"epoll_ctl", SURVIVES, SYS_epoll_ctl, {ZERO, EPOLL_CTL_ADD, ZERO, BAD}},
    {"epoll_wait", SURVIVES, SYS_epoll_wait, {ZERO, BAD, 10, 0}},
    {"socketpair", SURVIVES, SYS_socketpair, {AF_UNIX, SOCK_STREAM, 0, BAD}},
    {"bind", SURVIVES, SYS_bind, {ZERO, BAD, 16}},
    {"connect", SURVIVES, SYS_connect, {ZERO, BAD, 16}},
    {"accept", SURVIVES, SYS_accept, {ZERO, BAD, BAD}},
    {"getsockname", SURVIVES, SYS_getsockname, {ZERO, BAD, BAD}},
    {"sendto", SURVIVES, SYS_sendto, {ZERO, BAD, 100, 0, BAD, 16}},
    {"recvfrom", SURVIVES, SYS_recvfrom, {ZERO, BAD, 100, 0, BAD, BAD}},
    {"sendmsg", SURVIVES, SYS_sendmsg, {ZERO, BAD, 0}},
    {"recvmsg", SURVIVES, SYS_recvmsg, {ZERO, BAD, 0}},
    {"setsockopt", SURVIVES, SYS_setsockopt, {ZERO, 1, 2, BAD, 4}},
    {"sendfile", SURVIVES, SYS_sendfile, {FILE_, ZERO, BAD, 100}},
    {"truncate", SURVIVES, SYS_truncate, {BAD, 0}},
    {"chmod", SURVIVES, SYS_chmod, {BAD, 0600}},
    {"chown", SURVIVES, SYS_chown, {BAD, -1, -1}},
    {"link", SURVIVES, SYS_link, {BAD, BAD}},
    {"symlink", SURVIVES, SYS_symlink, {BAD, PATH}},
    {"utimensat", SURVIVES, SYS_utimensat, {AT_FDCWD, PATH, BAD, 0}},
    {"statfs", SURVIVES, SYS_statfs, {LINK, BAD}},
    {"getgroups", SURVIVES, SYS_getgroups, {10, BAD}},
    {"getresuid", SURVIVES, SYS_getresuid, {BAD, BAD, BAD}},
    {"capget", SURVIVES, SYS_capget, {BAD, BAD}},
    {"fcntl", SURVIVES, SYS_fcntl, {FILE_, F_GETLK, BAD}},
    {"ioctl", SURVIVES, SYS_ioctl, {ZERO, 0x5401, BAD}},
    {"sched_setscheduler", SURVIVES, SYS_sched_setscheduler, {0, SCHED_OTHER, BAD}},
    {"sched_rr_get_interval", SURVIVES, SYS_sched_rr_get_interval, {0, BAD}},
    {"sched_getattr", SURVIVES, SYS_sched_getattr, {0, BAD, 48, 0}},
    {"timer_settime", SURVIVES, SYS_timer_settime, {12345, 0, BAD, 0}},
    {"clock_settime", SURVIVES, SYS_clock_settime, {CLOCK_MONOTONIC, BAD}},
    {"get_mempolicy", SURVIVES, SYS_get_mempolicy, {BAD, 0, 0, 0, 0}},
    {"mbind", SURVIVES, SYS_mbind, {BUFFER, PAGE, 0, BAD, 64, 0}},
    {"process_vm_readv", SURVIVES, SYS_process_vm_readv, {0, BAD, 1, BAD, 1, 0}},
    {"membarrier", SURVIVES, SYS_membarrier, {0, 0, BAD}},
    {"set_robust_list", SURVIVES, SYS_set_robust_list, {BAD, 24}},
    {"set_tid_address", SURVIVES, SYS_set_tid_address, {BAD}},
};

static unsigned char *page; /* followed by one that can't be accessed */
static unsigned char *buffer;
static char path[64], link_[] = "/proc/self/exe";
static int zero, file, directory;

static long value_of(long arg, long bad)
{
    switch (arg) {
    case BAD: return bad;
    case BUFFER: return (long)buffer;
    case PATH: return (long)path;
    case LINK: return (long)link_;
    case ZERO: return zero;
    case FILE_: return file;
    case DIR: return directory;
    default: return arg;
    }
}

static int try_call(const struct call *call)
{
    const struct { const char *name; long at; } kinds[] = {
        {"null", 0},
        {"unmapped", 0x10000},
        {"inaccessible", (long)(page + PAGE)},
        {"in the midst of it", (long)(page + PAGE + 2048)},
        {"kernel", (long)0xffffffff81000000},
        {"direct map", (long)0xffff888000000000},
        {"not canonical", (long)0x8000000000000000},
        {"last page", 0x7fffffffe000},
        {"end of user space", 0x7ffffffffff8},
        {"wraps", -8},
        {"last byte", -1},
        {"end of memory", (long)(page + PAGE - 1)},
        {"odd, end of memory", (long)(page + PAGE - 3)},
    };
    int failed = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        int at_end = strstr(kinds[i].name, "end of memory") != NULL, null = kinds[i].at == 0;
        long args[6];
        memset(buffer, 0, PAGE);
        memset(page + PAGE - 8, 'x', 8); /* of a path without an end */
        for (int j = 0; j < 6; j++)
            args[j] = value_of(call->args[j], kinds[i].at);
        errno = 0;
        long result = syscall(call->number, args[0], args[1], args[2], args[3], args[4], args[5]);
        int expected = null && call->expected == OPTIONAL ? 0 : null && call->expected == INVALID ? EINVAL : EFAULT;
        if (call->expected == SURVIVES || (call->expected == STREAM && at_end))
            continue;
        /* What isn't aligned is wrong for another reason. */
        if (call->number == SYS_futex && kinds[i].at % 4 != 0)
            expected = EINVAL;
        if (expected == 0 ? result >= 0 : result == -1 && errno == expected)
            continue;
        fprintf(stderr, "%s, %s: %ld, errno %d, expected %d\n", call->name, kinds[i].name, result, errno, expected);
        failed = 1;
    }
    return failed;
}

static int lengths(void)
{
    struct iovec vector[2] = {{buffer, 100}, {(void *)0x10000, 100}};
    CHECK_ERRNO(syscall(SYS_read, zero, buffer, -1L), EFAULT);
    CHECK_ERRNO(syscall(SYS_write, file, buffer, -1L), EFAULT);
    CHECK_ERRNO(syscall(SYS_read, 1000, 0x10000, 100), EBADF);
    CHECK_ERRNO(syscall(SYS_write, 1000, 0x10000, 100), EBADF);
    CHECK(syscall(SYS_read, zero, 0x10000, 0) == 0);
    CHECK(syscall(SYS_write, file, 0x10000, 0) == 0);
    /* The part that is there is read, then it ends. */
    CHECK_IS(readv(zero, vector, 2), 100);
    vector[0].iov_base = (void *)0x10000;
    CHECK_ERRNO(readv(zero, vector, 2), EFAULT);
    CHECK_ERRNO(writev(file, vector, 2), EFAULT);
    vector[0] = (struct iovec){buffer, (size_t)-1};
    CHECK_ERRNO(readv(zero, vector, 1), EINVAL);
    CHECK_ERRNO(writev(file, vector, 1), EINVAL);
    CHECK_ERRNO(syscall(SYS_readv, zero, vector, -1L), EINVAL);
    CHECK_ERRNO(syscall(SYS_writev, file, vector, 1025), EINVAL);
    CHECK_ERRNO(syscall(SYS_getcwd, buffer, 1), ERANGE);
    CHECK_ERRNO(syscall(SYS_readlink, link_, buffer, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_readlink, link_, buffer, -1), EINVAL);
    CHECK_ERRNO(syscall(SYS_sched_getaffinity, 0, 1, buffer), EINVAL);
    CHECK_ERRNO(syscall(SYS_rt_sigprocmask, SIG_BLOCK, buffer, 0, 7), EINVAL);
    CHECK_ERRNO(syscall(SYS_rt_sigpending, buffer, 9), EINVAL);
    CHECK_ERRNO(syscall(SYS_rt_sigsuspend, buffer, 7), EINVAL);
    CHECK_ERRNO(syscall(SYS_rt_sigtimedwait, buffer, 0, buffer, 7), EINVAL);
    CHECK_ERRNO(syscall(SYS_set_robust_list, buffer, 23), EINVAL);
    CHECK_ERRNO(syscall(SYS_getrandom, buffer, 1, 0xff00), EINVAL);
    CHECK_ERRNO(syscall(SYS_poll, buffer, -1L, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_getrlimit, 99, buffer), EINVAL);
    /* A path may be long, but not that long. */
    memset(page, '/', PAGE);
    page[PAGE - 1] = 0;
    long root = syscall(SYS_open, page, O_RDONLY);
    CHECK(root >= 0 && close((int)root) == 0);
    CHECK(mprotect(page + PAGE, PAGE, PROT_READ | PROT_WRITE) == 0);
    memset(page, '/', 2 * PAGE);
    CHECK_ERRNO(syscall(SYS_open, page, O_RDONLY), ENAMETOOLONG);
    CHECK_ERRNO(syscall(SYS_open, "", O_RDONLY), ENOENT);
    return 0;
}

/* Structures needn't be aligned. */
static int misaligned(void)
{
    unsigned char *odd = page + 1;
    memset(page, 0, PAGE);
    CHECK(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, odd) == 0);
    CHECK(syscall(SYS_gettimeofday, odd, 0) == 0);
    CHECK(syscall(SYS_fstat, zero, odd) == 0);
    CHECK(syscall(SYS_uname, odd) == 0 && strcmp((char *)odd, "Linux") == 0);
    CHECK(syscall(SYS_getrusage, RUSAGE_SELF, odd) == 0);
    CHECK(syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, odd, 8) == 0);
    CHECK(syscall(SYS_sched_getaffinity, 0, 128, odd) > 0);
    memset(page, 0, PAGE);
    CHECK(syscall(SYS_nanosleep, odd, 0) == 0);
    CHECK(syscall(SYS_readv, zero, odd, 2) == 0);
    CHECK_ERRNO(syscall(SYS_futex, odd, FUTEX_WAIT_PRIVATE, 1, 0, 0, 0), EINVAL);
    return 0;
}

int main(void)
{
    page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    buffer = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED && buffer != MAP_FAILED && mprotect(page + PAGE, PAGE, PROT_NONE) == 0);
    const char *dir = getenv("TMPDIR");
    char name[4096];
    snprintf(path, sizeof path, "/badargs-is-nowhere");
    snprintf(name, sizeof name, "%s/badargs.%ld", dir ? dir : "/tmp", (long)getpid());
    zero = open("/dev/zero", O_RDONLY);
    directory = open("/", O_RDONLY | O_DIRECTORY);
    file = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    CHECK(zero >= 0 && directory >= 0 && file >= 0 && unlink(name) == 0);
    CHECK(chdir("/proc") == 0); /* for getcwd: longer than the few bytes at the end of memory */
    int status = 0;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        static const char *const texts[] = {[FAULTS] = "EFAULT", [OPTIONAL] = "EFAULT but for null",
                                            [INVALID] = "EINVAL for null, else EFAULT", [STREAM] = "EFAULT"};
        int failed = try_call(&calls[i]);
        status |= failed;
        if (calls[i].expected != SURVIVES || failed)
            printf("%s: %s\n", calls[i].name, failed ? "FAILED" : texts[calls[i].expected]);
        fflush(stdout);
    }
    printf("survived the others\n");
    status |= misaligned();
    status |= lengths();
    printf("%s\n", status ? "FAILED" : "ok");
    return status;
}
