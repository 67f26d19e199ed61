# Makefile: builds, tests and installs the Aldis suite. GNU make; "make help" lists the goals.
#
# Each directory of C files becomes an archive, each file with a main() a program linked with the
# archive of its directory and those of common/. A new file is compiled because it is there.

all:

# These goals work before anything is configured.
PLAIN_GOALS := help deps test-deps run check clean distclean dist doap deb configure
ifneq ($(filter-out $(PLAIN_GOALS),$(or $(MAKECMDGOALS),all)),)
include config.mk
include mk/build.mk
include mk/fuzz.mk
include mk/install.mk
-include $(wildcard tests/bench/bench.mk tests/storm/storm.mk)
endif

# -- configuration ------------------------------------------------------------------------------

configure: configure.ac
	autoconf -f
	@rm -rf autom4te.cache configure~

config.mk: config.mk.in configure
	@if test -x config.status; then ./config.status --recheck && ./config.status; \
	else ./configure; fi

# -- dependencies, from debian/control ----------------------------------------------------------

.PHONY: doap all deps test-deps run check bench storm clean distclean dist deb help
deps:
	@tests/tools/deps
test-deps:
	@tests/tools/deps --tests

# -- running and testing ------------------------------------------------------------------------

# A development instance in RUN: make run [RUN=dir] [PORT=base]
RUN ?= run
PORT ?= 5222
run: deps
	@$(MAKE) --no-print-directory all
	@exec tests/tools/run "$(RUN)" "$(PORT)"

check: test-deps
	@exec tests/check

# -- packing and cleaning -----------------------------------------------------------------------

dist:
	@tests/tools/dist

doap:
	@tests/tools/doap

deb:
	@tests/tools/deps --tests --package
	dpkg-buildpackage -b -us -uc

clean:
	rm -rf build build-asan build-clang build-fuzz

distclean: clean
	rm -rf configure configure~ config.mk config.log config.status autom4te.cache

help:
	@sed -n 's/^#: //p' Makefile

#: make              build into build/
#: make SANITIZE=1   build into build-asan/, with address and undefined behaviour sanitizers
#: make install      install; DESTDIR, PREFIX
#: make run          run a development instance in ./run; RUN=dir, PORT=base
#: make check        all tests
#: make unit         the unit tests alone
#: make fuzz         fuzz targets, FUZZ_TIME seconds each; FUZZ_ARGS
#: make bench        compare with other servers; BENCH_ARGS
#: make bench-growth   how costs grow with connections, rooms, rosters, archives; GROWTH_ARGS
#: make bench-handshake  what a TLS handshake costs with keys in authd; HANDSHAKE_ARGS
#: make bench-archive    what messages and pages of large archives take; ARCHIVE_ARGS
#: make storm        kill processes under chatting clients, for long; STORM_ARGS
#: make deps         install what the build needs; make test-deps: and what the tests need
#: make doap         write aldis.doap from the table of specifications in README.md
#: make dist         a source archive;  make deb: a Debian package
#: make clean        remove what was built;  make distclean: and what was configured
