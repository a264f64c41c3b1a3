/* Counts words in two threads. Static, and content with the strict profile. */
#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS 1024

struct part {
    const char *from, *to;
    struct {
        char word[32];
        int number;
    } counts[WORDS];
    int length;
};

static void add(struct part *part, const char *word, int number) {
    int at = 0;
    while (at < part->length && strcmp(part->counts[at].word, word) != 0) at++;
    if (at == part->length) {
        if (at == WORDS) abort();
        strcpy(part->counts[part->length++].word, word);
    }
    part->counts[at].number += number;
}

static void *count(void *argument) {
    struct part *part = argument;
    char word[32];
    size_t length = 0;
    for (const char *at = part->from; at <= part->to; at++) {
        if (at < part->to && isalnum((unsigned char)*at) && length < sizeof word - 1) {
            word[length++] = *at;
        } else if (length > 0) {
            word[length] = 0;
            add(part, word, 1);
            length = 0;
        }
    }
    return NULL;
}

int main(int arguments, char **argument) {
    static char text[1 << 20];
    static struct part parts[2];
    FILE *file = fopen("/data/words.txt", "r");
    if (arguments != 2 || file == NULL) return 1;
    size_t length = fread(text, 1, sizeof text, file);
    const char *middle = memchr(text + length / 2, '\n', length / 2);
    parts[0] = (struct part){.from = text, .to = middle};
    parts[1] = (struct part){.from = middle, .to = text + length};
    pthread_t threads[2];
    for (int at = 0; at < 2; at++)
        if (pthread_create(&threads[at], NULL, count, &parts[at]) != 0) return 2;
    for (int at = 0; at < 2; at++) pthread_join(threads[at], NULL);
    for (int at = 0; at < parts[1].length; at++) add(&parts[0], parts[1].counts[at].word, parts[1].counts[at].number);
    FILE *out = fopen(argument[1], "w");
    if (out == NULL) return 3;
    for (int shown = 0; shown < 3; shown++) {
        int best = 0;
        for (int at = 1; at < parts[0].length; at++) {
            int more = parts[0].counts[at].number - parts[0].counts[best].number;
            if (more > 0 || (more == 0 && strcmp(parts[0].counts[at].word, parts[0].counts[best].word) < 0)) best = at;
        }
        fprintf(out, "%d %s\n", parts[0].counts[best].number, parts[0].counts[best].word);
        parts[0].counts[best].number = 0;
    }
    return fclose(out);
}
