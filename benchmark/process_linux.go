package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// dieWithParent makes the kernel end a started server when the benchmark ends,
// however it does.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// processorClock reads the processor time of a process in nanoseconds, where
// /proc/PID/stat has hundredths of a second (clock_getcpuclockid(3)).
func processorClock(pid int) (seconds float64, err error) {
	const sched = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &ts); err != nil {
		return 0, err
	}
	return float64(ts.Nano()) / 1e9, nil
}
