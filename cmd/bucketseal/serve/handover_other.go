//go:build !unix

package serve

import (
	"context"
	"errors"
	"os"
)

// handOverSignals returns nothing: there is no SIGUSR2 here.
func handOverSignals() (asked <-chan os.Signal, stop func()) { return nil, func() {} }

// follow does nothing.
func (h *handOver) follow(context.Context, <-chan os.Signal) {}

func (h *handOver) start(context.Context) (pid int, err error) {
	return 0, errors.New("this system hands no sockets over")
}
