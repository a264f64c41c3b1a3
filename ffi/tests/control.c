/*
 * Two worlds of one program, told apart by their argument. The commander starts, watches, replaces and ends worlds, which count (counter.c), and
 * decides what the asker asks for. Both end with 0 if all was as it should be.
 */
#include <strait.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LONG = 20000 };

static int failed(const char *what)
{
    fprintf(stderr, "control: %s (%s)\n", what, strait_last_error());
    return EXIT_FAILURE;
}

/* Asks a counter for its number. 0 if it doesn't answer. */
static uint64_t count(strait_client *client, uint64_t counter)
{
    strait_record reply;
    uint64_t number = 0;

    if (strait_request(client, counter, "?", 1, LONG, &reply) >= 0 && reply.length == sizeof number)
        memcpy(&number, reply.payload, sizeof number);
    return number;
}

/* How many worlds there are of this name. */
static int listed(strait_client *client, const char *name)
{
    strait_world_row rows[16];
    int all = strait_list(client, rows, 16), found = 0, row;

    if (all < 0 || all > 16 || strait_list(client, NULL, 0) != all || strait_list(client, NULL, 1) != STRAIT_ERROR_NULL)
        return -1;
    for (row = 0; row < all; row++)
        found += !strcmp(rows[row].name, name) && rows[row].pid > 0 && rows[row].state[0];
    return found;
}

static int begin_and_end(strait_client *client)
{
    strait_world one, two, sleeper;
    strait_ended ended;
    uint64_t version;

    if (strait_start(client, "nothing", NULL, NULL) != STRAIT_ERROR_REFUSED)
        return failed("a template that isn't there");
    if (strait_start(client, "child", "one", &one) < 0 || strcmp(one.name, "one") || count(client, one.id) != 1)
        return failed("starting");
    if (strait_clone_world(client, "one", &two) < 0 || strncmp(two.name, "child/", 6) || two.id == one.id)
        return failed("cloning");
    if (listed(client, "one") != 1 || listed(client, two.name) != 1 || listed(client, "three") != 0)
        return failed("listing");
    if (strait_wait(client, two.id, 1, &ended) != STRAIT_ERROR_UNDELIVERED)
        return failed("waiting for what goes on");
    if (strait_kill(client, two.name, "enough", &ended) < 0 || ended.id != two.id || ended.acknowledged || ended.signal != 9)
        return failed("killing");
    if (strait_wake(client, "sleeper", &sleeper) < 0 || count(client, sleeper.id) != 1)
        return failed("waking");
    if (strait_snapshot(client, "one", LONG, "keep it", &version) < 0 || version != 1 || count(client, one.id) != 2)
        return failed("saving");
    if (strait_upgrade(client, "one", "child-2", false, LONG, "new", &two) < 0 || two.id != one.id || count(client, one.id) != 3)
        return failed("replacing");
    if (strait_upgrade(client, "one", "child", true, LONG, "newer", &two) < 0 || two.id == one.id || count(client, two.id) == 0)
        return failed("replacing while it runs");
    if (strait_stop(client, "one", LONG, "done", &ended) < 0 || ended.id != two.id || !ended.acknowledged || ended.code != 0 || ended.saved == 0)
        return failed("stopping");
    return EXIT_SUCCESS;
}

/* Whether a tap shows our question and its payload. */
static int sees(strait_client *client, uint64_t of)
{
    strait_record record;
    strait_sight sight;
    uint64_t missed;
    size_t place;
    int found = 0;

    while (!found && strait_receive(client, LONG, &record) == 1) {
        if (!strait_sights(&record, &missed))
            continue;
        for (place = 0; strait_next_sight(&record, &place, &sight) == 1;)
            found |= sight.record.source == strait_id(client) && sight.record.destination == of && sight.fate == STRAIT_FATE_DELIVERED
                     && sight.record.kind == STRAIT_KIND_REQUEST && sight.shown == 1 && sight.record.payload[0] == '?';
        if (missed != 0 || place != record.length)
            return 0;
    }
    return found;
}

static int watch(strait_client *client)
{
    strait_record none = {0};
    strait_world child;
    strait_sight sight;
    size_t place = 0;

    if (strait_sights(&none, NULL) || strait_next_sight(&none, &place, &sight) != 0)
        return failed("seeing what isn't there");
    if (strait_start(client, "child", "seen", &child) < 0 || strait_tap(client, "seen", true) < 0)
        return failed("tapping");
    if (count(client, child.id) != 1 || !sees(client, child.id))
        return failed("nothing is seen");
    return strait_untap(client) < 0 || strait_kill(client, "seen", "", NULL) < 0 ? failed("untapping") : EXIT_SUCCESS;
}

/* Waits for the only question there is. */
static int question(strait_client *client, strait_question *asked, const char *resource)
{
    int questions;

    while ((questions = strait_requests(client, asked, 1)) == 0)
        ;
    return questions == 1 && !strcmp(asked->name, "asker") && !strcmp(asked->resource, resource);
}

static int heard(strait_client *client, const char *text)
{
    strait_record record;

    return strait_receive(client, LONG, &record) == 1 && record.length == strlen(text) && !memcmp(record.payload, text, record.length);
}

static int decide(strait_client *client)
{
    strait_question asked;
    strait_granted grant, again;

    if (!question(client, &asked, "send commander") || strcmp(asked.reason, "to talk"))
        return failed("no question");
    if (strait_grant(client, asked.number, -1, &grant) < 0 || grant.id != asked.id || grant.left_ms != -1)
        return failed("granting");
    if (!heard(client, "granted"))
        return failed("the asker can't talk");
    if (!question(client, &asked, "send nobody") || strait_deny(client, asked.number, "there is nobody") < 0 || !heard(client, "denied"))
        return failed("denying");
    if (strait_grants(client, &again, 1) != 1 || again.number != grant.number || strcmp(again.resource, "send commander"))
        return failed("what is granted");
    if (strait_revoke(client, grant.number) < 0 || strait_revoke(client, grant.number) != STRAIT_ERROR_REFUSED)
        return failed("revoking");
    if (strait_grants(client, NULL, 0) != 0 || strait_grant(client, 999, 1, NULL) != STRAIT_ERROR_REFUSED)
        return failed("granting what nobody asked");
    return strait_send(client, asked.id, "over", 4, LONG, NULL) < 0 ? failed("saying so") : EXIT_SUCCESS;
}

/* Connects to a server that says what it is told. */
static int dial(strait_client *client, const char *place)
{
    char answer[5];
    int fd;

    if (strait_dial(client, "127.0.0.1:1", LONG, &fd) != STRAIT_ERROR_REFUSED || !strstr(strait_last_error(), "network = "))
        return failed("dialling where it may not");
    if (strait_dial(client, place, LONG, &fd) < 0)
        return failed("dialling");
    if (write(fd, "hello", 5) != 5 || recv(fd, answer, 5, MSG_WAITALL) != 5 || memcmp(answer, "hello", 5))
        return failed("talking to the server");
    return close(fd);
}

static int ask(strait_client *client)
{
    strait_record record;
    uint64_t commander;

    if (strait_ask_for(client, "send commander", "to talk", LONG, NULL) < 0 || strait_resolve(client, "commander", &commander) < 0)
        return failed("nothing is granted");
    if (strait_send(client, commander, "granted", 7, -1, NULL) < 0)
        return failed("talking");
    if (strait_ask_for(client, "send nobody", "", LONG, NULL) != STRAIT_ERROR_DENIED || !strstr(strait_last_error(), "there is nobody"))
        return failed("not denied");
    if (strait_send(client, commander, "denied", 6, -1, NULL) < 0)
        return failed("talking on");
    if (strait_drain(client, LONG) != 1)
        return failed("draining");
    /* What is granted ends with the world, and is to be revoked before. */
    do {
        if (strait_receive(client, LONG, &record) != 1)
            return failed("nobody says that it is over");
    } while (record.length != 4 || memcmp(record.payload, "over", 4));
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    strait_client *client;
    int status;

    if (strait_open(&client) < 0)
        return failed("no connection");
    if (argc == 3 && !strcmp(argv[1], "ask"))
        status = dial(client, argv[2]) || ask(client);
    else
        status = begin_and_end(client) || watch(client) || decide(client);
    strait_close(client);
    return status;
}
