package upstream

import "syscall"

// dieWithParent makes the kernel end a started server when the test binary
// ends, however it does: go test kills it at its timeout.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
