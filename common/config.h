/*
 * config.h: the slice of the configuration that a daemon gets from the supervisor.
 *
 * The supervisor reads /etc/aldis/aldis.conf against option.def and hands each daemon what
 * option.def says that it may see, in a sealed memfd of lines
 * "section<TAB>title<TAB>option<TAB>value". Values were checked there; lists are several lines. A
 * daemon's slice is complete: options that the file does not name are there with their defaults.
 * For title-less sections the title is empty. Files that an option names (certificates, keys) are
 * in the slice by content: the option "certificate" of a domain holds base64 of the PEM file.
 */
#ifndef ALDIS_CONFIG_H
#define ALDIS_CONFIG_H

#include "slice.h"

struct config;

/* text is copied. Returns 0 or E_MALFORMED. */
int config_read(struct slice text, struct config **config);
void config_free(struct config **config); /* leaves nothing of it in memory */

/* The value of an option; the process panics when it is not in the slice: option.def and the code
 * disagree. title: "" for sections without one. */
struct slice config_text(const struct config *config, const char *section, const char *title,
    const char *option);
uint64_t config_number(const struct config *config, const char *section, const char *title,
    const char *option);
bool config_flag(const struct config *config, const char *section, const char *title,
    const char *option);
/* Values of a list: the i-th, false when there is none. */
bool config_list(const struct config *config, const char *section, const char *title,
    const char *option, size_t i, struct slice *value);
/* Titles of a section, such as the domains: the i-th, false when there is none. */
bool config_title(const struct config *config, const char *section, size_t i, struct slice *title);

#endif
