/*
 * strait.h - talking through strait, from C. Made by cbindgen from ffi/src: don't edit.
 *
 * A world opens the connection that was made for it: strait_open(). A host program outside of any jail attaches
 * to the broker's socket: strait_attach(). From then on both are the same: send, receive, reply.
 *
 * Results    0 or more is success. Less is one of enum strait_error, and strait_last_error() says more, with
 *            numbers. An out parameter is written on success, unless it says otherwise; one that may be NULL says so.
 * Pointers   NULL where something must be is STRAIT_ERROR_NULL. Every other pointer must be what its type says:
 *            aligned, alive, of the length given with it. Texts end in NUL and are UTF-8. A client must come from
 *            strait_open() or strait_attach() and not be closed yet. A struct that is read must have been filled, by
 *            the library or by the caller. An out parameter doesn't overlap another argument.
 * Threads    A client belongs to one thread at a time: it may wander, but no two calls on it may overlap, whatever
 *            they are. Different clients have nothing to do with each other. Nothing here starts a thread.
 * Lifetimes  strait_receive() and strait_receive_piece() hand out a payload that lies in the inbox itself, or in the client's
 *            memory if it came in pieces. It stays there until strait_release(), strait_receive(),
 *            strait_receive_piece(), strait_request(), strait_link(), strait_parcel_new(), strait_close(), or a function that waits for an
 *            answer of a service and says so. Sending and replying leave it alone, so it can be their payload. The other fields of
 *            a strait_record are the caller's, for as long as it likes.
 * Bugs       A bug inside the library ends in STRAIT_ERROR_BUG, after which that client can only be closed. (Built
 *            with panic=abort, it ends the process.)
 *
 * What is promised: a record is delivered, or its sender gets a notice that says why not; records between two worlds
 * arrive in the order they were sent; the source is the switch's word, not the sender's; a request ends in one reply
 * or one notice. What is not: that a message was handled. Only a reply says that.
 */

#ifndef STRAIT_H
#define STRAIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * In the `flags` of a request that was received: another member of a group had it first, and died.
 */
#define STRAIT_FLAG_REPEATABLE 2

/**
 * What the control service wants of a world.
 */
typedef enum strait_wanted {
    /**
     * Nothing: this is a record of somebody else, or of another kind.
     */
    STRAIT_WANTED_NOTHING = 0,
    /**
     * That it ends. It may save its state before. At the deadline it is ended by force.
     */
    STRAIT_WANTED_SHUTDOWN = 1,
    /**
     * That it saves its state now, and goes on.
     */
    STRAIT_WANTED_SNAPSHOT = 2,
    /**
     * That it saves its state and ends, because a new version takes its place.
     */
    STRAIT_WANTED_UPGRADE = 3,
} strait_wanted;

/**
 * What becomes of what a world asks for.
 */
typedef enum strait_decision {
    /**
     * It is granted.
     */
    STRAIT_DECISION_GRANT = 0,
    /**
     * It is denied.
     */
    STRAIT_DECISION_DENY = 1,
    /**
     * A person is to decide.
     */
    STRAIT_DECISION_LEAVE = 2,
} strait_decision;

/**
 * What can go wrong. A later version may add codes; none changes its meaning.
 */
typedef enum strait_error {
    /**
     * NULL where something must be.
     */
    STRAIT_ERROR_NULL = -1,
    /**
     * A bug in strait. The client can only be closed.
     */
    STRAIT_ERROR_BUG = -2,
    /**
     * strait_open() in a process that the broker didn't start, or a second time.
     */
    STRAIT_ERROR_NOT_A_WORLD = -3,
    /**
     * The broker's socket can't be reached.
     */
    STRAIT_ERROR_UNREACHABLE = -4,
    /**
     * The broker, its policy or the control service said no.
     */
    STRAIT_ERROR_REFUSED = -5,
    /**
     * A system call failed.
     */
    STRAIT_ERROR_SYSTEM = -6,
    /**
     * The text is no name of a world.
     */
    STRAIT_ERROR_NAME = -7,
    /**
     * No room in the outbox, now or before the time was over. Nothing was sent, or nothing that will arrive.
     */
    STRAIT_ERROR_FULL = -8,
    /**
     * The payload is larger than the outbox takes at once (see strait_max_payload()), and this call can't send it in
     * pieces. Nothing was sent.
     */
    STRAIT_ERROR_TOO_LARGE = -9,
    /**
     * A request got a notice instead of a reply.
     */
    STRAIT_ERROR_UNDELIVERED = -10,
    /**
     * More than 16 MiB arrived while strait_request() was waiting. Use strait_start_request().
     */
    STRAIT_ERROR_TOO_MUCH_ARRIVED = -11,
    /**
     * The broker is gone.
     */
    STRAIT_ERROR_BROKER_GONE = -12,
    /**
     * What the broker or a service wrote can't be true: the two sides are of different builds, or one has a bug.
     */
    STRAIT_ERROR_PROTOCOL = -13,
    /**
     * A draft is open, and this would send past it; or none is, or it isn't this one.
     */
    STRAIT_ERROR_DRAFT = -14,
    /**
     * The parcel isn't sealed, or was lost when it was.
     */
    STRAIT_ERROR_PARCEL = -15,
    /**
     * No image can be made of this process; the text says what is in the way.
     */
    STRAIT_ERROR_CHECKPOINT = -16,
    /**
     * What was asked for is not granted; the text says why.
     */
    STRAIT_ERROR_DENIED = -17,
} strait_error;

/**
 * What the switch did with a record.
 */
typedef enum strait_fate {
    /**
     * It is in its receiver's inbox.
     */
    STRAIT_FATE_DELIVERED = 0,
    /**
     * It is held until its receiver has room.
     */
    STRAIT_FATE_HELD = 1,
    /**
     * It went nowhere; of a request also: it ended without a reply. `reason` says why.
     */
    STRAIT_FATE_ENDED = 2,
} strait_fate;

/**
 * What a record is.
 */
typedef enum strait_kind {
    /**
     * A message that wants no answer.
     */
    STRAIT_KIND_MESSAGE = 1,
    /**
     * A request: answer it with strait_reply().
     */
    STRAIT_KIND_REQUEST = 2,
    /**
     * The answer to a request of ours: `correlation` says to which, `code` how it went (0 is success).
     */
    STRAIT_KIND_REPLY = 3,
    /**
     * From the switch alone: what became of a record of ours. `code` is an enum strait_reason, `source` the world
     * that the record was for; `sequence`, `correlation` and `tag` are the record's.
     */
    STRAIT_KIND_NOTICE = 4,
} strait_kind;

/**
 * Why a record was not delivered, or a request not answered: the `code` of a notice.
 */
typedef enum strait_reason {
    /**
     * No running world has this id.
     */
    STRAIT_REASON_NO_SUCH_WORLD = 1,
    /**
     * Policy doesn't let us reach it.
     */
    STRAIT_REASON_REFUSED = 2,
    /**
     * It was there when the request was delivered, and is gone without having answered.
     */
    STRAIT_REASON_DIED = 3,
    /**
     * The request's deadline passed.
     */
    STRAIT_REASON_DEADLINE = 4,
    /**
     * Too many requests of ours are open already.
     */
    STRAIT_REASON_QUOTA = 5,
    /**
     * A reply to no request: never asked, answered already, or given up by the asker.
     */
    STRAIT_REASON_NO_SUCH_REQUEST = 6,
    /**
     * The receiver's inbox is smaller than the record.
     */
    STRAIT_REASON_TOO_LARGE = 7,
    /**
     * The record was to bring a parcel that we don't have.
     */
    STRAIT_REASON_NO_SUCH_PARCEL = 16,
    /**
     * The record was to bring a parcel that we can still write to.
     */
    STRAIT_REASON_UNSEALED = 17,
    /**
     * The receiver holds as many parcels as it may, of ours or altogether, or hasn't taken those that it was given.
     */
    STRAIT_REASON_PARCEL_QUOTA = 18,
    /**
     * The link is gone over which the request was asked.
     */
    STRAIT_REASON_UNLINKED = 19,
    /**
     * The receiver wasn't running, and couldn't be started so that it could take the record.
     */
    STRAIT_REASON_CANT_START = 20,
    /**
     * Each member of the group that was given the request died with it, and there were as many as it is given to.
     */
    STRAIT_REASON_DELIVERY_LIMIT = 21,
    /**
     * It was for a topic, and was a piece of something larger, or was to be kept and brought a parcel.
     */
    STRAIT_REASON_NOT_BY_TOPIC = 24,
    /**
     * Something that was for us, from the world that is the source, didn't arrive whole: its sender broke it off, or it
     * was more than we gather. The other fields are those of what it would have been, so that a request can be answered.
     */
    STRAIT_REASON_INCOMPLETE = 64,
} strait_reason;

/**
 * A world's or host program's connection to the switch.
 */
typedef struct strait_client strait_client;

/**
 * Memory that is filled by one world and then read by any number of them, never copied and never changed again: the kernel
 * sees to that.
 */
typedef struct strait_parcel strait_parcel;

/**
 * A record that arrived.
 */
typedef struct strait_record {
    /**
     * The payload, never NULL. How long it is there says the function that filled this.
     */
    const uint8_t *payload;
    /**
     * Bytes of payload.
     */
    size_t length;
    /**
     * Who sent it: the switch's word.
     */
    uint64_t source;
    /**
     * Who it is for.
     */
    uint64_t destination;
    /**
     * Ties a reply, or a notice, to its request.
     */
    uint64_t correlation;
    /**
     * The how-manieth record of its source this is.
     */
    uint64_t sequence;
    /**
     * The record that its source was handling when it sent this, or 0: bits 0 to 38 are of that one's sequence, bits 39 to 62 of its source; bit
     * 63 is set if it came over a direct link. Its source's word.
     */
    uint64_t cause;
    /**
     * The application's own word.
     */
    uint64_t tag;
    /**
     * Of a request: how long its asker waits, in milliseconds.
     */
    uint32_t timeout_ms;
    /**
     * Of a reply: the application's status, 0 for success. Of a notice: an enum strait_reason.
     */
    uint16_t code;
    /**
     * An enum strait_kind.
     */
    uint8_t kind;
    /**
     * 0x10 and above belong to worlds, those below to the switch.
     */
    uint8_t flags;
} strait_record;

/**
 * Some bytes of the caller.
 */
typedef struct strait_bytes {
    /**
     * Where they start. May be NULL if there are none.
     */
    const void *start;
    /**
     * How many there are.
     */
    size_t length;
} strait_bytes;

/**
 * Where a piece of a larger payload belongs.
 */
typedef struct strait_piece {
    /**
     * Bytes of payload before this piece, as its sender says. Where that isn't what arrived, a piece was lost, and there
     * is no whole.
     */
    uint64_t offset;
    /**
     * Which of its source's streams it belongs to. 0: it is no piece, but a whole; then the rest of this is 0 too.
     */
    uint32_t stream;
    /**
     * No more follow. Only now the record says what the whole is: kind, correlation, code, tag.
     */
    bool is_last;
    /**
     * Its sender gave up: there is no whole.
     */
    bool is_broken_off;
} strait_piece;

/**
 * A record under construction, its payload in the outbox itself. Before it is sent, `tag`, `code` and `flags` may
 * be set and `length` lowered; the rest stays.
 */
typedef struct strait_draft {
    /**
     * Where the payload goes. What is there before it is written is unspecified. Aligned to 16 bytes; never NULL;
     * alive until the draft is sent or dropped.
     */
    uint8_t *payload;
    /**
     * Bytes of payload: at first as many as were asked for; may be lowered.
     */
    size_t length;
    /**
     * The application's own word.
     */
    uint64_t tag;
    /**
     * Of a reply: the application's status, 0 for success.
     */
    uint16_t code;
    /**
     * 0x10 and above belong to worlds, those below are cleared.
     */
    uint8_t flags;
    /**
     * An enum strait_kind.
     */
    uint8_t kind;
    /**
     * Who it is for.
     */
    uint64_t destination;
    /**
     * Of a reply: that of its request.
     */
    uint64_t correlation;
} strait_draft;

/**
 * A state as it was saved.
 */
typedef struct strait_state {
    /**
     * What was saved, never NULL. Alive until the next strait_load() or strait_close().
     */
    const uint8_t *bytes;
    /**
     * How many bytes.
     */
    size_t length;
    /**
     * Which version it is; they count from 1. 0: nothing was ever saved.
     */
    uint64_t version;
    /**
     * A newer version is there, but damaged: the newest such. Else 0.
     */
    uint64_t damaged;
} strait_state;

/**
 * What a world asks for.
 */
typedef struct strait_question {
    /**
     * The question's number, and that of the grant if there will be one.
     */
    uint64_t number;
    /**
     * Who asks: its id, the kernel's word.
     */
    uint64_t id;
    /**
     * How long it waits from now on, in milliseconds.
     */
    uint32_t left_ms;
    /**
     * Its name.
     */
    char name[65];
    /**
     * What it asks for, as `ask` in the configuration has it: `memory 2 GiB`.
     */
    char resource[513];
    /**
     * What for: its own words.
     */
    char reason[513];
} strait_question;

/**
 * Something that was granted.
 */
typedef struct strait_granted {
    /**
     * Its number.
     */
    uint64_t number;
    /**
     * To whom: the id, the kernel's word.
     */
    uint64_t id;
    /**
     * For how long from now on, in milliseconds; -1: until it is revoked.
     */
    int64_t left_ms;
    /**
     * It takes effect when the world starts the next time.
     */
    bool from_next_start;
    /**
     * The name of who has it.
     */
    char name[65];
    /**
     * What, as `ask` in the configuration has it: `memory 2 GiB`.
     */
    char resource[513];
    /**
     * By whom.
     */
    char by[513];
} strait_granted;

/**
 * What a subscription wants beside its pattern. All zero: everything, in order, from now on.
 */
typedef struct strait_subscribe_options {
    /**
     * Where we have no room, the newest message of a topic takes the place of the one that waits, instead of its
     * publishers waiting for us.
     */
    bool newest;
    /**
     * The last values that publishers had kept are wanted first.
     */
    bool retained;
    /**
     * Which bits of the tag matter.
     */
    uint64_t tag_mask;
    /**
     * What those must be.
     */
    uint64_t tag;
} strait_subscribe_options;

/**
 * How a message came that somebody published.
 */
typedef struct strait_publication {
    /**
     * The topic: strait_topic_name() has its name.
     */
    uint64_t topic;
    /**
     * The number of our subscription. Each that covers the topic gets a message of its own.
     */
    uint32_t subscription;
    /**
     * Messages of this topic that were for this subscription since the last one, and are lost. What a publisher left when it ended counts as far as
     * it was looked at, which is for copies of sixteen times its outbox.
     */
    uint32_t missed;
    /**
     * It was there before we subscribed: the topic's last value.
     */
    bool is_retained;
} strait_publication;

/**
 * A world, by the control service's word.
 */
typedef struct strait_world {
    /**
     * Its id.
     */
    uint64_t id;
    /**
     * Its name.
     */
    char name[65];
} strait_world;

/**
 * How a world ended.
 */
typedef struct strait_ended {
    /**
     * Its id.
     */
    uint64_t id;
    /**
     * The version of its state that it saved after it was told to end. 0 if it saved none.
     */
    uint64_t saved;
    /**
     * Its exit code, if it exited by itself; else -1.
     */
    int code;
    /**
     * The signal that ended it otherwise; else 0.
     */
    int signal;
    /**
     * From the command to the end, in milliseconds; 0 when nobody told it to end.
     */
    uint32_t took_ms;
    /**
     * It acknowledged the notice of its shutdown.
     */
    bool acknowledged;
    /**
     * The deadline passed, or the broker had another reason to kill it.
     */
    bool killed;
    /**
     * It is the end of one life: the next message to it wakes it.
     */
    bool sleeps;
    /**
     * What the broker has to say about it. It may be empty.
     */
    char note[257];
} strait_ended;

/**
 * A world in a list.
 */
typedef struct strait_world_row {
    /**
     * Its id.
     */
    uint64_t id;
    /**
     * Since when it is there, in milliseconds before now.
     */
    uint64_t age_ms;
    /**
     * Its first process in the pid namespace of the broker, 0 if it has none.
     */
    int32_t pid;
    /**
     * Its uid, by the kernel's word.
     */
    uint32_t uid;
    /**
     * Its name.
     */
    char name[65];
    /**
     * What it does: "starting", "ready", "stopping", "asleep"; or "service", "attached".
     */
    char state[17];
} strait_world_row;

/**
 * One record, as a tap saw it.
 */
typedef struct strait_sight {
    /**
     * The record, as the switch stamped it. Its `length` is the record's; of its payload `shown` bytes are there.
     */
    struct strait_record record;
    /**
     * How much of its payload is shown: nothing, if policy doesn't let it be.
     */
    size_t shown;
    /**
     * When, in nanoseconds since the tap began.
     */
    uint64_t at_ns;
    /**
     * An enum strait_fate.
     */
    uint16_t fate;
    /**
     * An enum strait_reason, where `fate` is STRAIT_FATE_ENDED; else 0.
     */
    uint16_t reason;
} strait_sight;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * What the last call of this thread that failed has to say: lowercase, without a newline. Never NULL; empty if no call
 * has failed. Alive until another call of this thread fails.
 */
const char *strait_last_error(void);

/**
 * Whether this record is the notice that this world is to end: within `timeout_ms`, for the reason that is its
 * payload (UTF-8, without a NUL). Nobody but the control service can send it. Reply to acknowledge, with any code.
 * False for NULL.
 */
bool strait_shutdown_notice(const struct strait_record *record);

/**
 * What the control service wants of this world, if this record says so; else STRAIT_WANTED_NOTHING, also for NULL. Nobody but the control
 * service can send it. It has `timeout_ms` for that; why is the payload (UTF-8, without a NUL). Reply when it is done, with any code.
 */
enum strait_wanted strait_control_notice(const struct strait_record *record);

/**
 * What an enum strait_reason means, in words. Never NULL; empty for what is none. Alive for ever.
 */
const char *strait_reason_text(uint16_t code);

/**
 * Says that this world is ready, before strait_open(): it has started and nobody has sent it anything. If its template is to be cloned and
 * there is no image yet, one is made of this process.
 *
 * Returns 0 in the process that calls, and 1 in each clone, which goes on right here: as fork() does, but with a jail, a connection and
 * limits of its own. It needs one thread, no descriptors but 0 to 3 and files open for reading, no shared memory, timers or children; what is in
 * the way is STRAIT_ERROR_CHECKPOINT, and the process can go on all the same.
 *
 * Everything that was in memory is the same in all clones, hash seeds and the state of random generators too: who needs randomness of its own
 * takes it from the kernel after a return of 1.
 */
int strait_checkpoint(void);

/**
 * Takes up the connection that was made for this world before its program started: descriptor 3. Once per process.
 * On failure, `*client` is NULL.
 */
int strait_open(struct strait_client **client);

/**
 * Attaches a host program to the broker that listens at `socket_path`, under a name that policy gives to our uid.
 * On failure, `*client` is NULL.
 */
int strait_attach(const char *socket_path,
                  const char *name,
                  struct strait_client **client);

/**
 * Shows the switch what was staged, tells the broker that this is the end, and frees the client with all that it
 * handed out. What was sent is still delivered. NULL is fine.
 */
void strait_close(struct strait_client *client);

/**
 * Our id, or 0 for NULL.
 */
uint64_t strait_id(const struct strait_client *client);

/**
 * Our name. Alive until the client is closed. NULL for NULL.
 */
const char *strait_name(const struct strait_client *client);

/**
 * The largest payload that one record can carry, in bytes, or 0 for NULL. What is larger goes in pieces.
 */
size_t strait_max_payload(const struct strait_client *client);

/**
 * Asks the control service for the id of the running world with this name. Remembered until a notice says that it
 * is gone. Waits up to 10 seconds; ends the life of the payload received last.
 */
int strait_resolve(struct strait_client *client,
                   const char *name,
                   uint64_t *id);

/**
 * Sends a message of any length. When the outbox is full, waits for room: as long as it takes (-1), not at all (0), or so
 * many milliseconds, after which it is STRAIT_ERROR_FULL. `*sequence`, which a notice about the message would carry,
 * may be NULL.
 *
 * What is longer than strait_max_payload() goes in pieces and arrives whole or not at all; it can't go without waiting, so
 * with 0 milliseconds it is STRAIT_ERROR_TOO_LARGE.
 */
int strait_send(struct strait_client *client,
                uint64_t to,
                const void *payload,
                size_t length,
                int32_t timeout_ms,
                uint64_t *sequence);

/**
 * Sends `count` messages to one receiver, in order, many of them in one record: for many small ones quicker by far than one
 * by one. Each arrives as a message of its own. Those of one record have the same sequence, and a notice about it is about
 * all of them. Waits for room if need be, see strait_set_patience(): `*sent` is how many were sent, which is all of them
 * unless that took too long. It may be NULL. STRAIT_ERROR_FULL only if none was.
 */
int strait_send_batch(struct strait_client *client,
                      uint64_t to,
                      const struct strait_bytes *payloads,
                      size_t count,
                      size_t *sent);

/**
 * Sends one message to `count` receivers, 1 to 64 of them: written once, copied by the switch to each. Each is judged by itself: a
 * notice with this sequence says who could not be reached. Waits for room if need be, see strait_set_patience().
 * `*sequence` may be NULL.
 */
int strait_multicast(struct strait_client *client,
                     const uint64_t *to,
                     size_t count,
                     const void *payload,
                     size_t length,
                     uint64_t *sequence);

/**
 * Sends a request and waits for its reply, for `timeout_ms` milliseconds at most; -1 is 49 days. What else arrives
 * meanwhile is kept for later receives; the payload received last is dead. `reply` may be NULL. Its payload is a
 * copy that lives until the next strait_request() or strait_close().
 *
 * STRAIT_ERROR_UNDELIVERED: there is no reply, and `*reply` is a notice without payload, whose code says why
 * (enum strait_reason). STRAIT_REASON_INCOMPLETE: the reply was more than we gather, or its sender broke it off.
 */
int strait_request(struct strait_client *client,
                   uint64_t to,
                   const void *payload,
                   size_t length,
                   int32_t timeout_ms,
                   struct strait_record *reply);

/**
 * Sends a request and doesn't wait: the reply, or the notice that there is none, comes by strait_receive() with this
 * correlation, within `timeout_ms` milliseconds; -1 is 49 days. Waits for room if need be, see strait_set_patience().
 */
int strait_start_request(struct strait_client *client,
                         uint64_t to,
                         const void *payload,
                         size_t length,
                         int32_t timeout_ms,
                         uint64_t *correlation);

/**
 * The same for a group, whose next member gets the request if the one that has it dies before it has answered: it is kept by the
 * switch, on our account, until it ends. What is sent to a world isn't repeated. STRAIT_ERROR_TOO_LARGE: it needs more than one
 * record. Where STRAIT_FLAG_REPEATABLE is set in a request that was received, another member had it first.
 */
int strait_start_repeatable(struct strait_client *client,
                            uint64_t to,
                            const void *payload,
                            size_t length,
                            int32_t timeout_ms,
                            uint64_t *correlation);

/**
 * Answers a request, or acknowledges a notice of shutdown. `code` 0 is success; other codes are the application's.
 * The payload may be that of the request. Only `source`, `correlation`, `sequence` and `tag` of the request matter, so a
 * copy will do, at any later time. Waits for room if need be, see strait_set_patience().
 */
int strait_reply(struct strait_client *client,
                 const struct strait_record *request,
                 uint16_t code,
                 const void *payload,
                 size_t length);

/**
 * Bounds how long any call may wait for room in the outbox, where it has no time of its own: after that it is
 * STRAIT_ERROR_FULL. -1, as long as it takes, is how a client begins.
 */
int strait_set_patience(struct strait_client *client, int32_t timeout_ms);

/**
 * Shows the switch whatever was staged.
 */
int strait_flush(struct strait_client *client);

/**
 * Waits until the switch has taken everything that was sent. 1 if it has, 0 if the time was over before; -1 is 49
 * days.
 */
int strait_drain(struct strait_client *client,
                 int32_t timeout_ms);

/**
 * The next record: 1 if there is one, 0 if the time was over before. Waits as long as it takes (-1), not at all
 * (0), or so many milliseconds. The payload lies in the inbox itself, or in the client's memory if it came in pieces (see
 * "Lifetimes"), and can't be written. What is sent from now on has this record as its cause.
 */
int strait_receive(struct strait_client *client,
                   int32_t timeout_ms,
                   struct strait_record *record);

/**
 * The next record as it came, also a piece of a larger payload, in place in the inbox: for who wants no copy of the whole,
 * or holds none. Otherwise like strait_receive(). Pieces of a stream that strait_receive() or strait_request() began to
 * gather go on being gathered; the other way round, a stream whose beginning was handed out here is incomplete for those.
 */
int strait_receive_piece(struct strait_client *client,
                         int32_t timeout_ms,
                         struct strait_record *record,
                         struct strait_piece *piece);

/**
 * Bounds what is held of payloads that come in pieces, in bytes: from one source, which is also the longest payload that
 * strait_receive() gives (64 MiB at first), and from all (256 MiB); and how many a source may have begun (64). What is
 * beyond that is given up: in its place comes a notice, STRAIT_REASON_INCOMPLETE.
 */
int strait_set_assembly_limits(struct strait_client *client,
                               size_t source_bytes,
                               size_t total_bytes,
                               size_t source_streams);

/**
 * Gives the payload received last back now: it isn't needed any more. The next receive does that too; this is for who is
 * going to be busy with something else.
 */
int strait_release(struct strait_client *client);

/**
 * A descriptor that becomes readable when a record arrives, for poll(2), epoll(7) and the like. Poll it only after
 * strait_receive() with 0 milliseconds has returned 0; when it is readable, call that again until it does. It
 * belongs to the client: neither read nor close it.
 */
int strait_poll_fd(struct strait_client *client);

/**
 * Begins a message of up to `length` bytes in place, waiting for room if need be (see strait_set_patience()): fill
 * `draft->payload`, then strait_draft_send(). Until it is sent or dropped, every other call that would send is
 * STRAIT_ERROR_DRAFT.
 */
int strait_draft_begin(struct strait_client *client,
                       uint64_t to,
                       size_t length,
                       struct strait_draft *draft);

/**
 * Begins the reply to a request in place, like strait_draft_begin(). The payload of the request stays readable.
 */
int strait_draft_begin_reply(struct strait_client *client,
                             const struct strait_record *request,
                             size_t length,
                             struct strait_draft *draft);

/**
 * Sends a draft. `*sequence`, which a notice about it would carry, may be NULL. On failure it is still open.
 */
int strait_draft_send(struct strait_client *client, const struct strait_draft *draft, uint64_t *sequence);

/**
 * Leaves a draft in the outbox until something else is sent, or strait_flush(): for many small records in a row.
 */
int strait_draft_stage(struct strait_client *client,
                       const struct strait_draft *draft,
                       uint64_t *sequence);

/**
 * Drops the draft that is open: it is as if it had never been. Fine if none is.
 */
int strait_draft_drop(struct strait_client *client);

/**
 * Makes a parcel of `length` bytes, all zero, up to 4 GiB and to what policy lets this world hold (STRAIT_ERROR_REFUSED
 * beyond that). Asks the switch, so it ends the life of the payload received last. On failure, `*parcel` is NULL. Free it with
 * strait_parcel_free().
 */
int strait_parcel_new(struct strait_client *client,
                      size_t length,
                      struct strait_parcel **parcel);

/**
 * The memory of a parcel that isn't sealed yet, to be written; NULL for one that is, and for NULL. Aligned to a page; alive
 * until the parcel is sealed or freed.
 */
void *strait_parcel_memory(struct strait_parcel *parcel);

/**
 * Makes a parcel immutable, for ever and for everybody: now it can be sent. STRAIT_ERROR_SYSTEM while something else in this
 * process maps it or the kernel still writes to it (a read(2) under way); then it is lost and can only be freed. Fine if it is
 * sealed already.
 */
int strait_parcel_seal(struct strait_parcel *parcel);

/**
 * The bytes of a sealed parcel, to be read. `*length` may be NULL. NULL for a parcel that isn't sealed, and for NULL. Alive
 * until the parcel is freed.
 */
const void *strait_parcel_bytes(const struct strait_parcel *parcel,
                                size_t *length);

/**
 * Sends a message with a sealed parcel, which stays ours too and can be sent again. Waits for room if need be, see
 * strait_set_patience(). `*sequence`, which a notice about the message would carry, may be NULL. That the receiver may
 * hold no more parcels is told by a notice, STRAIT_REASON_PARCEL_QUOTA.
 */
int strait_parcel_send(struct strait_client *client,
                       uint64_t to,
                       const struct strait_parcel *parcel,
                       const void *payload,
                       size_t length,
                       uint64_t *sequence);

/**
 * Takes the parcel that came with the record received last: 1 if there is one, 0 if not, or if it was taken already; then
 * `*parcel` is NULL. It is sealed; it stays until strait_parcel_free(), however long that is after the record. A parcel that
 * isn't taken is given back with its record.
 */
int strait_parcel_take(struct strait_client *client,
                       struct strait_parcel **parcel);

/**
 * Gives a parcel back. Its memory is freed when nobody has it any more. NULL is fine, and so is a parcel whose client is closed.
 */
void strait_parcel_free(struct strait_parcel *parcel);

/**
 * Makes a direct link to another world, if policy lets both have it, and waits until it is there, for `timeout_ms` milliseconds at
 * most; -1 is 49 days. From then on what the two send each other goes past the switch, by the same calls and in the same
 * order. The other world takes part whenever it looks for records. Ends the life of the payload received last.
 *
 * STRAIT_ERROR_REFUSED: policy doesn't let the two have one. STRAIT_ERROR_UNDELIVERED: the other world didn't take part in
 * time. Either way all goes on through the switch.
 */
int strait_link(struct strait_client *client,
                uint64_t peer,
                int timeout_ms);

/**
 * Ends the direct link to a world, if there is one. What was sent over it arrives; what is sent from now on goes through the
 * switch. Requests that went over it and have no answer yet end in a notice, STRAIT_REASON_UNLINKED.
 */
int strait_unlink(struct strait_client *client,
                  uint64_t peer);

/**
 * Whether there is a direct link to a world. False for NULL.
 */
bool strait_is_linked(const struct strait_client *client, uint64_t peer);

/**
 * Saves this world's state. On success it is durable: from then on strait_load() gives it, or a newer one, after whatever stops the world,
 * the broker or the machine. On failure what was saved before is still there. `*version`, which may be NULL, counts from 1.
 *
 * Takes `snapshots` in the world's configuration (else STRAIT_ERROR_REFUSED). Asks and waits as strait_request() does, so it ends the life
 * of the payload received last.
 */
int strait_save(struct strait_client *client,
                const void *state,
                size_t length,
                uint64_t *version);

/**
 * The newest state that was saved under this world's name and is whole. If none was ever saved its version is 0; if all
 * are damaged it is STRAIT_ERROR_REFUSED. Asks and waits as strait_request() does.
 */
int strait_load(struct strait_client *client,
                struct strait_state *state);

/**
 * Asks to be granted something, as `ask` in the configuration has it (`memory 2 GiB`), and waits until it is decided: for `timeout_ms`
 * milliseconds at most, -1 is 49 days. `reason` is for who decides to read, 512 bytes at most. `*grant`, which may be NULL, gets the
 * grant's number; 0 if none was needed. Ends the life of the payload received last.
 *
 * STRAIT_ERROR_DENIED: it was denied, or nobody decided in time. STRAIT_ERROR_REFUSED: this world may not even ask for it.
 */
int strait_ask_for(struct strait_client *client,
                   const char *resource,
                   const char *reason,
                   int timeout_ms,
                   uint64_t *grant);

/**
 * What a world asks for, if this record says so: 1, and `*asked` is filled. 0 if it is something else. Such records come to the world
 * with the role `control` alone, and nobody but the control service can send them. Answer with strait_decide(), before the record's time is
 * over.
 */
int strait_asked(const struct strait_record *record,
                 struct strait_question *asked);

/**
 * Decides what a record asked; a copy of the record will do. A grant is for `for_ms` milliseconds, or with -1 until it is revoked. `why`, which
 * may be NULL, is for the asker to read if it is denied. `decision` is an enum strait_decision. Waits for room if need be, see
 * strait_set_patience().
 */
int strait_decide(struct strait_client *client,
                  const struct strait_record *question,
                  int decision,
                  int for_ms,
                  const char *why);

/**
 * Fills `questions` with what worlds ask for and nobody has decided, in the order of their numbers, as far as `capacity` goes; it may be NULL if
 * that is 0. Returns how many there are. Takes `may = ["grant"]`, as the functions from here to strait_deny() do. Waits up to 10 seconds; ends
 * the life of the payload received last; so do those.
 */
int strait_requests(struct strait_client *client,
                    struct strait_question *questions,
                    size_t capacity);

/**
 * Fills `grants` with what is granted, likewise.
 */
int strait_grants(struct strait_client *client, struct strait_granted *grants, size_t capacity);

/**
 * Grants what is asked for under this number, for `for_ms` milliseconds, or with -1 until it is revoked. Returns when it is in force. `*granted`
 * may be NULL.
 */
int strait_grant(struct strait_client *client,
                 uint64_t number,
                 int32_t for_ms,
                 struct strait_granted *granted);

/**
 * Denies what is asked for under this number. `why`, for the asker to read, may be NULL.
 */
int strait_deny(struct strait_client *client, uint64_t number, const char *why);

/**
 * Takes a grant back; who has it may do so, too. When this returns, nothing goes through under it any more. Waits up to 10 seconds; ends the life of
 * the payload received last.
 */
int strait_revoke(struct strait_client *client,
                  uint64_t number);

/**
 * Connects to a place in the network, `example.com:443` or `[fd00::5]:5432`, as far as policy lets this world: by a line or a grant
 * (`network example.com:443`). Waits for `timeout_ms` milliseconds at most, -1 is two minutes. `*fd` gets a connected TCP socket, blocking, which is the
 * caller's to close(2). It ends with ECONNABORTED when the grant that it was made by does. Ends the life of the payload received last.
 *
 * STRAIT_ERROR_REFUSED: policy, no such name, nobody listens there, no answer in time; strait_last_error() says which.
 */
int strait_dial(struct strait_client *client,
                const char *place,
                int timeout_ms,
                int *fd);

/**
 * Opens a topic to publish on, if policy lets us: what is sent to this id, by strait_send() or as a draft, is published. It
 * stays open until strait_close_topic(), or strait_close(). Asked once for each name. Waits up to 10 seconds; ends the life of the payload received last.
 */
int strait_topic(struct strait_client *client,
                 const char *name,
                 uint64_t *id);

/**
 * Publishes a message: strait_topic() and then strait_send(), in one. Waits for room if need be, see strait_set_patience(). What is longer than
 * strait_max_payload() goes as a parcel, see strait_publish_parcel(). With `retain` it is kept as the topic's last value for those who
 * subscribe later; then an empty payload takes that back, and what is too long for a record is STRAIT_ERROR_TOO_LARGE. `*sequence` may be NULL.
 * May wait for an answer up to 10 seconds; ends the life of the payload received last.
 */
int strait_publish(struct strait_client *client,
                   const char *topic,
                   const void *payload,
                   size_t length,
                   bool retain,
                   uint64_t *sequence);

/**
 * Publishes a message with a sealed parcel, which stays ours too: all who get it read the same memory, and each is charged for it. Who holds as many
 * parcels as it may misses it, and is told how many it missed. Without a payload the parcel's bytes are the payload that it is received with.
 * `*sequence` may be NULL.
 */
int strait_publish_parcel(struct strait_client *client,
                          const char *topic,
                          const struct strait_parcel *parcel,
                          const void *payload,
                          size_t length,
                          uint64_t *sequence);

/**
 * Publishes no longer on a topic that strait_topic() or strait_publish() opened; what is kept there for us goes. One that isn't open is fine. Waits
 * up to 10 seconds; ends the life of the payload received last.
 */
int strait_close_topic(struct strait_client *client,
                       const char *name);

/**
 * Subscribes to all topics that a pattern covers, those that are there and those to come, if policy lets us: `sensors.*.temp`,
 * `logs.>`. `options` may be NULL. What is published from now on comes by strait_receive(); strait_published() says how. Waits
 * up to 10 seconds; ends the life of the payload received last. `*subscription`, its number, may be NULL.
 */
int strait_subscribe(struct strait_client *client,
                     const char *pattern,
                     const struct strait_subscribe_options *options,
                     uint32_t *subscription);

/**
 * Ends a subscription. What is on its way still arrives. Waits up to 10 seconds; ends the life of the payload received last.
 */
int strait_unsubscribe(struct strait_client *client,
                       uint32_t subscription);

/**
 * Whether somebody published this message on a topic; if so, `*published` says how it came. It may be NULL. False for NULL.
 */
bool strait_published(const struct strait_record *record,
                      struct strait_publication *published);

/**
 * Writes the name of a topic that something came by, with a NUL at its end: 129 bytes at most. Asked once for each topic. Waits
 * up to 10 seconds; ends the life of the payload received last. STRAIT_ERROR_TOO_LARGE if `capacity` bytes aren't enough.
 */
int strait_topic_name(struct strait_client *client,
                      uint64_t topic,
                      char *name,
                      size_t capacity);

/**
 * Starts a world from a template of the broker's configuration; takes `may = ["start TEMPLATE"]`. `name` may be NULL: then it is called
 * TEMPLATE/N. `*world`, which may be NULL, says what came of it. Asks the control service, as every function from here to strait_list()
 * does: waits up to 10 seconds, and ends the life of the payload received last.
 */
int strait_start(struct strait_client *client,
                 const char *template_name,
                 const char *name,
                 struct strait_world *world);

/**
 * Starts another world of the template that the one with this name is of.
 */
int strait_clone_world(struct strait_client *client, const char *name, struct strait_world *world);

/**
 * Starts a world that sleeps, whatever came of it before, and waits until its program runs. Nothing happens to one that runs.
 */
int strait_wake(struct strait_client *client,
                const char *name,
                struct strait_world *world);

/**
 * Has a new version of a world, from a template, take over its name, its id and what waits for it. The running one is told
 * (STRAIT_WANTED_UPGRADE) and has `deadline_ms` milliseconds to save its state and end. Returns when the new one's program runs.
 *
 * With `beside` the new version starts first, beside the running one and with an id of its own. When it is ready it gets what is sent to either,
 * and the old one has until the deadline to finish what it has. If it never is, the old one goes on. `reason` is for the world to read.
 */
int strait_upgrade(struct strait_client *client,
                   const char *name,
                   const char *template_name,
                   bool beside,
                   uint32_t deadline_ms,
                   const char *reason,
                   struct strait_world *world);

/**
 * Tells a world to end, and waits until it has ended, by itself or by force at the deadline. `reason` is for the world to read. `*ended` may be
 * NULL.
 */
int strait_stop(struct strait_client *client,
                const char *name,
                uint32_t deadline_ms,
                const char *reason,
                struct strait_ended *ended);

/**
 * Ends a world at once, without telling it, and waits until it is gone. `reason` is for those who wait for its end to read. `*ended` may be NULL.
 */
int strait_kill(struct strait_client *client,
                const char *name,
                const char *reason,
                struct strait_ended *ended);

/**
 * Waits until the world with this id is gone, for `timeout_ms` milliseconds at most; -1 is 49 days. `*ended` may be NULL.
 * STRAIT_ERROR_UNDELIVERED if the time is over.
 */
int strait_wait(struct strait_client *client,
                uint64_t id,
                int32_t timeout_ms,
                struct strait_ended *ended);

/**
 * Tells a world to save its state and go on, and waits until it is durable. `*version`, which may be NULL, is what was saved. `reason` is for
 * the world to read.
 */
int strait_snapshot(struct strait_client *client,
                    const char *name,
                    uint32_t deadline_ms,
                    const char *reason,
                    uint64_t *version);

/**
 * Fills `worlds` with what worlds there are, in the order of their ids, as far as `capacity` goes; `worlds` may be NULL if that is 0. Returns how
 * many there are.
 */
int strait_list(struct strait_client *client,
                struct strait_world_row *worlds,
                size_t capacity);

/**
 * Sees from now on what worlds send and are sent whose names are of a pattern: a name, or the beginning of names with a `*` at its end. Takes
 * `may = ["tap PATTERN"]`. With `payload` the beginning of payloads too, as far as the worlds' configuration lets them be shown. It comes by strait_receive(), many at a time:
 * strait_sights(). One tap at a time: this is in place of what was tapped before. Waits up to 10 seconds; ends the life of the payload
 * received last.
 */
int strait_tap(struct strait_client *client,
               const char *pattern,
               bool payload);

/**
 * Sees nothing of others any more. Waits up to 10 seconds; ends the life of the payload received last.
 */
int strait_untap(struct strait_client *client);

/**
 * Whether this record is of our tap: then strait_next_sight() gives what was seen. `*missed`, which may be NULL, is how many were seen since the
 * last such record and had no place. False for NULL.
 */
bool strait_sights(const struct strait_record *record,
                   uint64_t *missed);

/**
 * One after the other of what a tap saw: 1 if there was another one, 0 if not, or if the record isn't of our tap. `*place` must be 0 at first.
 * The payload of `*sight` lives as long as that of `*record`.
 */
int strait_next_sight(const struct strait_record *record,
                      size_t *place,
                      struct strait_sight *sight);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* STRAIT_H */
