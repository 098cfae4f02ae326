/* Two protocols of lines: beanstalkd's, and NATS with JetStream. */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The next line, without CR LF; 0 if it is not all there. Takes nothing. */
static size_t peek_line(struct connection *c, char **line)
{
    *line = unread(&c->in);
    char *newline = memchr(*line, '\n', unread_size(&c->in));
    return newline ? (size_t)(newline - *line) - 1 : 0;
}

static bool begins(const char *line, const char *word)
{
    return strncmp(line, word, strlen(word)) == 0;
}

/* --- beanstalkd: the tube is the queue --- */

static void tube_of(char *tube, size_t size, int number)
{
    if (options.publish)
        snprintf(tube, size, "%s.%d", options.queue, number);
    else
        snprintf(tube, size, "%s", options.queue);
}

static void beanstalkd_open(struct connection *c)
{
    char *line;
    appendf(&c->out, "use %s\r\nwatch %s\r\nignore default\r\n", options.queue, options.queue);
    write_blocking(c);
    for (int i = 0; i < 3; i++) {
        size_t size;
        while ((size = peek_line(c, &line)) == 0)
            read_blocking(c);
        c->in.start += size + 2;
    }
}

static void beanstalkd_send(struct connection *c, uint64_t tag, uint64_t ns)
{
    (void)tag;
    for (int i = 0; i < (options.publish ? options.copies : 1); i++) {
        char tube[256];
        tube_of(tube, sizeof tube, i);
        if (options.publish)
            appendf(&c->out, "use %s\r\n", tube);
        /* Reserved for ten minutes: the time to run must not end within a run. */
        appendf(&c->out, "put 1024 0 600 %zu\r\n", options.body_size);
        append_body(&c->out, ns);
        append(&c->out, "\r\n", 2);
    }
}

static void beanstalkd_pull(struct connection *c, int count)
{
    c->state[0] = (uint64_t)count; /* answers to come */
    for (int i = 0; i < count; i++)
        appendf(&c->out, c->group->role == CONSUME ? "reserve\r\n" : "reserve-with-timeout 0\r\n");
}

static void beanstalkd_ack(struct connection *c)
{
    append(&c->out, unread(&c->receipts), unread_size(&c->receipts));
}

/* Handle the answer that begins with a line; false if it is not all there. */
static bool beanstalkd_answer(struct connection *c, char *line, size_t size)
{
    size_t whole = size + 2;
    if (begins(line, "RESERVED ")) {
        char *id = line + 9, *rest;
        unsigned long number = strtoul(id, &rest, 10);
        size_t body_size = strtoul(rest, NULL, 10);
        if (unread_size(&c->in) < whole + body_size + 2)
            return false;
        char receipt[64];
        int n = snprintf(receipt, sizeof receipt, "delete %lu\r\n", number);
        char *body = line + whole;
        c->in.start += whole + body_size + 2;
        on_message(c, receipt, (size_t)n, body, body_size);
        if (--c->state[0] == 0)
            on_pull_end(c);
        return true;
    }
    c->in.start += whole;
    if (begins(line, "INSERTED ")) {
        if (!options.publish || ++c->reply_part == (uint64_t)options.copies) {
            c->reply_part = 0;
            on_sent_up_to(c, c->next_answer + 1);
        }
    } else if (begins(line, "DELETED")) {
        on_acked(c, 1);
    } else if (begins(line, "TIMED_OUT")) {
        if (--c->state[0] == 0)
            on_pull_end(c);
    } else if (!begins(line, "USING ")) {
        fail("refused: %.*s", (int)size, line);
    }
    return true;
}

static void beanstalkd_parse(struct connection *c)
{
    char *line;
    size_t size;
    while ((size = peek_line(c, &line)) > 0 && beanstalkd_answer(c, line, size))
        ;
}

const struct protocol beanstalkd_protocol = {
    .name = "beanstalkd", .open = beanstalkd_open, .send = beanstalkd_send, .pull = beanstalkd_pull,
    .ack = beanstalkd_ack, .parse = beanstalkd_parse, .acks_are_answered = true, .pushes = false,
};

/* --- NATS: stream and pull consumer have the queue's name, pushes go to push.QUEUE --- */

static void nats_open(struct connection *c)
{
    char *line;
    /* r: answers to sends; p: to pulls. Each connection has subjects of its own. */
    appendf(&c->out,
            "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,"
            "\"lang\":\"c\",\"version\":\"1\",\"protocol\":1}\r\n"
            "SUB r.%d.* 1\r\nSUB p.%d 2\r\n",
            c->number, c->number);
    if (c->group->role == CONSUME)
        appendf(&c->out, "SUB push.%s 3\r\n", options.queue);
    appendf(&c->out, "PING\r\n");
    write_blocking(c);
    for (bool ready = false; !ready;) {
        size_t size;
        while ((size = peek_line(c, &line)) == 0)
            read_blocking(c);
        if (begins(line, "-ERR"))
            fail("refused: %.*s", (int)size, line);
        ready = begins(line, "PONG");
        c->in.start += size + 2;
    }
}

static void nats_send(struct connection *c, uint64_t tag, uint64_t ns)
{
    appendf(&c->out, "PUB %s r.%d.%lu %zu\r\n", options.queue, c->number, tag, options.body_size);
    append_body(&c->out, ns);
    append(&c->out, "\r\n", 2);
}

static void nats_pull(struct connection *c, int count)
{
    char request[64];
    int n = snprintf(request, sizeof request, "{\"batch\":%d,\"no_wait\":true}", count);
    appendf(&c->out, "PUB $JS.API.CONSUMER.MSG.NEXT.%s.pull p.%d %d\r\n%s\r\n", options.queue,
            c->number, n, request);
}

static void nats_ack(struct connection *c)
{
    append(&c->out, unread(&c->receipts), unread_size(&c->receipts));
}

static void nats_message(struct connection *c, char **words, int count, char *body, size_t size)
{
    if (words[1][0] == 'r') {
        if (!begins(body, "{\"stream\""))
            fail("refused: %.*s", (int)size, body);
        on_sent(c, strtoul(strrchr(words[1], '.') + 1, NULL, 10));
        return;
    }
    if (count != 5)
        fail("a message without a subject for its ack");
    char receipt[512];
    int n = snprintf(receipt, sizeof receipt, "PUB %s 4\r\n+ACK\r\n", words[3]);
    on_message(c, receipt, (size_t)n, body, size);
    if (c->group->role == PULL && c->pulled == c->group->window)
        on_pull_end(c);
}

/* Handle the frame that begins with a line; false if it is not all there. */
static bool nats_frame(struct connection *c, char *line, size_t size)
{
    size_t whole = size + 2;
    if (begins(line, "MSG ") || begins(line, "HMSG ")) {
        char copy[1024], *words[6], *rest = NULL;
        int count = 0;
        snprintf(copy, sizeof copy, "%.*s", (int)size, line);
        for (char *w = strtok_r(copy, " ", &rest); w && count < 6; w = strtok_r(NULL, " ", &rest))
            words[count++] = w;
        size_t body_size = strtoul(words[count - 1], NULL, 10);
        if (unread_size(&c->in) < whole + body_size + 2)
            return false;
        c->in.start += whole + body_size + 2;
        if (words[0][0] == 'M')
            nats_message(c, words, count, line + whole, body_size);
        else if (c->pulling) /* a status: there is no more */
            on_pull_end(c);
        return true;
    }
    c->in.start += whole;
    if (begins(line, "PING"))
        appendf(&c->out, "PONG\r\n");
    else if (begins(line, "-ERR"))
        fail("refused: %.*s", (int)size, line);
    return true;
}

static void nats_parse(struct connection *c)
{
    char *line;
    size_t size;
    while ((size = peek_line(c, &line)) > 0 && nats_frame(c, line, size))
        ;
}

const struct protocol nats_protocol = {
    .name = "nats", .open = nats_open, .send = nats_send, .pull = nats_pull,
    .ack = nats_ack, .parse = nats_parse, .acks_are_answered = false, .pushes = true,
};
