//! The watcher: a small shell process between us and a server, which ends the server when we are gone.
//!
//! We hold the only write end of the pipe that is the watcher's standard input. When we stop the server, or die
//! in whatever way, the kernel closes it; the watcher sees the end of its input and ends the server, kindly at
//! first. It leads a process group of its own, so that Ctrl-C in a terminal does not reach the server before us,
//! and so that everything the server left behind can be ended at one stroke.

/// Arguments: the signal that ends the server kindly, the seconds it then has, the folder to remove afterwards
/// (or nothing), the program and its arguments.
///
/// Standard output is the folder's lock, which is so held until the server has ended; standard error is the log.
/// A folder is removed only when we have let go of the server: one that ended by itself may be started again.
/// The traps come after the server's start, because ignored signals would be inherited by it.
pub(crate) const SCRIPT: &str = r#"
signal=$1 grace=$2 scratch=$3
shift 3
exec 3<&0 </dev/null
"$@" 3<&- >&2 &
server=$!
trap '' INT TERM HUP QUIT
{
    while read -r line; do :; done
    [ -z "$scratch" ] || : >"$scratch/unwanted"
    kill -s "$signal" "$server"
    sleep "$grace"
    kill -s KILL "$server"
} <&3 &
wait "$server"
[ ! -e "$scratch/unwanted" ] || rm -rf "$scratch"
kill -s KILL 0
"#;
