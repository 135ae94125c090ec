package serve

import (
	"log/slog"

	"golang.org/x/sys/unix"
)

// protectMemory keeps keys out of core dumps and away from other processes of
// the same user, and with lock also out of swap, where that is permitted.
func protectMemory(log *slog.Logger, lock bool) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		log.Warn("core dumps of this process may hold keys", "error", err)
	}
	if !lock {
		return
	}
	if !mayLockAll() {
		log.Info("memory is not locked: keys may be written to swap; permit it by \"ulimit -l unlimited\" or CAP_IPC_LOCK")
		return
	}
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		log.Info("memory is not locked: keys may be written to swap", "error", err)
		return
	}
	log.Info("memory is locked")
}

// mayLockAll says whether memory may be locked without a limit. Under a limit,
// allocations that pass it would fail later and end the process.
func mayLockAll() bool {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil && limit.Cur == unix.RLIM_INFINITY {
		return true
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	return data[unix.CAP_IPC_LOCK/32].Effective&(1<<(unix.CAP_IPC_LOCK%32)) != 0
}

// dumpsCore says whether a core dump of this process would be written.
func dumpsCore() bool {
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	return err == nil && dumpable != 0
}
