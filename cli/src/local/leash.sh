# Runs a command on a leash: standard input is a pipe whose other end only the parent process holds.
#   $1 the signal that asks the command to stop   $2 how many seconds it may take   the rest: the command
# The command replaces this shell, so its process id is the one the parent sees. A watcher stays behind, out of reach
# of Ctrl-C: when the pipe closes without a word the parent has died, by kill -9 too, and the watcher stops the command.
# A word on the pipe means that the command has ended and its process id may belong to somebody else by now.
signal=$1 patience=$2
shift 2
exec 3<&0 </dev/null
(
  (
    trap '' HUP INT QUIT TERM
    if read -r _ <&3; then exit 0; fi
    kill -s "$signal" $$ || exit 0
    tenths=$((patience * 10))
    while [ "$tenths" -gt 0 ] && kill -s 0 $$; do
      sleep 0.1
      tenths=$((tenths - 1))
    done
    kill -s KILL $$
  ) >/dev/null 2>&1 &
)
exec 3<&-
exec "$@"
