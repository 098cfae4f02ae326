/* The load generator: what its core and its protocols know of each other.
 *
 * One thread, one epoll. The core (load.c) owns time, windows, counts and the
 * measurements; a protocol turns operations into bytes and replies into the
 * core's on_...() calls. A protocol's open() may block; nothing else does.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum role { SEND, PULL, CONSUME, IDLE };

struct buffer {
    char *data;
    size_t start, end, capacity;
};

/* Counts durations: 64 steps a power of two, so within 1.6 %. */
#define HISTOGRAM_SIZE (64 * 64)
struct histogram {
    uint64_t counts[HISTOGRAM_SIZE], total, largest;
};

struct group {
    enum role role;
    int connections;
    int window;   /* SEND: in flight; CONSUME: prefetch; PULL: messages a pull */
    double rate;  /* SEND: a second and group, 0: as fast as it goes */
    uint64_t limit; /* end after so many, 0: none */
    uint64_t issued, count;
    uint64_t due_ns; /* SEND with a rate: when the next one is due */
    uint64_t last_ns, stall_ns, last_done_ns;
    struct histogram round_trip; /* of a send, or of a pull and its ack */
    struct histogram transit;    /* from before the send to the message's arrival */
};

/* The times of sends in flight, by tag; more than any window, as confirms may overtake. */
#define MAX_IN_FLIGHT 65536

struct connection {
    int fd, number;
    struct group *group;
    struct buffer in, out;
    struct buffer receipts; /* what the next ack names, as the protocol spells it */
    int receipt_count;
    int outstanding;          /* SEND: not yet answered */
    int expected_acks;        /* acknowledgements not yet answered */
    bool pulling;             /* PULL: a pull is not yet answered */
    int pulled;               /* messages that the pull under way has brought */
    uint64_t began_ns;        /* PULL: when the pull under way was sent */
    uint64_t next_tag, next_answer;
    uint64_t *sent_ns;
    uint64_t reply_part;      /* of an operation that is answered in several parts */
    uint64_t state[4];        /* the protocol's own */
    bool wants_write;
};

struct protocol {
    const char *name;
    /* Log in, start consuming; blocks. */
    void (*open)(struct connection *);
    /* Append one send. The tag counts them from 1 on each connection. */
    void (*send)(struct connection *, uint64_t tag, uint64_t now_ns);
    /* Append a pull of up to `count` messages. */
    void (*pull)(struct connection *, int count);
    /* Append an ack of what is in `receipts`. */
    void (*ack)(struct connection *);
    /* Take complete replies from `in`. */
    void (*parse)(struct connection *);
    /* Whether an ack is answered; if not it counts when it is written. */
    bool acks_are_answered;
    /* Whether messages are pushed; if not consuming is pulling with the next pull behind each ack. */
    bool pushes;
};

struct options {
    const char *host, *queue, *user, *password;
    int port, copies; /* copies: a publish is so many sends in one (0: the broker copies) */
    bool publish;
    size_t body_size;
    double seconds;
};
extern struct options options;
extern const struct protocol broker_protocol, redis_protocol, beanstalkd_protocol,
    nats_protocol, amqp_protocol;

/* From the protocol to the core. */
void on_sent(struct connection *, uint64_t tag);
void on_sent_up_to(struct connection *, uint64_t tag);
void on_message(struct connection *, const char *receipt, size_t receipt_size,
                const char *body, size_t body_size);
void on_pull_end(struct connection *);
void on_acked(struct connection *, int count);

/* For protocols. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void append(struct buffer *, const void *, size_t);
void appendf(struct buffer *, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *room(struct buffer *, size_t); /* so many bytes to be written, already counted */
void write_blocking(struct connection *);
void read_blocking(struct connection *); /* adds something to `in` */

/* A body is `body_size` bytes; its first 16 are the time it was sent, in hex. */
#define STAMP_SIZE 16
void stamp(char *place, uint64_t ns);
uint64_t read_stamp(const char *body);
void append_body(struct buffer *, uint64_t ns);

void record(struct histogram *, uint64_t ns);
double quantile_us(const struct histogram *, double quantile);

static inline char *unread(struct buffer *b) { return b->data + b->start; }
static inline size_t unread_size(struct buffer *b) { return b->end - b->start; }

#endif
