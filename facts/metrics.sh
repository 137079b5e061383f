# What is there of the timer that writes metrics: "file PATH SHA256" for each file, "timer STATE" when it is enabled.
for file in "$@"; do
    [ -f "$file" ] && printf 'file %s %s\n' "$file" "$(sha256sum <"$file" | cut -d' ' -f1)"
done
systemctl is-enabled --quiet pyinfra-hermes-metrics.timer 2>/dev/null &&
    systemctl is-active --quiet pyinfra-hermes-metrics.timer && echo 'timer on'
echo end
