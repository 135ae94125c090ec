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

// successor is no process here.
type successor struct{}

// prepare fails.
func (h *handOver) prepare() (*successor, error) {
	return nil, errors.New("this system hands no sockets over")
}

func (s *successor) start(context.Context) (pid int, err error) { return 0, nil }

func (s *successor) close() {}
