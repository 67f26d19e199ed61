# build.mk: from C files to programs and unit tests. The Makefile includes it.

ifdef FUZZ
B ?= build-fuzz
CC := clang
else ifdef SANITIZE
B ?= build-asan
else
B ?= build
endif
WERROR ?= -Werror

# What the code relies on, in addition to CFLAGS of the configuration.
override CFLAGS += -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Wformat=2 -Wshadow -Wvla -Wconversion $(WERROR)
override CFLAGS += -fno-strict-aliasing -fstack-protector-strong -fPIE
override LDFLAGS += -pie -Wl,-z,relro,-z,now -Wl,--as-needed
ifdef FUZZ
# libFuzzer's coverage, and its main() where a target is linked (fuzz.mk).
override CPPFLAGS += -DALDIS_TEST
override CFLAGS += -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
override LDFLAGS += -fsanitize=address,undefined
else ifdef SANITIZE
override CPPFLAGS += -DALDIS_TEST
# The checks that the sanitizers add make gcc see array bounds that are not there.
override CFLAGS += -Wno-array-bounds -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
override LDFLAGS += -fsanitize=address,undefined
else
# With what the environment of a package build says already, once.
override CFLAGS += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
endif
override CPPFLAGS += -DALDIS_VERSION='"$(VERSION)"' -DALDIS_SYSCONFDIR='"$(sysconfdir)"' \
	-DALDIS_LIBEXECDIR='"$(libexecdir)/aldis"' -DALDIS_LOCALSTATEDIR='"$(localstatedir)"'
DEP_CFLAGS := $(sort $(COMMON_CFLAGS) $(XML_CFLAGS) $(CONFUSE_CFLAGS) $(SQLITE_CFLAGS) $(CURL_CFLAGS))

# -- sources ------------------------------------------------------------------------------------

# Directories of programs. Those below router/ have their names, the daemons aldis-NAME.
DIRS := router router/aldisd router/aldisctl authd archived c2sd s2sd mucd
MAINS := $(DIRS:%=%/main.c)
TOOLS := $(filter router/%/main.c,$(MAINS))
DAEMONS := $(filter-out $(TOOLS),$(MAINS))
XML_SRC := $(wildcard common/xml.c common/xml_*.c)
COMMON_SRC := $(filter-out $(XML_SRC),$(wildcard common/*.c))
# What the entry daemons share, their listeners and streams of bytes: common/entry/.
ENTRY_DAEMONS := c2sd s2sd
ENTRY_SRC := $(wildcard common/entry/*.c)
LIB_SRC = $(filter-out $(MAINS),$(wildcard $1/*.c))
objects = $(patsubst %.c,$B/%.o,$1)
# Archives and directories of headers by the words of "Links:" lines: an entry daemon has entry, too.
with_entry = $(sort $1 $(if $(filter $(ENTRY_DAEMONS),$1),entry))
lib = $(patsubst %,$B/lib%.a,$1)
headers = $(patsubst entry,common/entry,$1)

LIBALDIS := $B/libaldis.a
LIBXML := $B/libaldisxml.a
PROGRAMS := $(TOOLS:router/%/main.c=$B/bin/%) $(DAEMONS:%/main.c=$B/bin/aldis-%)

all: $(PROGRAMS)

# -- compiling ----------------------------------------------------------------------------------

# Flags other than those of the last build make everything again.
FLAGS := $(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS)
ifneq ($(shell cat $B/flags 2>/dev/null),$(FLAGS))
$(shell mkdir -p $B && rm -f $B/flags)
endif
$B/flags:
	@mkdir -p $B
	$(file >$@,$(FLAGS))

$B/%.o: %.c $B/flags
	@mkdir -p $(@D)
	@echo "  CC    $(if $(SANITIZE),[asan] )$<"
	@$(CC) $(CPPFLAGS) -Icommon -I$(<D) \
		$(addprefix -I,$(call headers,$(filter entry,$(call with_entry,$(<D))))) \
		$(DEP_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# $(call archive,file,sources): an archive made anew, so that a deleted file leaves it.
define archive
$1: $(call objects,$2)
	@mkdir -p $$(@D)
	@rm -f $$@
	@$$(AR) rcs $$@ $$^
-include $(patsubst %.o,%.d,$(call objects,$2))
endef
$(eval $(call archive,$(LIBALDIS),$(COMMON_SRC)))
$(eval $(call archive,$(LIBXML),$(XML_SRC)))
$(eval $(call archive,$(call lib,entry),$(ENTRY_SRC)))
$(foreach d,$(DIRS),$(eval $(call archive,$B/lib$d.a,$(call LIB_SRC,$d))))
-include $(patsubst %.o,%.d,$(call objects,$(MAINS)))

# -- linking ------------------------------------------------------------------------------------

# Archives may need each other.
GROUP = -Wl,--start-group $^ -Wl,--end-group

# $(call program,program,main file,libraries of its own)
define program
$1: $(call objects,$2) $(call lib,$(call with_entry,$(patsubst %/,%,$(dir $2)))) $(LIBXML) $(LIBALDIS)
	@mkdir -p $$(@D)
	@echo "  LINK  $$@"
	@$$(CC) $$(CFLAGS) $$(LDFLAGS) -o $$@ $$(GROUP) $3 $$(COMMON_LIBS)
endef
$(foreach m,$(TOOLS),$(eval \
	$(call program,$(m:router/%/main.c=$B/bin/%),$m,$(CONFUSE_LIBS) $(if $(filter %/aldisctl/main.c,$m),$(XML_LIBS)))))
$(foreach m,$(DAEMONS),$(eval \
	$(call program,$(m:%/main.c=$B/bin/aldis-%),$m,$(if $(filter $(ENTRY_DAEMONS:%=%/%),$m),$(XML_LIBS)) \
	$(if $(filter s2sd/%,$m),$(UNBOUND_LIBS) $(CURL_LIBS)) $(if $(filter archived/%,$m),$(SQLITE_LIBS)))))

# -- unit tests ---------------------------------------------------------------------------------

# tests/unit/test_NOUN.c is a program. It is linked with common/ and with the archive of each daemon
# that it names in a comment line " * Links: authd", or of those with a file NOUN.c if it names none.
# A word that ends in .c is that one file instead, entry is common/entry/.
UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT := $(UNIT_SRC:tests/unit/%.c=$B/unit/%)
noun = $(patsubst tests/unit/test_%.c,%,$1)
named = $(shell sed -n 's/^ \* Links: *//p' $1)
by_noun = $(patsubst %/,%,$(dir $(wildcard $(foreach d,$(DIRS),$d/$(call noun,$1).c))))

# $(call unit,source,words)
define unit
$B/$(1:.c=.o): override CPPFLAGS += $(addprefix -I,$(sort $(patsubst %/,%,$(dir $(filter %.c,$2))) \
	$(call headers,$(filter-out %.c,$2)))) $$(CMOCKA_CFLAGS)
$(1:tests/unit/%.c=$B/unit/%): $B/$(1:.c=.o) $(call objects,$(filter %.c,$2)) \
		$(call lib,$(filter-out %.c,$2)) $(LIBXML) $(LIBALDIS)
	@mkdir -p $$(@D)
	@echo "  LINK  $$@"
	@$$(CC) $$(CFLAGS) $$(LDFLAGS) -o $$@ $$(GROUP) $$(XML_LIBS) $$(CONFUSE_LIBS) \
		$$(UNBOUND_LIBS) $$(CURL_LIBS) $$(SQLITE_LIBS) $$(COMMON_LIBS) $$(CMOCKA_LIBS)
endef
$(foreach t,$(UNIT_SRC),$(eval \
	$(call unit,$t,$(call with_entry,$(or $(call named,$t),$(call by_noun,$t))))))
-include $(patsubst %.c,$B/%.d,$(UNIT_SRC))

.PHONY: unit unit-build
unit-build: $(UNIT)
unit: $(UNIT)
	@tests/unit/run $(UNIT)
