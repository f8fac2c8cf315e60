// SPDX-License-Identifier: MIT OR Apache-2.0

// Sockets of the family AF_UNIX: pairs, servers, datagrams, messages with descriptors and credentials, errors.

#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tempdir.h"

static struct sockaddr_un name_of(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    return name;
}

static int pairs(void)
{
    int ends[2];
    char buffer[100];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0 && fcntl(ends[0], F_GETFD) == FD_CLOEXEC);
    CHECK(write(ends[0], "hello", 5) == 5 && recv(ends[1], buffer, 3, MSG_PEEK) == 3 && read(ends[1], buffer, 100) == 5);
    CHECK_ERRNO(recv(ends[1], buffer, 1, MSG_DONTWAIT), EAGAIN);
    CHECK(send(ends[1], "back", 4, 0) == 4 && recvfrom(ends[0], buffer, 100, 0, NULL, NULL) == 4);
    CHECK(memcmp(buffer, "back", 4) == 0);
    struct ucred peer;
    socklen_t len = sizeof peer;
    CHECK(getsockopt(ends[0], SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && len == sizeof peer && peer.pid == getpid());
    int value = 0;
    len = sizeof value;
    CHECK(getsockopt(ends[0], SOL_SOCKET, SO_TYPE, &value, &len) == 0 && value == SOCK_STREAM && len == 4);
    len = 2;
    CHECK(getsockopt(ends[0], SOL_SOCKET, SO_TYPE, &value, &len) == 0 && len == 2);
    value = 1;
    CHECK(setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &value, sizeof value) == 0);
    CHECK_ERRNO(setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &value, 1), EINVAL);
    CHECK_ERRNO(getsockopt(ends[0], SOL_SOCKET, 7777, &value, &len), ENOPROTOOPT);
    CHECK(shutdown(ends[0], SHUT_WR) == 0 && read(ends[1], buffer, 1) == 0);
    CHECK_ERRNO(send(ends[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK_ERRNO(shutdown(ends[0], 7), EINVAL);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
    CHECK_ERRNO(socketpair(AF_UNIX, 9, 0, ends), ESOCKTNOSUPPORT);
    CHECK_ERRNO(socket(77, SOCK_STREAM, 0), EAFNOSUPPORT);
    int file = open("/dev/null", O_RDWR);
    CHECK_ERRNO(send(file, "x", 1, 0), ENOTSOCK);
    CHECK_ERRNO(listen(file, 1), ENOTSOCK);
    return close(file);
}

static volatile sig_atomic_t pipes;

static void on_pipe(int number)
{
    (void)number;
    pipes++;
}

static void *client(void *arg)
{
    (void)arg;
    char buffer[100];
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un name = name_of("server");
    MUST(fd >= 0 && connect(fd, (struct sockaddr *)&name, sizeof name) == 0);
    MUST(send(fd, "question", 8, 0) == 8 && recv(fd, buffer, 6, MSG_WAITALL) == 6 && memcmp(buffer, "answer", 6) == 0);
    MUST(close(fd) == 0);
    return NULL;
}

static int servers(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un name = name_of("server"), other;
    socklen_t len = sizeof other;
    CHECK_ERRNO(connect(fd, (struct sockaddr *)&name, sizeof name), ENOENT);
    mode_t mask = umask(027);
    CHECK(bind(fd, (struct sockaddr *)&name, sizeof name) == 0 && umask(mask) == 027);
    struct stat st;
    CHECK(stat("server", &st) == 0 && st.st_mode == (S_IFSOCK | 0750));
    CHECK_ERRNO(bind(fd, (struct sockaddr *)&name, sizeof name), EADDRINUSE);
    int second = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_ERRNO(bind(second, (struct sockaddr *)&name, sizeof name), EADDRINUSE);
    CHECK_ERRNO(connect(second, (struct sockaddr *)&name, sizeof name), ECONNREFUSED);
    CHECK_ERRNO(bind(second, (struct sockaddr *)&name, 1000), EINVAL);
    CHECK(listen(fd, 5) == 0);
    pthread_t thread = start(client, NULL);
    int peer = accept4(fd, (struct sockaddr *)&other, &len, SOCK_CLOEXEC);
    CHECK(peer >= 0 && len == 2 && other.sun_family == AF_UNIX && fcntl(peer, F_GETFD) == FD_CLOEXEC);
    char buffer[100];
    CHECK(read(peer, buffer, 100) == 8 && memcmp(buffer, "question", 8) == 0 && write(peer, "answer", 6) == 6);
    join(thread);
    CHECK(read(peer, buffer, 100) == 0);
    /* Nobody reads any more. */
    CHECK(signal(SIGPIPE, on_pipe) != SIG_ERR);
    CHECK_ERRNO(send(peer, "x", 1, 0), EPIPE);
    CHECK(pipes == 1);
    CHECK(close(peer) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    CHECK_ERRNO(accept(fd, NULL, NULL), EAGAIN);
    CHECK_ERRNO(accept(second, NULL, NULL), EINVAL);
    struct pollfd list = {fd, POLLIN, 0};
    CHECK_IS(poll(&list, 1, 0), 0);
    CHECK(close(fd) == 0 && close(second) == 0 && unlink("server") == 0);
    return 0;
}

static int datagrams(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0), from = socket(AF_UNIX, SOCK_DGRAM, 0);
    char path[100], buffer[100];
    snprintf(path, sizeof path, "%s/dgram", temp_dir);
    struct sockaddr_un name = name_of(path), mine = {.sun_family = AF_UNIX}, other;
    CHECK(bind(fd, (struct sockaddr *)&name, sizeof name) == 0);
    /* In the abstract name space. */
    int size = snprintf(mine.sun_path + 1, 50, "hermit-%d", getpid());
    socklen_t mine_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)size), len = sizeof other;
    CHECK(bind(from, (struct sockaddr *)&mine, mine_len) == 0);
    CHECK(getsockname(from, (struct sockaddr *)&other, &len) == 0 && len == mine_len && !memcmp(&mine, &other, len));
    CHECK_IS(sendto(from, "message", 7, 0, (struct sockaddr *)&name, sizeof name), 7);
    CHECK_IS(sendto(from, "two", 3, 0, (struct sockaddr *)&name, sizeof name), 3);
    len = sizeof other;
    CHECK_IS(recvfrom(fd, buffer, 4, MSG_TRUNC, (struct sockaddr *)&other, &len), 7);
    CHECK(memcmp(buffer, "mess", 4) == 0 && len == mine_len && memcmp(&mine, &other, len) == 0);
    CHECK(recv(fd, buffer, 100, 0) == 3);
    CHECK_ERRNO(send(from, "x", 1, 0), ENOTCONN);
    CHECK(connect(from, (struct sockaddr *)&name, sizeof name) == 0);
    len = sizeof other;
    CHECK(getpeername(from, (struct sockaddr *)&other, &len) == 0 && strcmp(other.sun_path, path) == 0);
    struct mmsghdr both[3] = {0};
    struct iovec parts[2] = {{"a", 1}, {"bc", 2}}, rest = {buffer, 2};
    for (int i = 0; i < 2; i++)
        both[i].msg_hdr = (struct msghdr){.msg_iov = parts, .msg_iovlen = (size_t)i + 1};
    CHECK(sendmmsg(from, both, 2, 0) == 2 && both[0].msg_len == 1 && both[1].msg_len == 3);
    for (int i = 0; i < 3; i++)
        both[i].msg_hdr = (struct msghdr){.msg_iov = &rest, .msg_iovlen = 1};
    CHECK(recvmmsg(fd, both, 3, MSG_WAITFORONE, NULL) == 2 && both[0].msg_len == 1 && both[1].msg_len == 2);
    CHECK(both[0].msg_hdr.msg_flags == 0 && both[1].msg_hdr.msg_flags == MSG_TRUNC);
    CHECK(close(fd) == 0 && close(from) == 0 && unlink(path) == 0);
    return 0;
}

static int messages(void)
{
    int ends[2], pipe_ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && pipe(pipe_ends) == 0);
    char data[4] = "data", control[CMSG_SPACE(2 * sizeof(int))] = {0};
    struct iovec part = {data, 4};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(2 * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(header), pipe_ends, sizeof pipe_ends);
    CHECK_IS(sendmsg(ends[0], &message, 0), 4);
    /* They travel although they are closed here. */
    CHECK(close(pipe_ends[0]) == 0 && close(pipe_ends[1]) == 0);
    memset(control, 0, sizeof control);
    CHECK_IS(recvmsg(ends[1], &message, MSG_CMSG_CLOEXEC), 4);
    header = CMSG_FIRSTHDR(&message);
    CHECK(header != NULL && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(2 * sizeof(int)));
    memcpy(pipe_ends, CMSG_DATA(header), sizeof pipe_ends);
    CHECK(fcntl(pipe_ends[0], F_GETFD) == FD_CLOEXEC);
    CHECK(write(pipe_ends[1], "x", 1) == 1 && read(pipe_ends[0], data, 1) == 1 && data[0] == 'x');
    CHECK(close(pipe_ends[0]) == 0 && close(pipe_ends[1]) == 0);
    int bad = 777;
    message.msg_controllen = CMSG_SPACE(sizeof bad);
    header->cmsg_len = CMSG_LEN(sizeof bad);
    memcpy(CMSG_DATA(header), &bad, sizeof bad);
    CHECK_ERRNO(sendmsg(ends[0], &message, 0), EBADF);
    header->cmsg_len = 3;
    CHECK_ERRNO(sendmsg(ends[0], &message, 0), EINVAL);
    message.msg_control = NULL, message.msg_controllen = 0, message.msg_iovlen = 2000;
    CHECK_ERRNO(sendmsg(ends[0], &message, 0), EMSGSIZE);
    /* More than one request of an isle holds. */
    size_t size = 5 << 20, done = 0;
    char *large = malloc(size), *copy = malloc(size);
    MUST(large != NULL && copy != NULL);
    for (size_t i = 0; i < size; i++)
        large[i] = (char)(i * 31 >> 3);
    CHECK(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    for (size_t sent = 0; done < size;) {
        ssize_t n = sent < size ? send(ends[0], large + sent, size - sent, 0) : -1;
        sent += n > 0 ? (size_t)n : 0;
        n = recv(ends[1], copy + done, size - done, MSG_DONTWAIT);
        CHECK(n > 0);
        done += (size_t)n;
    }
    CHECK(memcmp(large, copy, size) == 0);
    free(large);
    free(copy);
    return close(ends[0]) || close(ends[1]);
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"pairs", pairs},
        {"servers", servers},
        {"datagrams", datagrams},
        {"messages", messages},
    };
    enter_temp_dir();
    return RUN_PARTS(parts, argc, argv);
}
