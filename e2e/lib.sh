# shellcheck shell=bash
# What the scripts of this folder share. To be sourced.

# All that they write outside of the checkout, beside the cluster's own state.
E2E_STATE=${FAIRWAY_E2E_STATE:-${XDG_CACHE_HOME:-$HOME/.cache}/fairway/e2e}

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$@"; exit 1; }

# A process is known by its pid and its start time: the kernel uses a pid again, but not with the same start.
start_time() {
  local line
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
  read -ra line <<<"${line##*) }" # from the third field on: state first, start time twentieth
  [[ ${line[0]} != Z ]] && printf '%s\n' "${line[19]}"
}

# daemon NAME [VARIABLE=VALUE]... COMMAND...: starts it in a session of its own, with these variables and PATH and HOME.
# Its log is NAME.log, and NAME.pid says which process it is, both in $E2E_STATE. Files that are open here are closed in it: a
# lock that somebody took around this would be held as long as it runs.
daemon() {
  local name=$1
  shift
  (
    for fd in /proc/"$BASHPID"/fd/*; do fd=${fd##*/}; ((fd < 3)) || eval "exec $fd>&-"; done
    exec setsid env -i PATH="$PATH" HOME="$E2E_STATE" "$@"
  ) >"$E2E_STATE/$name.log" 2>&1 </dev/null &
  echo "$! $(start_time $!)" >"$E2E_STATE/$name.pid"
  disown
}

# daemon_pid NAME: its pid, while it runs.
daemon_pid() {
  local pid since
  read -r pid since 2>/dev/null <"$E2E_STATE/$1.pid" || return 1
  [[ $(start_time "$pid") == "$since" ]] && echo "$pid"
}

# daemon_stop NAME: TERM, then KILL after five seconds.
daemon_stop() {
  local pid
  pid=$(daemon_pid "$1") || { rm -f "$E2E_STATE/$1.pid"; return 0; }
  kill -TERM "$pid" 2>/dev/null
  kill -CONT "$pid" 2>/dev/null # it may be frozen
  for _ in {1..50}; do
    daemon_pid "$1" >/dev/null || break
    sleep 0.1
  done
  ! daemon_pid "$1" >/dev/null || kill -KILL "$pid" 2>/dev/null
  rm -f "$E2E_STATE/$1.pid"
}

# daemon_await NAME SECONDS COMMAND...: until the command succeeds; says why not if the process ends or time is over.
daemon_await() {
  local name=$1 end=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ! daemon_pid "$name" >/dev/null || ((SECONDS >= end)); then
      say "$name is not ready; the end of $E2E_STATE/$name.log:"
      tail -n 20 "$E2E_STATE/$name.log" | cut -c1-400 >&2
      daemon_stop "$name"
      return 1
    fi
    sleep 0.1
  done
}

# http_ok ADDRESS PORT PATH: a GET that is answered with 200.
http_ok() {
  local status
  exec 3<>"/dev/tcp/$1/$2" || return 1
  printf 'GET %s HTTP/1.0\r\n\r\n' "$3" >&3
  read -t 2 -r status <&3
  exec 3>&-
  [[ $status == *" 200 "* ]]
} 2>/dev/null
