// SPDX-License-Identifier: MIT OR Apache-2.0

// What TCP costs between two programs, of which one waits for the other (-s), anywhere where they reach each other.
//
//   net_to_SIZE, net_from_SIZE   bytes per second to the server and from it, written so many at a time
//   …_cycles_here, …_cycles_there  CPU cycles of either program for each byte, in the program and in its kernel
//   net_rr                       one byte there and one back, one after the other
//   net_pingpong_SIZE            a message there and back: half of the time
//   net_pingping_SIZE            two messages that meet on the way
//
// Each test has a connection of its own, without Nagle's algorithm. Messages have known contents, which are checked.

#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char synopsis[] =
    "usage: netio -s [-p PORT]\n"
    "       netio [-m] [-p PORT] [-d MILLISECONDS] [-r REPETITIONS] [-t TEST]... [-q] HOST\n"
    "       netio -l\n"
    "  -s  be the server\n"
    "  -p  its port (default 5010)\n"
    "  -m  lines for a program to read\n"
    "  -d  how long each test of throughput takes (default 1000)\n"
    "  -r  batches of each test of times, of which the median counts (default 21)\n"
    "  -t  only this test\n"
    "  -q  end the server afterwards\n"
    "  -l  list the tests\n";

enum { MIB = 1 << 20, MAX_ONLY = 16, WAIT_SECONDS = 60 };

enum what { TO, FROM, PINGPONG, PINGPING, QUIT };

/* What a client wants, in its byte order: both are x86. */
struct request {
    uint32_t what;
    uint32_t size;
    uint64_t count_or_ns;
};

/* What has become of it: the last that a connection carries. */
struct reply {
    uint64_t bytes;
    uint64_t cpu_ns;
    uint64_t bad;
};

static char *out, *in;

static bool failed(const char *what)
{
    fprintf(stderr, "netio: %s: %s\n", what, strerror(errno));
    return false;
}

static uint64_t cpu_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

static bool send_all(int fd, const void *data, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t n = send(fd, (const char *)data + done, length - done, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return failed("send");
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static bool receive_all(int fd, void *data, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t n = recv(fd, (char *)data + done, length - done, 0);
        if (n == 0)
            errno = ECONNRESET;
        if (n == 0 || (n < 0 && errno != EINTR))
            return failed("recv");
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* Messages and streams repeat this, so that what arrives can be checked. */
static char byte_at(uint64_t position)
{
    return (char)(position * 31 + position / 4096);
}

/* The period of the above. */
enum { PERIOD = MIB };

/* Sends for so long, messages of this size; returns how many bytes. */
static bool stream_out(int fd, uint32_t size, uint64_t ns, uint64_t *sent)
{
    double until = now_ns() + (double)ns;
    *sent = 0;
    while (now_ns() < until) {
        /* The clock is not what is measured. */
        for (int i = 0; i < 16; i++) {
            if (!send_all(fd, out + *sent % PERIOD, size))
                return false;
            *sent += size;
        }
    }
    return true;
}

/* Receives all that comes; the last of it is a reply if `with_reply`. One byte of each read is checked. */
static bool stream_in(int fd, uint64_t *received, uint64_t *bad, struct reply *with_reply)
{
    char last[sizeof *with_reply];
    size_t have = 0;
    *received = *bad = 0;
    for (;;) {
        ssize_t n = recv(fd, in + have, MIB, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed("recv");
        if (n == 0)
            break;
        /* What may be the reply waits for what follows. */
        size_t all = have + (size_t)n, keep = !with_reply ? 0 : all < sizeof last ? all : sizeof last;
        size_t now = all - keep;
        if (now > 0)
            *bad += in[now - 1] != byte_at((*received + now - 1) % PERIOD);
        memcpy(last, in + now, keep);
        memcpy(in, last, keep);
        have = keep;
        *received += now;
    }
    if (with_reply && have != sizeof last) {
        fprintf(stderr, "netio: the server ended too early\n");
        return false;
    }
    if (with_reply)
        memcpy(with_reply, last, sizeof last);
    return true;
}

/* Messages there and back, from number `from` on: who begins sends first. */
static bool exchange(int fd, const struct request *request, uint64_t from, bool begins, uint64_t *bad)
{
    bool first = begins || request->what == PINGPING;
    for (uint64_t i = 0; i < request->count_or_ns; i++) {
        const char *message = out + (from + i) % 64;
        /* Two that send what no buffer holds would wait for each other: so they do it in pieces. */
        for (uint32_t done = 0; done < request->size;) {
            uint32_t part = request->size - done;
            if (request->what == PINGPING && part > 16384)
                part = 16384;
            if (first && !send_all(fd, message + done, part))
                return false;
            if (!receive_all(fd, in + done, part) || (!first && !send_all(fd, in + done, part)))
                return false;
            done += part;
        }
        *bad += in[request->size - 1] != message[request->size - 1];
    }
    return true;
}

static void without_delay(int fd)
{
    int on = 1;
    /* Else it is slower. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* Serves a connection. False: the server is to end. */
static bool serve(int fd)
{
    struct request request;
    struct reply reply = {0};
    without_delay(fd);
    uint64_t before = cpu_ns();
    if (!receive_all(fd, &request, sizeof request))
        return true;
    if (request.what == QUIT)
        return false;
    if (request.size == 0 || request.size > MIB) {
        fprintf(stderr, "netio: somebody else has connected\n");
        return true;
    }
    bool good = true;
    switch (request.what) {
    case TO: good = stream_in(fd, &reply.bytes, &reply.bad, NULL); break;
    case FROM: good = stream_out(fd, request.size, request.count_or_ns, &reply.bytes); break;
    default: good = exchange(fd, &request, 0, false, &reply.bad); break;
    }
    reply.cpu_ns = cpu_ns() - before;
    if (good)
        send_all(fd, &reply, sizeof reply);
    return true;
}

static int server(const char *port)
{
    int listener = socket(AF_INET6, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)number(port, 1, 65535))};
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 16) != 0)
        return failed("the port can't be had"), 1;
    for (bool goes_on = true; goes_on;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            return failed("accept"), 1;
        goes_on = serve(fd);
        close(fd);
    }
    return 0;
}

/* Where the server is. */
static union {
    struct sockaddr any;
    struct sockaddr_in ip4;
    struct sockaddr_in6 ip6;
} place;

static void find(const char *host, const char *port)
{
    uint16_t number_of = htons((uint16_t)number(port, 1, 65535));
    if (inet_pton(AF_INET, host, &place.ip4.sin_addr) == 1) {
        place.ip4.sin_family = AF_INET;
        place.ip4.sin_port = number_of;
    } else if (inet_pton(AF_INET6, host, &place.ip6.sin6_addr) == 1) {
        place.ip6.sin6_family = AF_INET6;
        place.ip6.sin6_port = number_of;
    } else {
        fprintf(stderr, "netio: %s: write an address\n", host);
        exit(2);
    }
}

/* A connection to the server, which may have yet to start. */
static int connect_to_server(void)
{
    for (int i = 0;; i++) {
        int fd = socket(place.any.sa_family, SOCK_STREAM, 0);
        if (fd >= 0 && connect(fd, &place.any, sizeof place) == 0) {
            without_delay(fd);
            return fd;
        }
        bool later = errno == ECONNREFUSED || errno == ETIMEDOUT || errno == EHOSTUNREACH;
        if (fd < 0 || !later || i == WAIT_SECONDS * 10) {
            failed("the server can't be reached");
            exit(1);
        }
        close(fd);
        usleep(100000);
    }
}

static const struct test {
    const char *name;
    enum what what;
    uint32_t size;
    /* Messages in a batch. */
    uint64_t count;
} tests[] = {
    {"net_to_1", TO, 1, 0},
    {"net_to_64", TO, 64, 0},
    {"net_to_1k", TO, 1024, 0},
    {"net_to_32k", TO, 32768, 0},
    {"net_to_1m", TO, MIB, 0},
    {"net_from_1", FROM, 1, 0},
    {"net_from_64", FROM, 64, 0},
    {"net_from_1k", FROM, 1024, 0},
    {"net_from_32k", FROM, 32768, 0},
    {"net_from_1m", FROM, MIB, 0},
    {"net_rr", PINGPONG, 1, 200},
    {"net_pingpong_1", PINGPONG, 1, 100},
    {"net_pingpong_1k", PINGPONG, 1024, 100},
    {"net_pingpong_4k", PINGPONG, 4096, 50},
    {"net_pingpong_16k", PINGPONG, 16384, 20},
    {"net_pingpong_64k", PINGPONG, 65536, 10},
    {"net_pingpong_256k", PINGPONG, 262144, 4},
    {"net_pingpong_1m", PINGPONG, MIB, 2},
    {"net_pingping_1", PINGPING, 1, 100},
    {"net_pingping_1k", PINGPING, 1024, 100},
    {"net_pingping_16k", PINGPING, 16384, 20},
    {"net_pingping_256k", PINGPING, 262144, 4},
    {"net_pingping_1m", PINGPING, MIB, 2},
};
enum { TESTS = sizeof tests / sizeof *tests };

static bool ask(int fd, const struct request *request)
{
    return send_all(fd, request, sizeof *request);
}

static bool measure_stream(const struct test *test, uint64_t ns)
{
    struct request request = {test->what, test->size, ns};
    struct reply reply;
    uint64_t bytes, bad = 0, before = cpu_ns();
    int fd = connect_to_server();
    double start = now_ns();
    bool good = ask(fd, &request);
    if (good && test->what == TO)
        good = stream_out(fd, test->size, ns, &bytes) && shutdown(fd, SHUT_WR) == 0 && receive_all(fd, &reply, sizeof reply);
    else if (good)
        good = stream_in(fd, &bytes, &bad, &reply);
    double time = now_ns() - start;
    uint64_t used = cpu_ns() - before;
    close(fd);
    if (!good)
        return false;
    if (bad || reply.bad || reply.bytes != bytes || bytes == 0) {
        fprintf(stderr, "netio: what has arrived is not what was sent\n");
        return false;
    }
    char name[64];
    double rate = ticks_per_ns();
    result(test->name, (double)bytes * 1e3 / time, "MB/s");
    snprintf(name, sizeof name, "%s_cycles_here", test->name);
    result(name, (double)used * rate / (double)bytes, "cycles/B");
    snprintf(name, sizeof name, "%s_cycles_there", test->name);
    result(name, (double)reply.cpu_ns * rate / (double)bytes, "cycles/B");
    return true;
}

static bool measure_exchange(const struct test *test, double *times, int repetitions)
{
    int fd = connect_to_server();
    struct request request = {test->what, test->size, test->count * (uint64_t)(repetitions + 1)};
    struct request batch = {test->what, test->size, test->count};
    struct reply reply;
    uint64_t bad = 0;
    bool good = ask(fd, &request);
    for (int i = -1; good && i < repetitions; i++) {
        double start = now_ns();
        good = exchange(fd, &batch, test->count * (uint64_t)(i + 1), true, &bad);
        /* The first one warms up. */
        if (i >= 0)
            times[i] = (now_ns() - start) / (double)test->count;
    }
    good = good && receive_all(fd, &reply, sizeof reply);
    close(fd);
    if (!good)
        return false;
    if (bad || reply.bad) {
        fprintf(stderr, "netio: what has come back is not what was sent\n");
        return false;
    }
    bool half = strncmp(test->name, "net_pingpong", 12) == 0;
    result(test->name, median(times, (size_t)repetitions) / (half ? 2 : 1), "ns");
    return true;
}

static bool wanted(const char *name, char *const *only, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(name, only[i]) == 0)
            return true;
    return count == 0;
}

static bool known(const char *name)
{
    for (int i = 0; i < TESTS; i++)
        if (strcmp(name, tests[i].name) == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    char *only[MAX_ONLY];
    const char *port = "5010";
    bool serves = false, ends = false;
    int repetitions = 21, selected = 0, option;
    uint64_t ns = 1000000000;
    while ((option = getopt(argc, argv, "smp:d:r:t:qlh")) != -1) {
        switch (option) {
        case 's': serves = true; break;
        case 'm': machine = true; break;
        case 'p': number(port = optarg, 1, 65535); break;
        case 'd': ns = (uint64_t)number(optarg, 1, 3600000) * 1000000; break;
        case 'r': repetitions = (int)number(optarg, 1, 100000); break;
        case 't':
            if (selected == MAX_ONLY || !known(optarg))
                usage(synopsis, option);
            only[selected++] = optarg;
            break;
        case 'q': ends = true; break;
        case 'l':
            for (int i = 0; i < TESTS; i++)
                puts(tests[i].name);
            return 0;
        default: usage(synopsis, option);
        }
    }
    if (argc - optind != (serves ? 0 : 1))
        usage(synopsis, '?');

    double *times = malloc((size_t)repetitions * sizeof *times);
    out = malloc(PERIOD + MIB);
    in = malloc(2 * MIB);
    if (!times || !out || !in) {
        perror("netio");
        return 1;
    }
    for (uint64_t i = 0; i < PERIOD + MIB; i++)
        out[i] = byte_at(i % PERIOD);
    memset(in, 0, 2 * MIB);
    if (serves)
        return server(port);
    find(argv[optind], port);
    int status = 0;
    for (int i = 0; i < TESTS; i++) {
        if (!wanted(tests[i].name, only, selected))
            continue;
        bool good = tests[i].count ? measure_exchange(&tests[i], times, repetitions) : measure_stream(&tests[i], ns);
        if (!good) {
            fprintf(stderr, "netio: %s can't be measured\n", tests[i].name);
            status = 1;
        }
    }
    if (ends) {
        struct request quit = {QUIT, 0, 0};
        int fd = connect_to_server();
        ask(fd, &quit);
        close(fd);
    }
    return status;
}
