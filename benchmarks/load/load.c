/* The core of the load generator: connections, windows, time, measurements.
 *
 *   load PROTOCOL HOST PORT QUEUE BODY_SIZE SECONDS [KEY=VALUE ...] GROUP ...
 *
 * A group is ROLE:CONNECTIONS:WINDOW[:RATE[:LIMIT]] with the roles send, pull,
 * consume and idle. It prints "started" after the logins, and a line of JSON at the end. Any refusal ends it with status 1.
 */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_SIZE (256 * 1024)
#define MAX_GROUPS 8
/* At the end, for what is in flight to be answered. */
#define DRAIN_NS 10000000000ull

struct options options = {.user = "bench", .password = "bench"};
static const struct protocol *protocol;
static struct group groups[MAX_GROUPS];
static int group_count;
static struct connection *connections;
static int connection_count, poller;
static bool is_paced; /* some group has a rate */
static bool measuring = true; /* false: only what is in flight is awaited */
static uint64_t now_ns, began_ns, deadline_ns;

static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* --- measurements --- */

static void note_silence(struct group *g)
{
    uint64_t gap = now_ns - g->last_ns;
    /* One that has done all it was asked for is not held up. */
    if (gap > g->stall_ns && (g->limit == 0 || g->count < g->limit))
        g->stall_ns = gap;
    g->last_ns = now_ns;
}

/* So many of a group's operations are done. */
static void done(struct group *g, uint64_t count)
{
    if (!measuring)
        return;
    note_silence(g);
    g->count += count;
    g->last_done_ns = now_ns;
}

/* --- what a connection does next --- */

static bool may_issue(struct group *g)
{
    return measuring && (g->limit == 0 || g->issued < g->limit);
}

static void send_more(struct connection *c)
{
    struct group *g = c->group;
    while (c->outstanding < g->window && may_issue(g)) {
        uint64_t sent = now_ns;
        if (g->rate > 0) {
            if (g->due_ns > now_ns)
                return;
            sent = g->due_ns; /* not when it was late: else a stall would hide itself */
            g->due_ns += (uint64_t)(1e9 / g->rate);
        }
        c->next_tag++;
        c->sent_ns[c->next_tag % MAX_IN_FLIGHT] = sent;
        protocol->send(c, c->next_tag, sent);
        c->outstanding++;
        g->issued++;
    }
}

static void pull_more(struct connection *c)
{
    if (!may_issue(c->group))
        return;
    c->pulling = true;
    c->pulled = 0;
    c->began_ns = now_ns;
    protocol->pull(c, c->group->window);
}

static void ack_all(struct connection *c)
{
    int count = c->receipt_count;
    if (count == 0)
        return;
    protocol->ack(c);
    c->receipts.start = c->receipts.end = 0;
    c->receipt_count = 0;
    c->expected_acks += count;
    if (!protocol->acks_are_answered)
        on_acked(c, count);
}

void on_sent(struct connection *c, uint64_t tag)
{
    if (c->outstanding-- <= 0)
        fail("an answer to nothing");
    if (measuring)
        record(&c->group->round_trip, now_ns - c->sent_ns[tag % MAX_IN_FLIGHT]);
    done(c->group, 1);
}

void on_sent_up_to(struct connection *c, uint64_t tag)
{
    while (c->next_answer < tag)
        on_sent(c, ++c->next_answer);
}

void on_message(struct connection *c, const char *receipt, size_t receipt_size, const char *body,
                size_t body_size)
{
    if (body_size != options.body_size)
        fail("a body of %zu bytes", body_size);
    append(&c->receipts, receipt, receipt_size);
    c->receipt_count++;
    c->pulled++;
    if (measuring)
        record(&c->group->transit, now_ns - read_stamp(body));
}

void on_pull_end(struct connection *c)
{
    c->pulling = false;
    if (c->group->role == PULL) {
        if (c->pulled == 0)
            c->group->limit = c->group->issued = 1; /* drained */
        ack_all(c);
    } else {
        ack_all(c);
        pull_more(c);
    }
}

void on_acked(struct connection *c, int count)
{
    struct group *g = c->group;
    c->expected_acks -= count;
    done(g, (uint64_t)count);
    if (g->role == CONSUME) {
        if (g->limit && g->count >= g->limit)
            g->issued = g->limit;
    } else if (c->expected_acks == 0) {
        if (measuring)
            record(&g->round_trip, now_ns - c->began_ns);
        pull_more(c);
    }
}

/* --- sockets --- */

static void flush(struct connection *c)
{
    while (unread_size(&c->out) > 0) {
        ssize_t n = send(c->fd, unread(&c->out), unread_size(&c->out), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            fail("send: %s", strerror(errno));
        if (n < 0)
            break;
        c->out.start += (size_t)n;
    }
    bool wants_write = unread_size(&c->out) > 0;
    if (wants_write != c->wants_write) {
        struct epoll_event event = {.events = EPOLLIN | (wants_write ? EPOLLOUT : 0u), .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
        c->wants_write = wants_write;
    }
}

/* Read what is there; false if nothing is. */
static bool fill(struct connection *c)
{
    char *place = room(&c->in, READ_SIZE);
    ssize_t n = recv(c->fd, place, READ_SIZE, 0);
    c->in.end -= READ_SIZE - (n > 0 ? (size_t)n : 0);
    if (n == 0)
        fail("the server has closed a connection");
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        fail("recv: %s", strerror(errno));
    return n > 0;
}

void write_blocking(struct connection *c)
{
    while (flush(c), unread_size(&c->out) > 0)
        poll(&(struct pollfd){.fd = c->fd, .events = POLLOUT}, 1, -1);
}

void read_blocking(struct connection *c)
{
    while (!fill(c))
        if (poll(&(struct pollfd){.fd = c->fd, .events = POLLIN}, 1, 30000) == 0)
            fail("no answer to a login within 30 s");
}

static void connect_to(struct connection *c)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    if (inet_pton(AF_INET, options.host, &address.sin_addr) != 1)
        fail("no address: %s", options.host);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("connect: %s", strerror(errno));
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
}

static void open_all(void)
{
    poller = epoll_create1(0);
    for (int g = 0; g < group_count; g++)
        connection_count += groups[g].connections;
    connections = calloc((size_t)connection_count, sizeof *connections);
    if (connections == NULL)
        fail("out of memory");
    int number = 0;
    for (int g = 0; g < group_count; g++)
        for (int i = 0; i < groups[g].connections; i++) {
            struct connection *c = &connections[number];
            c->number = number++;
            c->group = &groups[g];
            if (c->group->role == SEND)
                c->sent_ns = calloc(MAX_IN_FLIGHT, sizeof *c->sent_ns);
            connect_to(c);
            protocol->open(c);
        }
}

/* --- the run --- */

/* What there is to be done on a connection after it was read, or at the start. */
static void proceed(struct connection *c)
{
    if (c->group->role == SEND)
        send_more(c);
    else if (c->group->role == CONSUME && protocol->pushes && measuring)
        ack_all(c); /* after the end, each would bring more, and it would not come to rest */
    flush(c);
}

static void start(void)
{
    now_ns = began_ns = clock_ns();
    deadline_ns = began_ns + (uint64_t)(options.seconds * 1e9);
    for (int g = 0; g < group_count; g++)
        groups[g].last_ns = groups[g].due_ns = began_ns;
    for (int i = 0; i < connection_count; i++) {
        struct connection *c = &connections[i];
        if (c->group->role == PULL || (c->group->role == CONSUME && !protocol->pushes))
            pull_more(c);
        else if (c->group->role == CONSUME)
            protocol->parse(c); /* what came behind the answer to its start */
        proceed(c);
    }
}

static bool is_over(void)
{
    bool limited = false;
    for (int g = 0; g < group_count; g++) {
        struct group *group = &groups[g];
        if (group->role == IDLE)
            continue;
        if (group->limit == 0 || group->issued < group->limit)
            return false;
        if (group->role == SEND && group->count < group->limit)
            return false;
        limited = true;
    }
    return limited;
}

static bool is_quiet(void)
{
    for (int i = 0; i < connection_count; i++)
        if (connections[i].outstanding > 0 || connections[i].expected_acks > 0)
            return false;
    return true;
}

/* Wait for events until a paced group's next send, or the deadline. */
static int wait_for(struct epoll_event *events, int most, uint64_t until)
{
    uint64_t next = until;
    for (int g = 0; g < group_count; g++)
        if (measuring && groups[g].rate > 0 && groups[g].due_ns < next)
            next = groups[g].due_ns;
    uint64_t patience = next > now_ns ? next - now_ns : 0;
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 35)
    struct timespec t = {(time_t)(patience / 1000000000), (long)(patience % 1000000000)};
    return epoll_pwait2(poller, events, most, &t, NULL);
#else
    /* The last millisecond is awaited by asking again, so that sends leave on time. */
    return epoll_wait(poller, events, most, (int)(patience / 1000000));
#endif
}

static void turn(uint64_t until)
{
    struct epoll_event events[256];
    int n = wait_for(events, 256, until);
    now_ns = clock_ns();
    for (int i = 0; i < n; i++) {
        struct connection *c = events[i].data.ptr;
        if (events[i].events & ~(unsigned)EPOLLOUT && fill(c)) {
            now_ns = clock_ns();
            protocol->parse(c);
        }
        proceed(c);
    }
    for (int i = 0; is_paced && i < connection_count; i++)
        if (connections[i].group->rate > 0)
            proceed(&connections[i]);
}

/* How long it took to do what a group has done; before the silence at the end is noted.
 *
 * A batch that the end cuts short counts for nothing, so its time does not count either: else
 * what is done in few large batches would seem slower than it is. But a silence longer than all
 * before it is no batch under way. */
static double seconds_of(const struct group *g)
{
    bool is_at_rest = g->limit > 0, is_under_way = now_ns - g->last_ns <= g->stall_ns;
    uint64_t end = g->last_done_ns && (is_at_rest || is_under_way) ? g->last_done_ns : now_ns;
    return (double)(end - began_ns) / 1e9;
}

static double cpu_seconds(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static void run(void)
{
    double cpu_before = cpu_seconds();
    /* From here on the bench counts what the server takes. */
    puts("started");
    fflush(stdout);
    start();
    while (now_ns < deadline_ns && !is_over())
        turn(deadline_ns);
    double elapsed = (double)(now_ns - began_ns) / 1e9, cpu = cpu_seconds() - cpu_before;
    double took[MAX_GROUPS];
    for (int i = 0; i < group_count; i++) {
        took[i] = seconds_of(&groups[i]);
        note_silence(&groups[i]);
    }
    measuring = false;
    for (uint64_t until = now_ns + DRAIN_NS; now_ns < until && !is_quiet();)
        turn(until);
    printf("{\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"groups\": [", elapsed, cpu);
    for (int i = 0; i < group_count; i++) {
        struct group *g = &groups[i];
        printf("%s{\"answered\": %lu, \"rate\": %.3f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
               "\"max_us\": %.1f, \"transit_p50_us\": %.1f, \"transit_p99_us\": %.1f, "
               "\"transit_max_us\": %.1f, \"stall_us\": %.1f}",
               i ? ", " : "", g->count, took[i] > 0 ? (double)g->count / took[i] : 0,
               quantile_us(&g->round_trip, 0.5), quantile_us(&g->round_trip, 0.99),
               (double)g->round_trip.largest / 1000, quantile_us(&g->transit, 0.5),
               quantile_us(&g->transit, 0.99), (double)g->transit.largest / 1000,
               (double)g->stall_ns / 1000);
    }
    printf("]}\n");
}

static void read_group(const char *text)
{
    struct group *g = &groups[group_count++];
    char role[16] = "";
    if (group_count > MAX_GROUPS ||
        sscanf(text, "%15[a-z]:%d:%d:%lf:%lu", role, &g->connections, &g->window, &g->rate, &g->limit) < 3)
        fail("no group: %s", text);
    const char *names[] = {"send", "pull", "consume", "idle"};
    for (int i = 0; i < 4; i++)
        if (strcmp(role, names[i]) == 0) {
            g->role = (enum role)i;
            is_paced |= g->rate > 0;
            if (g->window < 1 || g->window > MAX_IN_FLIGHT / 4)
                fail("no window: %d", g->window);
            return;
        }
    fail("no role: %s", role);
}

int main(int count, char **words)
{
    const struct protocol *all[] = {&broker_protocol, &redis_protocol, &beanstalkd_protocol,
                                    &nats_protocol, &amqp_protocol};
    if (count < 8)
        fail("usage: load PROTOCOL HOST PORT QUEUE BODY_SIZE SECONDS [KEY=VALUE ...] GROUP ...");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i]->name, words[1]) == 0)
            protocol = all[i];
    if (protocol == NULL)
        fail("no protocol: %s", words[1]);
    options.host = words[2];
    options.port = atoi(words[3]);
    options.queue = words[4];
    options.body_size = (size_t)atol(words[5]);
    options.seconds = atof(words[6]);
    if (options.body_size < STAMP_SIZE)
        fail("a body has at least %d bytes, its time", STAMP_SIZE);
    for (int i = 7; i < count; i++) {
        char *value = strchr(words[i], '=');
        if (value == NULL)
            read_group(words[i]);
        else if (strncmp(words[i], "user=", 5) == 0)
            options.user = value + 1;
        else if (strncmp(words[i], "password=", 9) == 0)
            options.password = value + 1;
        else if (strncmp(words[i], "publish=", 8) == 0)
            options.publish = true, options.copies = atoi(value + 1);
        else
            fail("no option: %s", words[i]);
    }
    open_all();
    run();
    return 0;
}
