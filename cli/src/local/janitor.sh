# Removes a temporary stack's folders once the process that made it has died and its children are gone.
#   $1 the folder with the children's process ids   the rest: the folders to remove
# Standard input is a pipe whose other end only that process holds; a word on it means that it cleaned up itself.
trap '' HUP INT QUIT TERM
run=$1
shift
if read -r _; then exit 0; fi
tenths=300
while [ "$tenths" -gt 0 ]; do
  alive=no
  for file in "$run"/*.pid; do
    [ -f "$file" ] || continue
    read -r pid _ <"$file" || continue
    if kill -s 0 "$pid"; then alive=yes; fi
  done
  [ "$alive" = yes ] || break
  sleep 0.1
  tenths=$((tenths - 1))
done
rm -rf "$@"
