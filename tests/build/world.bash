# Sourced by scripts that build the small model of tests/rules: leaves them in a scratch folder that holds it, with no
# settings but their own. $TRIM is the program, $dataset XML of the rows: a split and a task.
TRIM=${TRIM:-$PWD/.build/trim} TMP=${TMP:-$(mktemp -d)}
for v in $(compgen -e TRIM_ | grep -vx TRIM_KEEP_CODE); do unset "$v"; done
export HOME=$TMP TRIM_CACHE=$TMP/cache XDG_STATE_HOME=$TMP/state XDG_CONFIG_HOME=$TMP/config TRIM_QUIET=1
cp -r tests/rules/{model,rows.jsonl} "$TMP" && cd "$TMP" && touch .trim-root || exit 1

dataset() { # dataset [SPLIT]: what attributes say of the split
	cat <<-XML
		  <dataset name="rows" format="jsonl" path="rows.jsonl">
		    <split ${1-test=\"40%\" train=\"30%\" calibration=\"20%\" validation=\"10%\"}/>
		    <task kind="completion" length="96"><prompt>{text} {question}</prompt><answer field="answer"/></task>
		  </dataset>
	XML
}

told() { # told EVENT ACTION: how often `events` has it
	grep -c "\"event\":\"$1\",.*\"action\":\"$2\"" events
}
came() { # came ACTION: how far it is by `events`, in steps, windows or what it counts
	sed -n "s|.*\"event\":\"progress\",.*\"action\":\"$1\".*\"done\":\([0-9]*\).*|\1|p" events | tail -n 1
}
# kill_in ACTION DONE COMMAND...: runs a build that writes `events` in an empty cache and kills it as soon as the action has
# come that far; again if the action was over by then.
kill_in() {
	local action=$1 far=$2 at pid; shift 2
	for _ in 1 2 3 4 5; do
		rm -rf "$TRIM_CACHE" events
		"$@" >log 2>&1 &
		pid=$!
		until [ -e events ] && at=$(came "$action") && [ "${at:-0}" -ge "$far" ]; do
			kill -0 $pid 2>/dev/null || break
		done
		kill -9 $pid 2>/dev/null
		wait $pid 2>/dev/null
		[ "$(told "done" "$action")" -gt 0 ] || break
	done
}
