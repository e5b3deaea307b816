#!/usr/bin/env bash
# The program from outside: init, check, expand, variables, configuration, exit codes, help.
set -u
TRIM=${TRIM:-$PWD/.build/trim} TMP=${TMP:-$(mktemp -d)}
for v in $(compgen -e TRIM_); do unset "$v"; done
unset CLICOLOR_FORCE
export HOME=$TMP XDG_CONFIG_HOME=$TMP/config
mkdir -p "$TMP/p" "$TMP/models/m" "$TMP/config/trim"; cd "$TMP/p" || exit 1; touch .trim-root

expect() { # NAME EXIT PATTERN COMMAND...: the pattern is searched in stdout and stderr
	local name=$1 code=$2 pattern=$3; shift 3
	"$@" >"$TMP/out" 2>&1; local rc=$?
	if [ $rc -eq "$code" ] && grep -q -- "$pattern" "$TMP/out"; then echo "ok cli/$name"
	else cat "$TMP/out"; echo "FAIL cli/$name: exit $rc, expected $code and '$pattern'"; fi
}

expect no-spec 2 "no such file 'trim.xml'" "$TRIM" check
expect init 0 'next: trim check' "$TRIM" init
expect init.check 0 '^trim.xml: ok, 1 dataset, 1 schedule, 2 targets$' "$TRIM" check
expect init.again 2 "'trim.xml' is there already" "$TRIM" init
expect init.rows 0 '200 /dev/stdin' sh -c 'sort -u data/rows.jsonl | wc -l /dev/stdin'
expect init.text 0 wrote "$TRIM" init --data data/rows.txt --model models:m text.xml
echo words >data/rows.txt
expect root.unset 36 '^trim: text.xml:6:16: root .models. is not set; give --root models=DIR or set TRIM_ROOT_MODELS$' "$TRIM" check text.xml
expect root.flag 0 ok "$TRIM" check text.xml --root models=../models
expect root.variable 0 ok env TRIM_ROOT_MODELS=../models "$TRIM" check text.xml
printf '# roots\nroot models %s\n' "$TMP/models" >"$XDG_CONFIG_HOME/trim/config"
expect root.configuration 0 ok "$TRIM" check text.xml
expect root.first 36 'no such file or folder .models:m.' "$TRIM" check text.xml --root models=.
echo 'roots models x' >"$XDG_CONFIG_HOME/trim/config"
expect root.bad-configuration 2 "trim/config:1:1: expected 'root NAME DIR'" "$TRIM" check text.xml
rm "$XDG_CONFIG_HOME/trim/config"
expect expand.no-root 0 'path="models:m"' "$TRIM" expand text.xml
expect several 2 'text.xml:6:16' "$TRIM" check trim.xml text.xml none.xml
expect json 0 '^{"spec":"trim.xml","ok":true,"errors":0,"later":0,"messages":\[\]}$' "$TRIM" check --json
expect json.bad 36 '"errors":1.*"line":6,"col":16' "$TRIM" check --json text.xml
expect quiet 0 '^$' sh -c "'$TRIM' -q check; echo"
cd / && expect directory 0 '^trim.xml: ok' "$TRIM" -C "$TMP/p" check; cd "$TMP/p" || exit 1
mkdir sub && printf '<trim xmlns="urn:trim:spec:1" name="x"><model path="../data/none"/><target name="t" hardware="native"/></trim>' >sub/s.xml
expect place 2 "^trim: sub/s.xml:1:53: no such file or folder 'data/none'$" "$TRIM" check sub/s.xml
cd sub && expect place.inside 2 "^trim: s.xml:1:53: no such file or folder '../data/none'$" "$TRIM" check s.xml; cd ..
expect place.absolute 2 "s.xml:1:53: no such file or folder '$TMP/p/data/none'$" "$TRIM" check "$TMP/p/sub/s.xml"
expect full-disk 1 'unable to write the output' sh -c "'$TRIM' schema >/dev/full"
"$TRIM" completion bash >"$TMP/complete.sh"
expect completion 0 '^check --color$' bash -c '. "$1"; COMP_WORDS=(trim ch) COMP_CWORD=1; _trim; a=${COMPREPLY[*]}
	COMP_WORDS=(trim check --co) COMP_CWORD=2; _trim; echo "$a ${COMPREPLY[*]}"' - "$TMP/complete.sh"
expect man 0 '^.TH TRIM 1' "$TRIM" help --man
expect help.spec 0 '^<schedule> in <trim>' "$TRIM" help spec
