# receipt AGENT OUTCOME REASON: add the receipt of this run, which RECEIPT has but for how it ended.
receipt() {
    [ -n "$RECEIPT" ] || return 0
    (umask 077 && mkdir -p -m 755 -- "$PENDING" && exec python3 -I -S -c "$RECEIVE" "$PENDING/$1.receipts" "$RECEIPT" "$2" "$3") || true
}
