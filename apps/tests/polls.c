// SPDX-License-Identifier: MIT OR Apache-2.0

// poll(2), select(2) and epoll(7) over pipes, eventfd, timerfd and signalfd, alone and mixed; timeouts and signals.

#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

#include "check.h"

static int ends[2];

static void *write_later(void *arg)
{
    sleep_ms(50);
    MUST(write(ends[1], "x", 1) == 1);
    return arg;
}

static void *signal_later(void *arg)
{
    sleep_ms(50);
    MUST(kill(getpid(), (int)(long)arg) == 0);
    return NULL;
}

static int pipes(void)
{
    CHECK(pipe(ends) == 0);
    struct pollfd list[] = {{ends[0], POLLIN, 0}, {ends[1], POLLOUT, 0}, {-1, POLLIN, 7}, {999, POLLIN, 0}};
    CHECK_IS(poll(list, 4, 0), 2);
    CHECK(list[0].revents == 0 && list[1].revents == POLLOUT && list[2].revents == 0 && list[3].revents == POLLNVAL);
    uint64_t before = now(CLOCK_MONOTONIC);
    CHECK_IS(poll(list, 1, 60), 0);
    CHECK(now(CLOCK_MONOTONIC) - before >= 59 * MS);
    pthread_t thread = start(write_later, NULL);
    CHECK_IS(poll(list, 1, -1), 1);
    CHECK(list[0].revents == POLLIN);
    join(thread);
    CHECK(close(ends[1]) == 0);
    char c;
    CHECK(read(ends[0], &c, 1) == 1 && poll(list, 1, -1) == 1 && list[0].revents == POLLHUP);
    CHECK(close(ends[0]) == 0);
    int file = open("/etc/passwd", O_RDONLY);
    list[0] = (struct pollfd){file, POLLIN | POLLOUT, 0};
    CHECK(poll(list, 1, -1) == 1 && list[0].revents == (POLLIN | POLLOUT) && close(file) == 0);
    file = open("/proc/self/stat", O_RDONLY);
    list[0].fd = file;
    CHECK(poll(list, 1, -1) == 1 && (list[0].revents & POLLIN) && close(file) == 0);
    CHECK_ERRNO(syscall(SYS_poll, list, 1 << 30, 0), EINVAL);
    CHECK_IS(poll(NULL, 0, 10), 0);
    return 0;
}

static int selects(void)
{
    CHECK(pipe(ends) == 0);
    fd_set in, out;
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_SET(ends[0], &in);
    FD_SET(ends[1], &out);
    struct timeval limit = {5, 0};
    CHECK_IS(select(ends[1] + 1, &in, &out, NULL, &limit), 1);
    CHECK(!FD_ISSET(ends[0], &in) && FD_ISSET(ends[1], &out) && limit.tv_sec == 4);
    FD_SET(ends[0], &in);
    limit = (struct timeval){0, 20000};
    CHECK_IS(select(ends[0] + 1, &in, NULL, NULL, &limit), 0);
    CHECK(!FD_ISSET(ends[0], &in) && limit.tv_sec == 0 && limit.tv_usec == 0);
    FD_SET(ends[0], &in);
    pthread_t thread = start(write_later, NULL);
    CHECK_IS(pselect(ends[0] + 1, &in, NULL, NULL, NULL, NULL), 1);
    CHECK(FD_ISSET(ends[0], &in));
    join(thread);
    FD_SET(60, &in);
    CHECK_ERRNO(select(61, &in, NULL, NULL, NULL), EBADF);
    CHECK_ERRNO(select(-1, NULL, NULL, NULL, NULL), EINVAL);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
    return 0;
}

static volatile sig_atomic_t handled;

static void on_signal(int number)
{
    handled = number;
}

static int interruptions(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && pipe(ends) == 0);
    struct pollfd list = {ends[0], POLLIN, 0};
    handled = 0;
    pthread_t thread = start(signal_later, (void *)SIGUSR1);
    CHECK_ERRNO(poll(&list, 1, 20000), EINTR);
    CHECK(handled == SIGUSR1);
    join(thread);
    /* Blocked but for the time of the wait. */
    sigset_t blocked, none;
    sigemptyset(&none);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    CHECK_IS(pthread_sigmask(SIG_BLOCK, &blocked, NULL), 0);
    handled = 0;
    CHECK(raise(SIGUSR1) == 0 && handled == 0);
    struct timespec limit = {20, 0};
    CHECK_ERRNO(ppoll(&list, 1, &limit, &none), EINTR);
    CHECK(handled == SIGUSR1);
    handled = 0;
    CHECK(raise(SIGUSR1) == 0);
    fd_set in;
    FD_ZERO(&in);
    FD_SET(ends[0], &in);
    CHECK_ERRNO(pselect(ends[0] + 1, &in, NULL, NULL, &limit, &none), EINTR);
    CHECK(handled == SIGUSR1);
    handled = 0;
    CHECK(raise(SIGUSR1) == 0);
    int set = epoll_create1(0);
    struct epoll_event event;
    CHECK_ERRNO(epoll_pwait(set, &event, 1, 20000, &none), EINTR);
    CHECK(handled == SIGUSR1 && close(set) == 0);
    CHECK_IS(pthread_sigmask(SIG_UNBLOCK, &blocked, NULL), 0);
    return close(ends[0]) || close(ends[1]);
}

static int signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGRTMIN);
    CHECK_IS(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    CHECK(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(fd, F_GETFL) & O_NONBLOCK);
    struct signalfd_siginfo info[2];
    CHECK_ERRNO(read(fd, info, sizeof info), EAGAIN);
    CHECK_ERRNO(read(fd, info, 100), EINVAL);
    union sigval value = {.sival_int = 42};
    CHECK(raise(SIGUSR2) == 0 && sigqueue(getpid(), SIGRTMIN, value) == 0);
    CHECK_IS(read(fd, info, sizeof info), 2 * sizeof info[0]);
    CHECK(info[0].ssi_signo == SIGUSR2 && info[0].ssi_pid == (uint32_t)getpid() && info[0].ssi_uid == getuid());
    CHECK(info[1].ssi_signo == (uint32_t)SIGRTMIN && info[1].ssi_int == 42 && info[1].ssi_code == SI_QUEUE);
    CHECK_ERRNO(write(fd, info, sizeof info), EINVAL);
    CHECK(lseek(fd, 5, SEEK_SET) == 0);
    /* A wait that the signal ends: alone, and together with a pipe. */
    CHECK(fcntl(fd, F_SETFL, 0) == 0 && pipe(ends) == 0);
    pthread_t thread = start(signal_later, (void *)SIGUSR2);
    CHECK_IS(read(fd, info, sizeof info), sizeof info[0]);
    join(thread);
    struct pollfd list[] = {{ends[0], POLLIN, 0}, {fd, POLLIN, 0}};
    thread = start(signal_later, (void *)SIGUSR2);
    CHECK_IS(poll(list + 1, 1, 20000), 1);
    CHECK(list[1].revents == POLLIN && read(fd, info, sizeof info) == sizeof info[0]);
    join(thread);
    thread = start(signal_later, (void *)SIGUSR2);
    CHECK_IS(poll(list, 2, 20000), 1);
    CHECK(list[0].revents == 0 && list[1].revents == POLLIN && read(fd, info, sizeof info) == sizeof info[0]);
    join(thread);
    thread = start(write_later, NULL);
    CHECK_IS(poll(list, 2, 20000), 1);
    CHECK(list[0].revents == POLLIN && list[1].revents == 0);
    join(thread);
    CHECK_IS(poll(list + 1, 1, 30), 0);
    /* In a set of epoll. */
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 1}, found[3];
    CHECK(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    CHECK_ERRNO(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), EEXIST);
    event.data.u64 = 2;
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event) == 0);
    CHECK(epoll_wait(epoll, found, 3, 0) == 1 && found[0].data.u64 == 2);
    char c;
    CHECK(read(ends[0], &c, 1) == 1);
    thread = start(signal_later, (void *)SIGUSR2);
    CHECK(epoll_wait(epoll, found, 3, 20000) == 1 && found[0].data.u64 == 1 && found[0].events == EPOLLIN);
    join(thread);
    CHECK(write(ends[1], "x", 1) == 1 && epoll_wait(epoll, found, 3, 0) == 2);
    CHECK(epoll_wait(epoll, found, 1, 0) == 1);
    CHECK(read(fd, info, sizeof info) == sizeof info[0] && read(ends[0], &c, 1) == 1);
    CHECK_IS(epoll_wait(epoll, found, 3, 20), 0);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL) == 0);
    CHECK_ERRNO(epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL), ENOENT);
    int file = open("/etc/passwd", O_RDONLY);
    CHECK_ERRNO(epoll_ctl(epoll, EPOLL_CTL_ADD, file, &event), EPERM);
    CHECK_ERRNO(epoll_ctl(epoll, EPOLL_CTL_ADD, epoll, &event), EINVAL);
    CHECK_ERRNO(epoll_ctl(file, EPOLL_CTL_ADD, ends[0], &event), EINVAL);
    CHECK_ERRNO(epoll_wait(file, found, 1, 0), EINVAL);
    CHECK_ERRNO(epoll_wait(epoll, found, 0, 0), EINVAL);
    CHECK(close(file) == 0 && close(epoll) == 0 && close(fd) == 0 && close(ends[0]) == 0 && close(ends[1]) == 0);
    CHECK_IS(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
    return 0;
}

static int others(void)
{
    int event = eventfd(0, EFD_NONBLOCK), timer = timerfd_create(CLOCK_MONOTONIC, 0);
    struct pollfd list[] = {{event, POLLIN | POLLOUT, 0}, {timer, POLLIN, 0}};
    CHECK(poll(list, 2, 0) == 1 && list[0].revents == POLLOUT);
    uint64_t count = 3;
    CHECK(write(event, &count, 8) == 8 && poll(list, 2, 0) == 1 && list[0].revents == (POLLIN | POLLOUT));
    CHECK(read(event, &count, 8) == 8 && count == 3);
    CHECK_ERRNO(read(event, &count, 8), EAGAIN);
    struct itimerspec spec = {.it_value = {0, 20 * MS}};
    list[0].events = POLLIN;
    CHECK(timerfd_settime(timer, 0, &spec, NULL) == 0);
    CHECK(poll(list, 2, 20000) == 1 && list[1].revents == POLLIN && read(timer, &count, 8) == 8 && count == 1);
    return close(event) || close(timer);
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"pipes", pipes},
        {"selects", selects},
        {"interruptions", interruptions},
        {"signals", signals},
        {"others", others},
    };
    return RUN_PARTS(parts, argc, argv);
}
