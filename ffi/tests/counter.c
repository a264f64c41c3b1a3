/* A world that counts the requests it gets, and goes on counting in its next life. */
#include <stdio.h>
#include <string.h>
#include <strait.h>

static int fail(const char *what)
{
    fprintf(stderr, "counter: %s: %s\n", what, strait_last_error());
    return 1;
}

int main(void)
{
    strait_client *client;
    strait_state state;
    strait_record record;
    uint64_t count = 0, version = 0;

    if (strait_open(&client) < 0)
        return fail("strait_open");
    if (strait_load(client, &state) < 0)
        return fail("strait_load");
    if (state.version > 0 && state.length == sizeof count)
        memcpy(&count, state.bytes, sizeof count);
    while (strait_receive(client, -1, &record) > 0) {
        strait_wanted wanted = strait_control_notice(&record);
        if (record.kind != STRAIT_KIND_REQUEST)
            continue;
        if (wanted == STRAIT_WANTED_NOTHING) {
            count++;
            if (strait_reply(client, &record, 0, &count, sizeof count) < 0)
                return fail("strait_reply");
            continue;
        }
        if (strait_save(client, &count, sizeof count, &version) < 0)
            return fail("strait_save");
        if (strait_reply(client, &record, 0, &version, sizeof version) < 0)
            return fail("strait_reply");
        if (wanted != STRAIT_WANTED_SNAPSHOT)
            break;
    }
    strait_close(client);
    return 0;
}
