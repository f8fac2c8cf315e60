// SPDX-License-Identifier: MIT OR Apache-2.0

// Commands that a program runs: system, popen, posix_spawn, vfork and fork with execve; what they are given, how they end,
// and what the program is told of it. All commands are /bin/sh, cat, echo and sleep.

#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

extern char **environ;

/* Only sends a signal to the child if it is one. */
#define IS_CHILD(pid) CHECK((pid) > 0)

#define SH(script) ((char *[]){"sh", "-c", script, NULL})

/* Which way a child is made. */
enum way { FORK, VFORK };

/* In the child: `from` becomes 0 and `to` becomes 1, unless they are -1. */
static pid_t run(enum way way, const char *path, char **argv, char **envp, int from, int to)
{
    pid_t pid = way == FORK ? fork() : vfork();
    if (pid == 0) {
        if (from != -1)
            dup2(from, 0);
        if (to != -1)
            dup2(to, 1);
        execve(path, argv, envp);
        _exit(errno);
    }
    return pid;
}

static pid_t run_script(enum way way, char *script)
{
    return run(way, "/bin/sh", SH(script), environ, -1, -1);
}

/* The wait status, or -1. */
static int status_of(pid_t pid)
{
    int status;
    pid_t got;
    while ((got = waitpid(pid, &status, 0)) == -1 && errno == EINTR)
        ;
    return got == pid ? status : -1;
}

/* Reads until the end. */
static ssize_t read_all(int fd, char *buffer, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t got = read(fd, buffer + done, size - done);
        if (got == -1 && errno == EINTR)
            continue;
        if (got == -1)
            return -1;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

/* What a command writes is what is expected; it ends with this status. */
static int writes(enum way way, const char *path, char **argv, char **envp, const char *expected, int status)
{
    char output[4096];
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    pid_t pid = run(way, path, argv, envp, -1, ends[1]);
    IS_CHILD(pid);
    CHECK(close(ends[1]) == 0);
    ssize_t got = read_all(ends[0], output, sizeof output - 1);
    CHECK(got >= 0);
    output[got] = 0;
    CHECK(close(ends[0]) == 0);
    CHECK_IS(status_of(pid), status);
    if (strcmp(output, expected) != 0) {
        fprintf(stderr, "got: %s\nexpected: %s\n", output, expected);
        return 1;
    }
    return 0;
}

static int by_system(void)
{
    CHECK(system(NULL) != 0);
    CHECK_IS(system("echo by system"), 0);
    CHECK_IS(system("exit 7"), 7 << 8);
    CHECK_IS(system("kill -9 $$"), 9);
    CHECK_IS(system("/nonexistent 2>/dev/null"), 127 << 8);
    /* Its output comes between ours. */
    printf("before\n");
    fflush(stdout);
    CHECK_IS(system("for i in 1 2 3; do echo $i; done | while read x; do echo line $x; done"), 0);
    printf("after\n");
    return 0;
}

static int by_popen(void)
{
    char line[100];
    FILE *from = popen("echo one; echo two; exit 3", "r");
    CHECK(from != NULL);
    CHECK(fgets(line, sizeof line, from) && strcmp(line, "one\n") == 0);
    CHECK(fgets(line, sizeof line, from) && strcmp(line, "two\n") == 0);
    CHECK(fgets(line, sizeof line, from) == NULL);
    CHECK_IS(pclose(from), 3 << 8);

    FILE *to = popen("while read x; do echo \"read: $x\"; done; exit 4", "w");
    CHECK(to != NULL);
    CHECK(fprintf(to, "three\nfour\n") == 11);
    CHECK_IS(pclose(to), 4 << 8);

    /* Of two at a time, neither has the other's end: the first ends although the second runs. */
    to = popen("cat", "w");
    FILE *other = popen("cat", "w");
    CHECK(to && other);
    CHECK(fputs("first\n", to) >= 0);
    CHECK_IS(pclose(to), 0);
    CHECK(fputs("second\n", other) >= 0);
    CHECK_IS(pclose(other), 0);
    return 0;
}

static int by_posix_spawn(void)
{
    char name[] = "/tmp/children-XXXXXX", output[200];
    int file = mkstemp(name);
    CHECK(file != -1);
    CHECK(write(file, "a file's text\n", 14) == 14);
    CHECK(close(file) == 0);
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);

    posix_spawn_file_actions_t actions;
    CHECK(posix_spawn_file_actions_init(&actions) == 0);
    CHECK(posix_spawn_file_actions_addopen(&actions, 0, name, O_RDONLY, 0) == 0);
    CHECK(posix_spawn_file_actions_adddup2(&actions, ends[1], 1) == 0);
    CHECK(posix_spawn_file_actions_adddup2(&actions, 1, 5) == 0);
    CHECK(posix_spawn_file_actions_addclose(&actions, 2) == 0);
    posix_spawnattr_t attributes;
    CHECK(posix_spawnattr_init(&attributes) == 0);
    sigset_t set;
    sigemptyset(&set);
    CHECK(posix_spawnattr_setsigmask(&attributes, &set) == 0);
    sigaddset(&set, SIGUSR1);
    CHECK(posix_spawnattr_setsigdefault(&attributes, &set) == 0);
    CHECK(posix_spawnattr_setpgroup(&attributes, 0) == 0);
    short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP;
    CHECK(posix_spawnattr_setflags(&attributes, flags) == 0);

    /* Ignored and blocked here; not so there. */
    sigset_t before;
    CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    CHECK(sigprocmask(SIG_BLOCK, &set, &before) == 0);
    char *script = "cat; echo to five >&5; if echo x 2>/dev/null >&2; then echo two is open; fi; kill -USR1 $$";
    pid_t pid;
    CHECK_IS(posix_spawn(&pid, "/bin/sh", &actions, &attributes, SH(script), environ), 0);
    CHECK(sigprocmask(SIG_SETMASK, &before, NULL) == 0);
    CHECK(signal(SIGUSR1, SIG_DFL) != SIG_ERR);
    CHECK(close(ends[1]) == 0);
    ssize_t got = read_all(ends[0], output, sizeof output - 1);
    CHECK(got > 0);
    output[got] = 0;
    CHECK(close(ends[0]) == 0);
    int status = status_of(pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
    CHECK(posix_spawn_file_actions_destroy(&actions) == 0);
    CHECK(posix_spawnattr_destroy(&attributes) == 0);
    CHECK(unlink(name) == 0);
    CHECK(strstr(output, "a file's text\nto five\n") == output);

    CHECK_IS(posix_spawnp(&pid, "echo", NULL, NULL, (char *[]){"echo", "by", "path", NULL}, environ), 0);
    CHECK_IS(status_of(pid), 0);
    CHECK_IS(posix_spawn(&pid, "/nonexistent", NULL, NULL, SH(""), environ), ENOENT);
    CHECK_ERRNO(waitpid(-1, NULL, WNOHANG), ECHILD);
    return 0;
}

static int by_fork_and_vfork(void)
{
    for (enum way way = FORK; way <= VFORK; way++) {
        CHECK(writes(way, "/bin/echo", (char *[]){"echo", "a b", "", "c", NULL}, environ, "a b  c\n", 0) == 0);
        CHECK(writes(way, "/bin/sh", SH("echo $0; exit 9"), environ, "sh\n", 9 << 8) == 0);
    }
    return 0;
}

/* The same file under a number that a shell doesn't care for. */
static int high(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 20);
    MUST(copy != -1 && close(fd) == 0);
    return copy;
}

/* Two descriptors change places, one is left to the command, another isn't. */
static int descriptors(void)
{
    int a[2], b[2], c;
    char output[100];
    CHECK(pipe2(a, O_CLOEXEC) == 0 && pipe2(b, O_CLOEXEC) == 0);
    for (int i = 0; i < 2; i++) {
        a[i] = high(a[i]);
        b[i] = high(b[i]);
    }
    CHECK((c = open("/dev/null", O_RDWR)) != -1 && c < 7);
    char script[200];
    snprintf(script, sizeof script,
             "echo to b >&8; echo to a >&7; echo to c >&%d || exit 1; if (echo x >&9) 2>/dev/null; then exit 2; fi", c);
    CHECK(dup2(a[1], 8) == 8 && dup2(b[1], 7) == 7 && dup2(c, 9) == 9);
    pid_t pid = fork();
    if (pid == 0) {
        /* What is under 7 and 8, the other way round. */
        if (fcntl(9, F_SETFD, FD_CLOEXEC) || dup2(a[1], 7) != 7 || dup2(b[1], 8) != 8)
            _exit(100);
        execve("/bin/sh", SH(script), environ);
        _exit(101);
    }
    IS_CHILD(pid);
    CHECK(close(a[1]) == 0 && close(b[1]) == 0);
    CHECK(close(7) == 0 && close(8) == 0 && close(9) == 0 && close(c) == 0);
    CHECK_IS(read_all(a[0], output, sizeof output), 5);
    CHECK(memcmp(output, "to a\n", 5) == 0);
    CHECK_IS(read_all(b[0], output, sizeof output), 5);
    CHECK(memcmp(output, "to b\n", 5) == 0);
    CHECK(close(a[0]) == 0 && close(b[0]) == 0);
    CHECK_IS(status_of(pid), 0);
    return 0;
}

static int failures(void)
{
    char name[] = "/tmp/children-XXXXXX";
    int file = mkstemp(name);
    CHECK(file != -1);
    CHECK(write(file, "echo a text\n", 12) == 12);
    CHECK(close(file) == 0);
    /* A child that fails tells its errno by its status. */
    for (enum way way = FORK; way <= VFORK; way++) {
        CHECK(chmod(name, 0600) == 0);
        CHECK_IS(status_of(run(way, "/nonexistent", SH(""), environ, -1, -1)), ENOENT << 8);
        CHECK_IS(status_of(run(way, "", SH(""), environ, -1, -1)), ENOENT << 8);
        CHECK_IS(status_of(run(way, "/", SH(""), environ, -1, -1)), EACCES << 8);
        CHECK_IS(status_of(run(way, name, SH(""), environ, -1, -1)), EACCES << 8);
        CHECK_IS(status_of(run(way, "/bin/sh/below", SH(""), environ, -1, -1)), ENOTDIR << 8);
        CHECK(chmod(name, 0700) == 0);
        CHECK_IS(status_of(run(way, name, SH(""), environ, -1, -1)), ENOEXEC << 8);
        char *long_one = malloc(200 << 10);
        CHECK(long_one != NULL);
        memset(long_one, 'x', (200 << 10) - 1);
        long_one[(200 << 10) - 1] = 0;
        CHECK_IS(status_of(run(way, "/bin/sh", SH(long_one), environ, -1, -1)), E2BIG << 8);
        free(long_one);
    }
#ifdef __GLIBC__
    /* This C library has a shell run it then. */
    pid_t pid = vfork();
    if (pid == 0) {
        execlp(name, name, NULL);
        _exit(errno);
    }
    CHECK_IS(status_of(pid), 0);
#endif
    CHECK(unlink(name) == 0);
    return 0;
}

static int endings(void)
{
    for (enum way way = FORK; way <= VFORK; way++) {
        int status = status_of(run_script(way, "exit 255"));
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 255);
        char *scripts[] = {"kill -TERM $$", "kill -KILL $$", "kill -SEGV $$", "kill -HUP $$"};
        int signals[] = {SIGTERM, SIGKILL, SIGSEGV, SIGHUP};
        for (int i = 0; i < 4; i++) {
            status = status_of(run_script(way, scripts[i]));
            CHECK(WIFSIGNALED(status) && !WIFEXITED(status));
            CHECK_IS(WTERMSIG(status), signals[i]);
        }
    }
    CHECK_ERRNO(waitpid(-1, NULL, 0), ECHILD);
    return 0;
}

static volatile sig_atomic_t told;

static void on_child(int number)
{
    (void)number;
    told++;
}

static int sigchld(void)
{
    struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_RESTART}, before;
    CHECK(sigaction(SIGCHLD, &action, &before) == 0);
    told = 0;
    for (int i = 1; i <= 5; i++) {
        CHECK_IS(status_of(run_script(i % 2 ? FORK : VFORK, "exit 1")), 1 << 8);
        /* One at a time, so none is merged. */
        CHECK_IS(told, i);
    }
    CHECK(sigaction(SIGCHLD, &before, NULL) == 0);

    /* What it says. */
    sigset_t set;
    siginfo_t info;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    pid_t pid = run_script(VFORK, "exit 6");
    IS_CHILD(pid);
    CHECK_IS(sigwaitinfo(&set, &info), SIGCHLD);
    CHECK_IS(info.si_pid, pid);
    CHECK_IS(info.si_code, CLD_EXITED);
    CHECK_IS(info.si_status, 6);
    CHECK_IS(status_of(pid), 6 << 8);
    CHECK(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0);
    return 0;
}

static int waits(void)
{
    int ends[2], status = 0;
    struct rusage usage;
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    pid_t pid = run(VFORK, "/bin/cat", (char *[]){"cat", NULL}, environ, ends[0], -1);
    IS_CHILD(pid);
    CHECK(close(ends[0]) == 0);
    CHECK_IS(waitpid(pid, &status, WNOHANG), 0);
    CHECK_IS(waitpid(-1, &status, WNOHANG), 0);
    CHECK_ERRNO(waitpid(pid + 100000, &status, WNOHANG), ECHILD);
    CHECK(close(ends[1]) == 0);
    memset(&usage, 0xff, sizeof usage);
    CHECK_IS(wait4(pid, &status, 0, &usage), pid);
    CHECK_IS(status, 0);
    CHECK(usage.ru_utime.tv_sec >= 0 && usage.ru_utime.tv_usec < 1000000);
    CHECK_ERRNO(wait4(pid, &status, 0, &usage), ECHILD);

    /* In the end WNOHANG sees it. */
    pid = run_script(VFORK, "exit 2");
    IS_CHILD(pid);
    pid_t got;
    while ((got = waitpid(pid, &status, WNOHANG)) == 0)
        sleep_ms(1);
    CHECK_IS(got, pid);
    CHECK_IS(status, 2 << 8);

    siginfo_t info = {0};
    pid = run_script(VFORK, "exit 3");
    CHECK_IS(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    CHECK(info.si_pid == pid && info.si_code == CLD_EXITED && info.si_status == 3);
    CHECK_IS(status_of(pid), 3 << 8);
    return 0;
}

static int surroundings(void)
{
    char *envp[] = {"ONE=1", "TWO=two words", "EMPTY=", NULL};
    char *show = "echo \"$ONE,$TWO,$EMPTY,${HOME-no home}\"";
    char name[] = "/tmp/children-XXXXXX", here[4096], expected[100];
    CHECK(mkdtemp(name) != NULL);
    CHECK(getcwd(here, sizeof here) != NULL);
    mode_t mask = umask(027);
    for (enum way way = FORK; way <= VFORK; way++) {
        CHECK(writes(way, "/bin/sh", SH(show), envp, "1,two words,,no home\n", 0) == 0);
        CHECK(setenv("CHILDREN", "all", 1) == 0);
        CHECK(writes(way, "/bin/sh", SH("echo $CHILDREN; umask"), environ, "all\n0027\n", 0) == 0);
        CHECK(chdir(name) == 0);
        snprintf(expected, sizeof expected, "%s\n", name);
        CHECK(writes(way, "/bin/sh", SH("pwd -P"), (char *[]){NULL}, expected, 0) == 0);
        CHECK(chdir(here) == 0);
    }
    umask(mask);
    /* A child's own directory isn't its parent's. */
    pid_t pid = fork();
    if (pid == 0) {
        if (chdir(name) != 0)
            _exit(100);
        execve("/bin/sh", SH("echo text >file"), environ);
        _exit(101);
    }
    IS_CHILD(pid);
    CHECK_IS(status_of(pid), 0);
    char now_here[4096], file[100];
    CHECK(getcwd(now_here, sizeof now_here) && strcmp(now_here, here) == 0);
    snprintf(file, sizeof file, "%s/file", name);
    CHECK(unlink(file) == 0);
    CHECK(rmdir(name) == 0);
    return 0;
}

#define MIB ((size_t)1 << 20)

static char sent[MIB], received[MIB + 1];

static void *send_all(void *to)
{
    int fd = *(int *)to;
    for (size_t done = 0; done < MIB;) {
        ssize_t wrote = write(fd, sent + done, MIB - done);
        MUST(wrote > 0);
        done += (size_t)wrote;
    }
    MUST(close(fd) == 0);
    return NULL;
}

/* More than pipes hold goes in and comes out. */
static int pipes(void)
{
    uint32_t random = 1;
    for (size_t i = 0; i < MIB; i++) {
        random = random * 1664525 + 1013904223;
        sent[i] = (char)(random >> 24);
    }
    for (enum way way = FORK; way <= VFORK; way++) {
        int in[2], out[2];
        CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
        pid_t pid = run(way, "/bin/cat", (char *[]){"cat", NULL}, environ, in[0], out[1]);
        IS_CHILD(pid);
        CHECK(close(in[0]) == 0 && close(out[1]) == 0);
        memset(received, 0, sizeof received);
        pthread_t sender = start(send_all, &in[1]);
        CHECK_IS(read_all(out[0], received, sizeof received), MIB);
        join(sender);
        CHECK(close(out[0]) == 0);
        CHECK(memcmp(sent, received, MIB) == 0);
        CHECK_IS(status_of(pid), 0);
    }
    return 0;
}

static int kills(void)
{
    char *sleeper[] = {"sleep", "100", NULL};
    uint64_t begin = now(CLOCK_MONOTONIC);
    for (enum way way = FORK; way <= VFORK; way++) {
        int signals[] = {SIGTERM, SIGKILL};
        for (int i = 0; i < 2; i++) {
            pid_t pid = run(way, "/bin/sleep", sleeper, environ, -1, -1);
            IS_CHILD(pid);
            CHECK_IS(kill(pid, 0), 0);
            CHECK_IS(kill(pid, signals[i]), 0);
            int status = status_of(pid);
            CHECK(WIFSIGNALED(status) && WTERMSIG(status) == signals[i]);
            CHECK_ERRNO(kill(pid, SIGTERM), ESRCH);
        }
    }
    CHECK(now(CLOCK_MONOTONIC) - begin < 60000 * MS);
    return 0;
}

/* A signal ends waiting, and later it goes on. */
static int interrupted(void)
{
    struct sigaction action = {.sa_handler = on_child}, before;
    CHECK(sigaction(SIGALRM, &action, &before) == 0);
    pid_t pid = run(VFORK, "/bin/sleep", (char *[]){"sleep", "100", NULL}, environ, -1, -1);
    IS_CHILD(pid);
    told = 0;
    struct itimerspec soon = {.it_value = timespec_of(50 * MS), .it_interval = timespec_of(50 * MS)};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    timer_t timer;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    CHECK(timer_settime(timer, 0, &soon, NULL) == 0);
    CHECK_ERRNO(waitpid(pid, NULL, 0), EINTR);
    CHECK(told >= 1);
    CHECK(timer_delete(timer) == 0);
    CHECK(sigaction(SIGALRM, &before, NULL) == 0);
    CHECK(kill(pid, SIGKILL) == 0);
    CHECK_IS(status_of(pid), SIGKILL);
    return 0;
}

#define MANY 50

static int many(void)
{
    pid_t pids[MANY];
    int ends[2], seen[MANY] = {0};
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    for (int i = 0; i < MANY; i++) {
        char script[50];
        snprintf(script, sizeof script, "read x; exit %d", i);
        pids[i] = run(i % 2 ? FORK : VFORK, "/bin/sh", SH(script), environ, ends[0], -1);
        IS_CHILD(pids[i]);
    }
    CHECK(close(ends[0]) == 0);
    /* All are there until the pipe ends. */
    CHECK_IS(waitpid(-1, NULL, WNOHANG), 0);
    CHECK(close(ends[1]) == 0);
    for (int i = 0; i < MANY; i++) {
        int status;
        pid_t pid = waitpid(-1, &status, 0);
        int which = 0;
        while (which < MANY && pids[which] != pid)
            which++;
        CHECK(which < MANY && !seen[which]);
        seen[which] = 1;
        CHECK_IS(status, which << 8);
    }
    CHECK_ERRNO(waitpid(-1, NULL, 0), ECHILD);
    return 0;
}

static const struct part parts[] = {
    {"system", by_system},
    {"popen", by_popen},
    {"posix_spawn", by_posix_spawn},
    {"fork and vfork", by_fork_and_vfork},
    {"descriptors", descriptors},
    {"failures", failures},
    {"endings", endings},
    {"SIGCHLD", sigchld},
    {"waits", waits},
    {"surroundings", surroundings},
    {"pipes", pipes},
    {"kills", kills},
    {"interrupted", interrupted},
    {"many", many},
};

int main(int argc, char **argv)
{
    return RUN_PARTS(parts, argc, argv);
}
