#!/usr/bin/env bash
# The program from outside: init, check, expand, variables, configuration, exit codes, help.
set -u
here=$PWD
TRIM=${TRIM:-$PWD/.build/trim} BUILD=${BUILD:-$PWD/.build} TMP=${TMP:-$(mktemp -d)}
for v in $(compgen -e TRIM_ | grep -vx TRIM_KEEP_CODE); do unset "$v"; done
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
for i in $(seq 200); do printf 'words %s\n\n' $i; done >data/rows.txt
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
# Wrong arguments: what is wrong, what was expected, the nearest name.
while IFS='|' read -r name pattern arguments; do
	expect "usage.$name" 2 "^trim: $pattern\$" "$TRIM" $arguments
done <<'CASES'
verb|unknown verb 'bild'; did you mean 'build'?|bild
verb.none|unknown verb 'frobnicate'; `trim help` lists them|frobnicate
help|unknown verb 'bild'; did you mean 'build'?|help bild
option|unknown option '--lokced' of build; did you mean '--locked'?|build --lokced
option.letter|unknown option '-z' of check|check -z
option.value|option '-j' needs a value: -j N|build -j
option.no-value|option '--json' takes no value|check --json=1
option.number|bad value '0' for --jobs; expected a whole number from 1 to 1024|build -j 0 trim.xml
argument.none|missing argument: trim inspect MODEL.BINARY.SPEC|inspect
argument.more|too many arguments at 'x': trim doctor|doctor x
argument.directory|missing argument: trim export trim.xml DIR|export trim.xml
target|trim.xml has no target 'hald'; did you mean 'half'?|build --target hald
target.inspect|trim.xml has no target 'hald'; did you mean 'half'?|inspect trim.xml --emit ir --target hald
file|no such file 'none.xml'|build none.xml
file.log|no such file 'none.xml'|log none.xml
file.not-regular|'/tmp' is not a regular file|status /tmp
root|bad value 'x=' for --root; expected NAME=DIR, NAME in lower-case letters, digits and '-'|check --root x=
cache|unknown 'cache stats'; did you mean 'stat'?|cache stats
completion|no completion for 'zsh'; there is one for bash|completion zsh
CASES
export TRIM_CACHE=$TMP/cache XDG_STATE_HOME=$TMP/state
printf '{"trim-lock":1,\n<<<<<<< mine\n' >trim.lock
expect lock.conflict 2 '^trim: trim.lock:2:1: unable to use the lock (without it a build writes a new one): ' "$TRIM" build
echo '{"trim-lock":7}' >trim.lock
expect lock.version 2 '^trim: trim.lock:1:1: not a lock of this version of trim; without it a build ' "$TRIM" status
rm trim.lock
expect several 2 'text.xml:6:16' "$TRIM" check trim.xml text.xml none.xml
expect json 0 '^{"spec":"trim.xml","ok":true,"errors":0,"later":0,"warnings":0,"messages":\[\],"data":\[{"dataset":"rows","rows":200,' "$TRIM" check --json
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

# What check says about rows, and show about one of them.
grid() { "$TRIM" check "$@" 2>/dev/null | sed -n '/test/,/all/p' | tr -s ' ' | tr '\n' '|'; }
same() { if [ "$2" = "$3" ]; then echo "ok cli/$1"; else printf '%s\n%s\nFAIL cli/%s\n' "$2" "$3" "$1"; fi; }
expect offline.help 0 'trim never does' "$TRIM" build --help
# that it never does: no part of it knows a function that could
for a in "$BUILD"/*.a "$BUILD"/lib/*/runtime.a; do nm -u "$a" 2>/dev/null; done | awk 'NF == 2 {print $2}' | sort -u >"$TMP/needs"
same offline.no-sockets "$(grep -c '^open$' "$TMP/needs") $(grep -xE 'socket|socketpair|connect|bind|accept4?|send(to|msg)?|getaddrinfo|gethostby.*|popen|system' "$TMP/needs")" '1 '
task='<task kind="choice"><prompt>{q}</prompt><choice>yes</choice><choice>no</choice><answer field="a"/></task>'
spec() { # FILE SPLIT REST: a spec over rows of r/
	printf '<trim xmlns="urn:trim:spec:1" name="x"><model path="m"/><dataset name="d" format="jsonl" path="r">
<split %s/>%s</dataset>%s<target name="t" hardware="x86-64-v3"/></trim>' "$2" "$task" "$3" >"$1"
}
mkdir m r; n=0
for a in yes no no; do for _ in 1 2 3 4 5 6 7 8 9 10; do
	n=$((n + 1)); echo "{\"q\":\"Is it $n?\",\"a\":\"$a\"}"; done; done >r/a.jsonl
echo '{"q":"is it 30","a":"no"}' >r/b.jsonl
spec all.xml 'test="100%"' ''
same check.answers "$(grid all.xml)" ' test validation calibration train none| yes 10 0 0 0 0| no 21 0 0 0 0| all 31 0 0 0 0|'
spec gate.xml 'test="100%"' '<gate against="parent" metric="accuracy" margin="2pp"/>'
expect check.gate 0 "gate.xml:2:.*: note: .* 31 test rows, and without any loss it takes 149 to prove one below 2pp at 95% " "$TRIM" check gate.xml
spec gate2.xml 'test="100%"' '<gate against="parent" metric="accuracy" margin="10pp"/>'
same check.gate-enough "$("$TRIM" -q check gate2.xml 2>&1)" ''
parts='test="r/b.jsonl" train="80%" validation="10%" calibration="10%"'
spec leak.xml "$parts" '<schedule keep="50%"><score method="last"/></schedule>'
expect check.leak 0 '1 test row is as good as equal to a train row, r/b.jsonl:1 to r/a.jsonl:30 for one' "$TRIM" check leak.xml
spec few.xml "$parts" '<schedule keep="50%"><score rows="20"/></schedule>'
expect check.few-rows 2 "few.xml:2:.*dataset 'd' has [1-9] calibration rows\?, the score looks at 20$" "$TRIM" check few.xml
# build says the same, before anything that takes long
cp -r "$here/tests/rules/model" few; sed -i 's,path="m",path="few",' few.xml
"$TRIM" -q check few.xml 2>&1 | grep -v note: >few.said
same build.few-rows "$("$TRIM" -q build -k --events events few.xml 2>&1; echo $?)" "$(cat few.said; echo 2)"
expect build.few-rows-json 2 '{"actions":{"run":0,"cached":[1-9][0-9]*,"failed":1},' "$TRIM" build --json -k few.xml
same build.few-rows-early "$(sed -n 's/.*"event":"run".*"rule":"\([^"]*\)".*/\1/p' events | sort -u | tr '\n' ' ')" \
	'import rows split tokenizer '
expect check.few-rows-json 2 '"errors":1,.*"level":"error","file":"few.xml","line":2,' "$TRIM" check --json few.xml
spec none.xml 'test="100%" train="r/none*.jsonl"' ''
expect check.no-file 2 "none.xml:2:[0-9]*: no file matches 'r/none\*.jsonl'" "$TRIM" check none.xml
echo '{"q":"What?"}' >r/c.jsonl
expect check.bad-row 2 "^trim: r/c.jsonl:1:.*'a'" "$TRIM" check all.xml
expect check.no-data 0 '^all.xml: ok' "$TRIM" check --no-data all.xml
rm r/c.jsonl
sed -i 's,<model path="m"/>,<model init="random" arch="llama" layers="2" width="32" ffn="64" heads="2" context="64">\
<tokenizer train="bpe" vocab="300" dataset="d"/></model>,' leak.xml
expect show.key 0 '^row: 31 of 31, r/b.jsonl:1, ' "$TRIM" show leak.xml --split test
expect show.bad-split 2 "bad value 'tset' for --split" "$TRIM" show leak.xml --split tset
expect show.beyond 2 'no row 2; test has 1' "$TRIM" show leak.xml --split test --row 2
expect show.dataset 2 "no <dataset> is named 'dd'; did you mean 'd'?" "$TRIM" show leak.xml --dataset dd
