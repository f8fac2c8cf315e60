// SPDX-License-Identifier: MIT OR Apache-2.0

// Who the process is, its limits, and what it may set without effect. Prints what must be the same on an isle.

#define _GNU_SOURCE
#include <grp.h>
#include <linux/capability.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "check.h"

static int ids(void)
{
    uid_t u[3];
    gid_t g[3], groups[100];
    CHECK(getresuid(&u[0], &u[1], &u[2]) == 0 && getresgid(&g[0], &g[1], &g[2]) == 0);
    printf("%u %u %u %u %u %u ", u[0], u[1], u[2], g[0], g[1], g[2]);
    int count = getgroups(100, groups);
    CHECK(count >= 0 && getgroups(0, NULL) == count);
    for (int i = 0; i < count; i++)
        printf("%u ", groups[i]);
    if (count > 1)
        CHECK_ERRNO(getgroups(1, groups), EINVAL);
    CHECK_ERRNO(syscall(SYS_getgroups, -1, groups), EINVAL);
    CHECK(setuid(u[1]) == 0 && setgid(g[1]) == 0 && setreuid(u[0], u[1]) == 0 && setregid((gid_t)-1, g[1]) == 0);
    CHECK(setresuid((uid_t)-1, u[1], (uid_t)-1) == 0 && setresgid(g[0], g[1], g[2]) == 0);
    CHECK_ERRNO(setuid((uid_t)-1), EINVAL);
    CHECK(getpid() > 1 && getppid() > 0 && getpgrp() > 0 && getpgid(0) == getpgrp() && getsid(0) > 0);
    CHECK(getpid() == getpid() && gettid() == getpid());
    CHECK_ERRNO(getpgid(1 << 22), ESRCH);
    CHECK_ERRNO(setpgid(0, -1), EINVAL);
    return 0;
}

static int limits(void)
{
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        struct rlimit limit;
        CHECK(getrlimit(i, &limit) == 0);
        if (i == RLIMIT_NOFILE || i == RLIMIT_STACK)
            printf("%lx %lx ", (long)limit.rlim_cur, (long)limit.rlim_max);
    }
    struct rlimit old, new = {.rlim_cur = 100, .rlim_max = 200};
    CHECK_ERRNO(getrlimit(99, &old), EINVAL);
    CHECK(prlimit(0, RLIMIT_CORE, NULL, &old) == 0);
    new.rlim_max = old.rlim_max;
    new.rlim_cur = 0;
    CHECK(prlimit(getpid(), RLIMIT_CORE, &new, NULL) == 0 && getrlimit(RLIMIT_CORE, &new) == 0 && new.rlim_cur == 0);
    new = (struct rlimit){.rlim_cur = 2, .rlim_max = 1};
    CHECK_ERRNO(setrlimit(RLIMIT_CORE, &new), EINVAL);
    CHECK_ERRNO(prlimit(1 << 22, RLIMIT_CORE, NULL, &old), ESRCH);
    return 0;
}

static int controls(void)
{
    char name[16];
    CHECK(prctl(PR_SET_NAME, "a name that is too long") == 0 && prctl(PR_GET_NAME, name) == 0);
    CHECK(strcmp(name, "a name that is ") == 0);
    CHECK_IS(prctl(PR_GET_DUMPABLE), 1);
    CHECK(prctl(PR_SET_DUMPABLE, 0) == 0 && prctl(PR_GET_DUMPABLE) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0);
    CHECK_ERRNO(prctl(PR_SET_DUMPABLE, 7), EINVAL);
    int number = -1;
    CHECK(prctl(PR_SET_PDEATHSIG, 10) == 0 && prctl(PR_GET_PDEATHSIG, &number) == 0 && number == 10);
    CHECK_ERRNO(prctl(PR_SET_PDEATHSIG, 100), EINVAL);
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    CHECK_ERRNO(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
    CHECK(prctl(PR_SET_TIMERSLACK, 1000) == 0 && prctl(PR_GET_TIMERSLACK) == 1000);
    CHECK_IS(prctl(PR_CAPBSET_READ, 0), 1);
    CHECK_ERRNO(prctl(PR_CAPBSET_READ, 1000), EINVAL);
    CHECK_ERRNO(prctl(12345), EINVAL);
    CHECK_IS(personality(0xffffffff) & 0xff, 0);
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    CHECK(syscall(SYS_capget, &header, data) == 0);
    printf("%d ", data[0].effective != 0);
    CHECK(syscall(SYS_capset, &header, data) == 0);
    header.version = 1;
    CHECK_ERRNO(syscall(SYS_capget, &header, data), EINVAL);
    CHECK(header.version == _LINUX_CAPABILITY_VERSION_3);
    errno = 0;
    CHECK(getpriority(PRIO_PROCESS, 0) == 0 && errno == 0 && setpriority(PRIO_PROCESS, 0, 5) == 0);
    CHECK(getpriority(PRIO_PROCESS, getpid()) == 5);
    CHECK_ERRNO(getpriority(7, 0), EINVAL);
    CHECK_ERRNO(setpriority(PRIO_PROCESS, 1 << 22, 5), ESRCH);
    CHECK(syscall(SYS_ioprio_get, 1, 0) >= 0 && syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 4) == 0);
    struct { unsigned size, policy; unsigned long flags; int nice; unsigned priority; unsigned long times[3]; } attr;
    CHECK(syscall(SYS_sched_getattr, 0, &attr, 48, 0) == 0 && attr.size == 48 && attr.policy == SCHED_OTHER && attr.nice == 5);
    CHECK(syscall(SYS_sched_setattr, 0, &attr, 0) == 0);
    CHECK_ERRNO(syscall(SYS_sched_getattr, 0, &attr, 10, 0), EINVAL);
    return 0;
}

static int machine(void)
{
    struct utsname name;
    CHECK(uname(&name) == 0);
    printf("%s %s %s ", name.sysname, name.nodename, name.machine);
    struct sysinfo info;
    CHECK(sysinfo(&info) == 0 && info.totalram > 0 && info.freeram <= info.totalram && info.mem_unit > 0 && info.procs > 0);
    unsigned cpu = 99, node = 99;
    CHECK(getcpu(&cpu, &node) == 0 && cpu < 99 && node < 99);
    CHECK(sysconf(_SC_NPROCESSORS_ONLN) >= 1 && sysconf(_SC_NPROCESSORS_CONF) >= sysconf(_SC_NPROCESSORS_ONLN));
    CHECK(access("/sys/devices/system/cpu/cpu0", F_OK) == 0 && access("/proc/loadavg", R_OK) == 0);
    CHECK_ERRNO(access("/sys/devices/system/cpu/cpu4000", F_OK), ENOENT);
    return 0;
}

static int memory(void)
{
    long mode = 99;
    unsigned long nodes = 0, only = 1;
    CHECK(syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0) == 0 && (int)mode == MPOL_DEFAULT);
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    page[0] = 1;
    if (syscall(SYS_get_mempolicy, NULL, &nodes, 64, NULL, MPOL_F_MEMS_ALLOWED) == 0)
        CHECK(nodes & 1);
    CHECK(syscall(SYS_mbind, page, 4096, MPOL_BIND, &only, 64, 0) == 0);
    CHECK_ERRNO(syscall(SYS_mbind, page, 4096, 99, &only, 64, 0), EINVAL);
    CHECK(syscall(SYS_set_mempolicy, MPOL_PREFERRED, &only, 64) == 0);
    CHECK(syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0) == 0 && (int)mode == MPOL_PREFERRED);
    CHECK(syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0) == 0);
    CHECK_ERRNO(syscall(SYS_set_mempolicy, 99, NULL, 0), EINVAL);
    void *pages[] = {page};
    int status = 99;
    CHECK(syscall(SYS_move_pages, 0, 1, pages, NULL, &status, 0) == 0 && status >= 0 && status < 99);
    CHECK(mlock2(page, 4096, 0) == 0 && munlock(page, 4096) == 0);
    CHECK_ERRNO(mlock2(page, 4096, 7), EINVAL);
    return munmap(page, 4096);
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"ids", ids}, {"limits", limits}, {"controls", controls}, {"machine", machine}, {"memory", memory},
    };
    return RUN_PARTS(parts, argc, argv);
}
