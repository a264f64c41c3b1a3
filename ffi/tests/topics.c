/*
 * Two worlds of one program, told apart by their argument. The talker publishes, once for keeps; the listener, which asks for what was
 * kept, says what it heard. Both end with 0 if all was as it should be.
 */
#include <strait.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONG = 20000, LAST = 100, FRAME = 200000 };

static unsigned char frame[FRAME];

static int failed(const char *what)
{
    fprintf(stderr, "topics: %s (%s)\n", what, strait_last_error());
    return EXIT_FAILURE;
}

/* Waits for a request, and answers it: whoever asks may rely on what was done before. */
static int await(strait_client *client)
{
    strait_record record;

    if (strait_receive(client, LONG, &record) != 1 || record.kind != STRAIT_KIND_REQUEST)
        return failed("nobody asks");
    return strait_reply(client, &record, 0, NULL, 0) < 0 ? failed("no answer") : 0;
}

static void fill(void)
{
    size_t at;

    for (at = 0; at < FRAME; at++)
        frame[at] = (unsigned char)(at * 31 + at / 251);
}

/* What is too long for a record: as bytes, and as a parcel with a payload of its own. */
static int show(strait_client *client)
{
    strait_parcel *parcel;
    int result;

    fill();
    if (strait_publish(client, "live.c", frame, FRAME, true, NULL) != STRAIT_ERROR_TOO_LARGE)
        return failed("keeping what is too long");
    if (strait_publish(client, "live.c", frame, FRAME, false, NULL) < 0 || strait_parcel_new(client, FRAME, &parcel) < 0)
        return failed("publishing what is long");
    memcpy(strait_parcel_memory(parcel), frame, FRAME);
    if (strait_publish_parcel(client, "live.c", parcel, "p", 1, NULL) != STRAIT_ERROR_PARCEL)
        return failed("publishing what isn't sealed");
    result = strait_parcel_seal(parcel) < 0 ? -1 : strait_publish_parcel(client, "live.c", parcel, "p", 1, NULL);
    strait_parcel_free(parcel);
    return result < 0 ? failed("publishing a parcel") : 0;
}

static int talk(strait_client *client)
{
    uint64_t topic, again;
    unsigned char number;

    if (strait_publish(client, "kept.c", "last", 4, true, NULL) < 0 || strait_topic(client, "live.c", &topic) < 0)
        return failed("publishing");
    if (strait_topic(client, "live..c", &topic) != STRAIT_ERROR_REFUSED || strait_topic(client, "other", &topic) != STRAIT_ERROR_REFUSED)
        return failed("a topic that can't be");
    if (strait_topic(client, "live.c", &topic) < 0 || await(client))
        return failed("the listener isn't there");
    for (number = 0; number <= LAST; number++)
        if (strait_send(client, topic, &number, 1, -1, NULL) < 0)
            return failed("sending to a topic");
    if (show(client) || strait_drain(client, LONG) != 1)
        return failed("draining");
    if (strait_close_topic(client, "live.c") < 0 || strait_close_topic(client, "live.c") < 0)
        return failed("closing");
    /* Opened again it is another one: nothing is published by the id of what is closed. */
    return strait_topic(client, "live.c", &again) < 0 || again == topic ? failed("opening again") : EXIT_SUCCESS;
}

static int hear(strait_client *client, const char *name, strait_record *record, uint32_t subscription, bool is_retained)
{
    strait_publication how;
    char text[129];
    char payload[8] = "";

    if (strait_receive(client, LONG, record) != 1 || !strait_published(record, &how) || record->length > sizeof payload)
        return failed("nothing was heard");
    memcpy(payload, record->payload, record->length);
    record->tag = (unsigned char)payload[0];
    if (how.subscription != subscription || how.missed != 0 || how.is_retained != is_retained)
        return failed("it came otherwise");
    if (strait_topic_name(client, how.topic, text, 3) != STRAIT_ERROR_TOO_LARGE)
        return failed("a name without room");
    if (strait_topic_name(client, how.topic, text, sizeof text) < 0 || strcmp(text, name))
        return failed("another topic");
    return 0;
}

static int look(strait_client *client)
{
    strait_record record;
    strait_parcel *parcel;
    size_t length;
    int is_whole;

    fill();
    if (strait_receive(client, LONG, &record) != 1 || record.length != FRAME || memcmp(record.payload, frame, FRAME))
        return failed("what is long came otherwise");
    if (strait_receive(client, LONG, &record) != 1 || record.length != 1 || strait_parcel_take(client, &parcel) != 1)
        return failed("no parcel came");
    is_whole = !memcmp(strait_parcel_bytes(parcel, &length), frame, FRAME) && length == FRAME;
    strait_parcel_free(parcel);
    return is_whole ? EXIT_SUCCESS : failed("another parcel came");
}

static int listen(strait_client *client)
{
    strait_subscribe_options kept = {0};
    strait_record record;
    uint32_t subscription;
    uint64_t talker;
    unsigned number;

    kept.retained = true;
    if (strait_subscribe(client, "kept.*", &kept, &subscription) < 0)
        return failed("subscribing");
    if (hear(client, "kept.c", &record, subscription, true) || record.length != 4)
        return EXIT_FAILURE;
    if (strait_unsubscribe(client, subscription) < 0 || strait_unsubscribe(client, subscription) != STRAIT_ERROR_REFUSED)
        return failed("unsubscribing");
    if (strait_subscribe(client, "live.>", NULL, &subscription) < 0 || strait_resolve(client, "talker", &talker) < 0)
        return failed("subscribing to what lives");
    if (strait_request(client, talker, NULL, 0, LONG, &record) < 0 || strait_published(&record, NULL))
        return failed("the talker doesn't answer");
    for (number = 0; number <= LAST; number++)
        if (hear(client, "live.c", &record, subscription, false) || record.tag != number)
            return failed("not in order");
    return look(client);
}

int main(int argc, char **argv)
{
    strait_client *client;
    int status;

    if (strait_open(&client) < 0)
        return failed("no connection");
    status = argc == 2 && !strcmp(argv[1], "talk") ? talk(client) : listen(client);
    strait_close(client);
    return status;
}
