# describe KEY PATH: one line "path KEY|KIND|MODE|OWNER|GROUP|SIZE|DETAIL"; nothing when there is no such path.
# DETAIL is a file's SHA256, a link's target, or "-". A pipe or device is never opened.
describe() {
    [ -e "$2" ] || [ -L "$2" ] || return 0
    state=$(stat -c '%F|%a|%U|%G|%s' -- "$2" 2>/dev/null) || return 0
    detail=-
    case $state in
        'regular file|'* | 'regular empty file|'*) detail=$(timeout 10 sha256sum <"$2" 2>/dev/null) detail=${detail%% *} ;;
        'symbolic link|'*) detail=$(readlink -- "$2") ;;
    esac
    printf 'path %s|%s|%s\n' "$1" "$state" "${detail:--}"
}
