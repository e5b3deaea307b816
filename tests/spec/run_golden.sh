#!/usr/bin/env bash
# Golden specs. NAME.xml with NAME.expand is a good spec: `trim check --no-data` accepts it (what it says on
# stderr is in NAME.notes, if anything), `trim expand` prints NAME.expand, and expanding that again
# changes nothing. NAME.xml with NAME.err is a bad one: its stderr and exit code. A spec that is too
# large to keep is made here. trim.xsd must agree with all of them where a schema can: xsd-accepts.txt
# lists the bad specs that only `trim check` refuses.
# BLESS=1 rewrites the expected files (a new spec is good if `trim check` accepts it) and trim.xsd.
set -u
cd "$(dirname "$0")" || exit 1
TRIM=${TRIM:-$PWD/../../.build/trim}
TMP=${TMP:-$(mktemp -d)}
xsd=../../specs/trim.xsd
for v in $(compgen -e TRIM_ | grep -v '^TRIM_TEST_DATA$'); do unset "$v"; done
unset CLICOLOR_FORCE
export HOME=$TMP XDG_CONFIG_HOME=$TMP
export TRIM_ROOT_MODELS=files/models

ok() { echo "ok spec/$1"; }
bad() { echo "FAIL spec/$1: $2"; }
same() { # NAME EXPECTED GOT
	if [ -n "${BLESS:-}" ]; then cp "$3" "$2"; fi
	if diff -u "$2" "$3" >"$TMP/diff" 2>&1; then ok "$1"; else cat "$TMP/diff"; bad "$1" "differs from $2"; fi
}

for x in *.xml; do
	n=${x%.xml}
	"$TRIM" check --no-data "$x" >"$TMP/out" 2>"$TMP/err"; rc=$?
	if [ -n "${BLESS:-}" ] && [ ! -e "$n.expand" ] && [ ! -e "$n.err" ]; then
		if [ "$rc" -eq 0 ]; then touch "$n.expand"; else touch "$n.err"; fi
	fi
	if [ -e "$n.expand" ]; then
		if [ "$rc" -ne 0 ]; then cat "$TMP/err"; bad "$n" "exit $rc"; continue; fi
		if [ -s "$TMP/err" ] || [ -e "$n.notes" ]; then same "$n.notes" "$n.notes" "$TMP/err"; fi
		"$TRIM" expand "$x" >"$TMP/expand" 2>&1
		same "$n.expand" "$n.expand" "$TMP/expand"
		# Beside the spec, because paths in it are relative.
		cp "$TMP/expand" ".again-$$.xml"
		"$TRIM" expand ".again-$$.xml" >"$TMP/again" 2>&1; rm -f ".again-$$.xml"
		if cmp -s "$TMP/expand" "$TMP/again"; then ok "$n.expand.again"; else bad "$n.expand.again" "expanding twice differs"; fi
	elif [ -e "$n.err" ]; then
		echo "exit $rc" >>"$TMP/err"
		same "$n.err" "$n.err" "$TMP/err"
		case $rc in 2|36) ;; *) bad "$n.exit" "exit $rc";; esac
	else
		bad "$n" "neither $n.expand nor $n.err (BLESS=1 writes one)"
	fi
done

# The normal form does not see order, comments, prefixes and white space between elements.
if cmp -s order.expand order-same.expand; then ok normal-form; else bad normal-form "order-same differs from order"; fi

# Too large, too deep or too odd to keep: made here, refused in one line.
refuse() { # NAME EXIT PATTERN
	(cd "$TMP" && timeout 20 "$TRIM" check "$1.xml" >out 2>err); local rc=$?
	if [ "$rc" -eq "$2" ] && grep -q -- "$3" "$TMP/err"; then ok "$1"; else head -c 2000 "$TMP/err"; bad "$1" "exit $rc, expected $2 and '$3'"; fi
}
head='<trim xmlns="urn:trim:spec:1" xmlns:xi="http://www.w3.org/2001/XInclude" name="x">'
zeros() { head -c "$1" /dev/zero | tr '\0' "$2"; }
touch "$TMP/.trim-root"
{ printf '%s<model path="' "$head"; zeros 10000000 a; printf '"/></trim>'; } >"$TMP/attribute-10MB.xml"
refuse attribute-10MB 2 "'attribute-10MB.xml' is larger than 4 MiB"
{ printf '%s<model path="' "$head"; zeros 3000000 a; printf '"/></trim>'; } >"$TMP/attribute-3MB.xml"
refuse attribute-3MB 2 "attribute-3MB.xml:1:"
{ printf '%s' "$head"; for i in $(seq 300); do printf '<target>'; done; } >"$TMP/deep.xml"
refuse deep 2 'elements are nested deeper than 64'
{ printf '%s' "$head"; for i in $(seq 20000); do printf '<x/>'; done; printf '</trim>'; } >"$TMP/wide.xml"
refuse wide 2 'more than 10000 elements'
{ printf '%s\n' "$head"; for i in $(seq 5000); do printf '<target name="t%d" hardware="h%d" schedule="s"/>\n' "$i" "$i"; done; printf '</trim>'; } >"$TMP/many-errors.xml"
refuse many-errors 2 'more messages'
for i in $(seq 40); do printf '<target xmlns="urn:trim:spec:1" xmlns:xi="http://www.w3.org/2001/XInclude" name="t" hardware="native"><xi:include href="c%d.xml"/></target>' $((i + 1)) >"$TMP/c$i.xml"; done
printf '%s<xi:include href="c1.xml"/></trim>' "$head" >"$TMP/chain.xml"
refuse chain 2 'c16.xml:1:.*includes are nested deeper than 16'
printf '<hardware xmlns="urn:trim:spec:1" name="h" cpu="zen4"/>' >"$TMP/leaf.xml"
{ printf '%s' "$head"; for i in $(seq 300); do printf '<xi:include href="leaf.xml"/>'; done; printf '</trim>'; } >"$TMP/includes.xml"
refuse includes 2 'more than 256 files are included'
mkdir "$TMP/outside" "$TMP/inside"; touch "$TMP/inside/.trim-root" "$TMP/outside/secret"
ln -s ../outside "$TMP/inside/link"
printf '%s<model path="link/secret"/><xi:include href="link/secret"/><target name="t" hardware="native"/></trim>' "$head" >"$TMP/inside/symlink.xml"
refuse inside/symlink 2 "'inside/link/secret' is a link that leaves the project"
refuse no-such-file 2 "no such file 'no-such-file.xml'"
mkdir "$TMP/folder.xml"
refuse folder 2 "is not a regular file"

# Whatever a spec is cut to, it is refused or accepted, never a crash.
crashed=
size=$(wc -c <later.xml)
for ((i = 0; i < size; i += 37)); do
	head -c "$i" later.xml >"$TMP/cut.xml"
	"$TRIM" check "$TMP/cut.xml" >"$TMP/out" 2>&1; rc=$?
	[ "$rc" -eq 2 ] || crashed="$crashed $i:$rc"
done
if [ -z "$crashed" ]; then ok cut; else bad cut "length:exit$crashed"; fi

# The published grammar.
"$TRIM" schema >"$TMP/trim.xsd"
same trim.xsd "$xsd" "$TMP/trim.xsd"
if ! command -v xmllint >/dev/null; then echo "skip spec/xsd: xmllint is not here"; exit 0; fi
accepts() { xmllint --noout --nonet --schema "$xsd" "$1" >"$TMP/lint" 2>&1; }
if [ -n "${BLESS:-}" ]; then
	for x in *.err; do accepts "${x%.err}.xml" && echo "${x%.err}"; done >xsd-accepts.txt
fi
for x in ../../specs/hardware/*.xml ../../specs/task/*.xml files/inc/dataset.xml files/inc/box.xml; do
	if accepts "$x"; then ok "xsd/${x##*/}"; else cat "$TMP/lint"; bad "xsd/${x##*/}" "refused by trim.xsd"; fi
done
for x in *.xml; do
	n=${x%.xml} expected=refuses
	if [ -e "$n.expand" ] || grep -qx -- "$n" xsd-accepts.txt; then expected=accepts; fi
	if accepts "$x"; then got=accepts; else got=refuses; fi
	if [ $got = $expected ]; then ok "xsd/$n"; else cat "$TMP/lint"; bad "xsd/$n" "trim.xsd $got it"; fi
done
