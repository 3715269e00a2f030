# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154
# Pages as a browser shows them, by page_check.js. $views are PAGE:WIDTH:LIGHT, of pages
# $work/PAGE.html that have their style in them; $here is this folder.

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
# browse ARGUMENT...: in a home of its own.
browse() {
    HOME=$work/home timeout 300 "$browser" --headless=new --no-sandbox --disable-gpu \
        --hide-scrollbars --disable-dev-shm-usage "--user-data-dir=$work/home" "$@" \
        2>/dev/null
}

# copy PAGE WIDTH day|night|paper: as it is in that light, and says what is wrong with it.
copy() {
    night='@media screen and (prefers-color-scheme: dark)'
    case $3 in
    day) style="s/$night/@media not all/" ;;
    night) style="s/$night/@media all/" ;;
    paper) style="s/$night/@media not all/; s/@media print/@media all/" ;;
    esac
    { grep -qF "$night" "$work/$1.html" && grep -qF '@media print' "$work/$1.html"; } ||
        { echo "# $1: no style for night or paper" >&2 && return 1; }
    sed -e "$style" -e '/^<\/body>/d; /^<\/html>/d' "$work/$1.html"
    echo '<script>'
    sed "s|\"VIEW\"|\"$1:$2:$3\"|; s|\"WIDTH\"|$2|" "$here/page_check.js"
    echo '</script></body></html>'
}

# All of them in one page, as frames of those widths, for a window may not be so narrow;
# they tell it what they found.
show() {
    cat <<'END'
<!DOCTYPE html><title>views</title><body><script>
onmessage = function (event) {
    document.body.appendChild(document.createElement("pre")).textContent =
        "\n" + event.data + "\n";
};
</script>
END
    for view in $views; do
        width=${view#*:}
        copy "${view%%:*}" "${width%:*}" "${width#*:}" >"$work/$view.html"
        echo "<iframe src='./$view.html' width='${width%:*}' height='900'" \
            "frameborder='0'></iframe>"
    done
}

# look: what is wrong with $views, a result for each.
look() {
    if [ -n "$browser" ]; then
        show >"$work/views.html"
        browse --virtual-time-budget=20000 --dump-dom "file://$work/views.html" >"$work/said"
    fi
    for view in $views; do
        name="$view: nothing overlaps, is cut off or hard to read"
        if [ -z "$browser" ]; then
            skip "$name" "there is no chromium"
            continue
        fi
        grep "^$view " "$work/said" | cut -d ' ' -f 2- >"$work/found"
        [ -s "$work/found" ] || echo "it says nothing" >"$work/found"
        [ "$(cat "$work/found")" = fine ] || sed 's/^/# /' "$work/found" | head -n 20
        [ "$(cat "$work/found")" = fine ]
        result $? "$name"
    done
}
