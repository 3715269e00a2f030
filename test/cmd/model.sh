#!/bin/sh
# SPDX-License-Identifier: MIT
# The queue's protocols, model-checked: no state of any configuration breaks a promise, and
# every planted mistake is found.
. "$(dirname "$0")/lib.sh"

models=$PWD/test/model
compiler=${CC:-cc}
configurations="LEASES PUTS GETS BOXES NACKING SITTING CLOSING ENDING SLEEPING WAKING
    GROWING MOVING TRIMMING"
mistakes="PUTS/LATE_CLAIM GETS/KEPT_CLAIM GETS/EARLY_CLAIM PUTS/IGNORES_LIVING
    GETS/IGNORES_LIVING PUTS/PLAIN_STORE PUTS/EARLY_FULL PUTS/EARLY_VACANT GETS/EARLY_TAKEN
    LEASES/LATE_HELD LEASES/LATE_BOXES LEASES/EACH_ALONE LEASES/OLD_POSITION
    LEASES/NO_FINISH NACKING/EARLY_NACK NACKING/PLAIN_NACK BOXES/RING_FIRST SITTING/LATE_COUNT SITTING/NO_SWEEP
    CLOSING/NO_CLOSING CLOSING/KEPT_LAST ENDING/EARLY_END WAKING/NO_SECOND_LOOK
    WAKING/NEW_TURN WAKING/NEW_CAME SLEEPING/NO_RELOOK
    GROWING/NO_SEAL GROWING/NO_RECHECK GROWING/ONLY_HEAD GROWING/EARLY_FREE GROWING/NO_FINISH
    GROWING/LATE_LOOSE GROWING/LATE_NOTE"

# explore CONFIGURATION[/MISTAKE], in an empty folder. To optimise would take longer than
# it saves.
explore() {
    case $1 in
    GROWING* | MOVING* | TRIMMING*) model=growth ;;
    *) model=queue ;;
    esac
    spin -a "-D${1%/*}" "-D${1#*/}" "$models/$model.pml" &&
        $compiler -w -DSAFETY -DMEMLIM=3000 -o pan pan.c && ./pan -E -m10000
}

# This script, called by itself for one of them: FOLDER CONFIGURATION[/MISTAKE].
if [ $# -eq 2 ]; then
    mkdir -p "$1/$2" && cd "$1/$2" && explore "$2" >log 2>&1
    exit 0
fi

for tool in spin "${compiler%% *}"; do
    command -v "$tool" >/dev/null && continue
    skip "model" "there is no $tool"
    plan
    exit 0
done

# Two at a time; the largest, which is the first, takes 1.8 GiB.
# shellcheck disable=SC2086
printf '%s\n' $configurations $mistakes | xargs -P 2 -n 1 sh "$0" "${work:?}"

for run in $configurations; do
    log=$work/$run/log
    states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' "$log")
    grep -q 'errors: 0' "$log" && ! grep -qE 'too small|not completed' "$log"
    result $? "$run: ${states:-no} states"
    grep -q 'errors: 0' "$log" || sed -n '/^pan\|rror/s/^/# /p' "$log" | cut -c1-90
done
for run in $mistakes; do
    grep -q '^pan:1: assertion violated' "$work/$run/log"
    result $? "${run%/*} finds ${run#*/}"
done
plan
