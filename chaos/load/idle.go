package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/chaos/workload"
)

// askers is how many idle connections are opened, or tried, at a time.
const askers = 16

// Idle are connections that carried a request and keep still.
type Idle struct {
	target workload.Target
	open   []net.Conn
}

// OpenIdle opens n of them. Close closes them.
func OpenIdle(ctx context.Context, t workload.Target, n int) (*Idle, error) {
	i := &Idle{target: t, open: make([]net.Conn, n)}
	err := i.each(func(at int) error {
		c, err := dial(ctx, t, 0)
		if err != nil {
			return err
		}
		i.open[at] = c
		return i.ask(ctx, c)
	})
	if err != nil {
		i.Close()
		return nil, err
	}
	return i, nil
}

// ask asks on a connection whether the bucket is there.
func (i *Idle) ask(ctx context.Context, c net.Conn) error {
	r, err := signed(ctx, i.target, http.MethodHead, "/"+Bucket, "", 0, nil)
	if err != nil {
		return err
	}
	status, err := exchange(c, r, time.Minute)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("HEAD of the bucket: status %d", status)
	}
	return err
}

func (i *Idle) each(do func(at int) error) error {
	errs := make([]error, askers)
	var all sync.WaitGroup
	for asker := range askers {
		all.Go(func() {
			for at := asker; at < len(i.open) && errs[asker] == nil; at += askers {
				errs[asker] = do(at)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// Try asks once more on each, and returns how many are not answered.
func (i *Idle) Try(ctx context.Context) (dead int) {
	var n atomic.Int64
	_ = i.each(func(at int) error { // it returns none
		if i.open[at] == nil || i.ask(ctx, i.open[at]) != nil {
			n.Add(1)
		}
		return nil
	})
	return int(n.Load())
}

// Close closes them.
func (i *Idle) Close() {
	for _, c := range i.open {
		if c != nil {
			_ = c.Close()
		}
	}
}
