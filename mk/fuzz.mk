# fuzz.mk: the fuzz targets, tests/fuzz/. The Makefile includes it. They are built by clang with the
# product's files compiled anew for them, into build-fuzz/: "make FUZZ=1 fuzz-build", see build.mk.

# Seconds that each target runs: make fuzz, make fuzz-short; nouns of the targets to run, all: none.
FUZZ_TIME ?= 60
FUZZ_TIME_SHORT ?= 4
FUZZ_ARGS ?=

.PHONY: fuzz fuzz-short fuzz-build
ifdef FUZZ

FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZERS := $(FUZZ_SRC:tests/fuzz/%.c=$B/fuzz/%)

# $(call fuzzer,source,daemons that its "Links:" line names). A target stands before the archives: what
# it plays itself goes before what they have.
define fuzzer
$B/$(1:.c=.o): override CPPFLAGS += -Itests/fuzz $(addprefix -I,$(call headers,$2))
$(1:tests/fuzz/%.c=$B/fuzz/%): $B/$(1:.c=.o) $(call lib,$2) $(LIBXML) $(LIBALDIS)
	@mkdir -p $$(@D)
	@echo "  LINK  $$@"
	@$$(CC) $$(CFLAGS) $$(LDFLAGS) -fsanitize=fuzzer -Wl,--wrap=log_line -Wl,-z,muldefs -o $$@ $$(GROUP) \
		$$(XML_LIBS) $$(CONFUSE_LIBS) $$(UNBOUND_LIBS) $$(CURL_LIBS) $$(SQLITE_LIBS) $$(COMMON_LIBS)
endef
$(foreach t,$(FUZZ_SRC),$(eval $(call fuzzer,$t,$(call with_entry,$(call named,$t)))))
-include $(patsubst %.c,$B/%.d,$(FUZZ_SRC))

fuzz-build: $(FUZZERS)

else

fuzz-build:
	@command -v clang >/dev/null || \
		{ echo "clang is missing: \"make test-deps\" installs it" >&2; exit 1; }
	@$(MAKE) --no-print-directory FUZZ=1 fuzz-build

# The corpus grows in build-fuzz/corpus/.
fuzz: fuzz-build
	@tests/fuzz/run --grow --seconds $(FUZZ_TIME) $(FUZZ_ARGS)

# What is kept in tests/fuzz/corpus/, and a little more.
fuzz-short: fuzz-build
	@tests/fuzz/run --seconds $(FUZZ_TIME_SHORT) $(FUZZ_ARGS)

endif
