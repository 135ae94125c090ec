package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

const (
	// fitnessTimeout bounds one check of the storage.
	fitnessTimeout = 10 * time.Second
	// fitTimeout bounds what else is looked at after one.
	fitTimeout = 5 * time.Minute
	// fitnessInterval is how often it is looked whether another check is due.
	fitnessInterval = 5 * time.Second
)

// Fitness knows whether the storage keeps what encrypted objects need. A storage
// that answers 200 and loses an object's record has lost the object, so nothing is
// written before it was checked, and again after each time that it could not be
// reached or showed itself as another program: it may have been replaced.
type Fitness struct {
	service *upstream.Service
	client  *upstream.Client
	bucket  func(context.Context) error // brings the system bucket into being
	log     *slog.Logger
	// Fit is called after a check that found nothing amiss; nil for nothing.
	Fit func(context.Context)

	flight singleflight.Group
	// checked is the client's epoch that the last check was made in, and 0 before
	// there was one.
	checked atomic.Uint64
	unfit   atomic.Pointer[error]

	mu    sync.Mutex
	until time.Time // no other check is made before
	last  error
}

// NewFitness returns what has checked nothing yet. bucket brings the system bucket into
// being.
func NewFitness(client *upstream.Client, service *upstream.Service, bucket func(context.Context) error, log *slog.Logger) *Fitness {
	return &Fitness{client: client, service: service, bucket: bucket, log: log}
}

// Admit says whether a request with this need may go on. upstream.ErrUnfit for every one, if the
// storage was found to be unfit; system.ErrNotReady for all but reads, if it was never checked.
// Where a check fails because the storage is full, what frees room goes on, or nobody could make any.
func (f *Fitness) Admit(ctx context.Context, need storage.Need) error {
	if unfit := f.unfit.Load(); unfit != nil {
		return *unfit
	}
	if need == storage.Reads || f.checked.Load() == f.client.Epoch() {
		return nil
	}
	err := f.Ensure(ctx)
	if err != nil && !errors.Is(err, upstream.ErrUnfit) && f.checked.Load() != 0 {
		return nil // it could be used when it answered last, and cannot be asked now
	}
	if need == storage.Frees && storage.IsFull(err) {
		return nil
	}
	return err
}

// Ensure checks the storage if that is due, once for all who wait. upstream.ErrUnfit,
// system.ErrNotReady.
func (f *Fitness) Ensure(ctx context.Context) error {
	if unfit := f.unfit.Load(); unfit == nil && f.checked.Load() == f.client.Epoch() {
		return nil
	}
	f.mu.Lock()
	last, until := f.last, f.until
	f.mu.Unlock()
	if last != nil && time.Now().Before(until) {
		return last
	}
	detached := context.WithoutCancel(ctx)
	tried := f.flight.DoChan("", func() (any, error) { return nil, f.try(detached) })
	patience, cancel := context.WithTimeout(ctx, setupPatience)
	defer cancel()
	select {
	case result := <-tried:
		return result.Err
	case <-patience.Done():
		return fmt.Errorf("check the storage: %w (%w)", system.ErrNotReady, patience.Err())
	}
}

func (f *Fitness) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fitnessTimeout)
	defer cancel()
	epoch := f.client.Epoch()
	err := f.service.Check(ctx)
	if errors.Is(err, system.ErrNotFound) { // the first start
		if err = f.bucket(ctx); err == nil {
			err = f.service.Check(ctx)
		}
	}
	err = f.judge(err, epoch)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.until = err, time.Now().Add(setupPause)
	return err
}

// judge notes and logs the outcome of a check, and returns what callers get.
func (f *Fitness) judge(err error, epoch uint64) error {
	switch {
	case err == nil:
		if f.unfit.Swap(nil) != nil {
			f.log.Info("the storage keeps what encrypted objects need; requests are served again")
		}
		f.checked.Store(epoch)
		if f.Fit != nil {
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), fitTimeout)
				defer cancel()
				f.Fit(ctx)
			}()
		}
		return nil
	case errors.Is(err, upstream.ErrUnfit):
		if f.unfit.Swap(&err) == nil {
			f.log.Error("the storage does not keep what encrypted objects need: nothing is served, so that nothing is lost", "error", err)
		}
		return err
	default:
		return fmt.Errorf("check the storage: %w (%w)", system.ErrNotReady, err)
	}
}

// Run checks the storage at the start, and when a check is due, until ctx ends.
func (f *Fitness) Run(ctx context.Context) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, fitnessInterval) {
		if err := f.Ensure(ctx); err == nil {
			wait = fitnessInterval
		} else if ctx.Err() == nil {
			f.log.Debug("the storage cannot be checked", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
