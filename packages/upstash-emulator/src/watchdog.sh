# Runs a program that must not outlive us: sh watchdog.sh <folder to remove at the end> <command> [arguments]
#
# Whoever starts it holds the other end of its stdin and says nothing. That end closes when they go, however they go,
# SIGKILL included: then the program is killed. A shell, because one that kills every node at once shall not get it too.

watch() {
  folder=$1
  shift
  "$@" </dev/null &
  program=$!
  exec >/dev/null 2>&1 # so that our output ends when the program does

  while read -r _; do :; done

  kill -9 "$program"
  wait "$program"
  rm -rf "$folder"
}

watch "$@"
exit # all of it has been read by now, so that nobody's edit meanwhile can change what it does
