//go:build !linux

package upstream

import "syscall"

// dieWithParent has no equivalent outside Linux: a killed test run leaves its
// servers behind.
func dieWithParent() *syscall.SysProcAttr { return nil }
