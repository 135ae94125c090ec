package server

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/bucketseal/bucketseal/kms/identity"
)

const (
	// maxPlaces is how many requests are served at once, and callerPlaces how many
	// of them one identity may have: nobody takes all.
	maxPlaces    = 512
	callerPlaces = maxPlaces / 2
	// strangerPlaces is how many all those without rights have together. They get
	// here on the few routes that are open to them.
	strangerPlaces = 16
	// placeWait is how long a request waits for a place. KES's clients ask again
	// when they are told to come later.
	placeWait = 2 * time.Second

	// smallBody is what a request may send without a place for large bodies, in
	// bytes; largeBodies is how many of these there are.
	smallBody   = 64 << 10
	largeBodies = 16

	// maxLogStreams are how many may follow the logs, and callerLogStreams how many
	// of one identity.
	maxLogStreams    = 32
	callerLogStreams = 8
)

// places are how much may be done at once, by all and by each caller.
type places struct {
	all                  *semaphore.Weighted
	perCaller, strangers int64
	wait                 time.Duration // 0: there is a place, or there is none

	mu      sync.Mutex
	callers map[identity.Identity]*callerPlace
}

// callerPlace are the places of one caller, kept while it uses or wants some.
type callerPlace struct {
	free  *semaphore.Weighted
	users int
}

func newPlaces(most, perCaller, strangers int64, wait time.Duration) *places {
	return &places{
		all: semaphore.NewWeighted(most), perCaller: perCaller, strangers: strangers, wait: wait,
		callers: make(map[identity.Identity]*callerPlace),
	}
}

// enter takes a place; strangers are all the same caller, "". errBusy, or ctx's
// error.
func (p *places) enter(ctx context.Context, caller identity.Identity) (leave func(), err error) {
	own := p.join(caller)
	if err := p.take(ctx, own.free); err != nil {
		p.part(caller, own)
		return nil, err
	}
	if err := p.take(ctx, p.all); err != nil {
		own.free.Release(1)
		p.part(caller, own)
		return nil, err
	}
	return func() {
		p.all.Release(1)
		own.free.Release(1)
		p.part(caller, own)
	}, nil
}

func (p *places) take(ctx context.Context, from *semaphore.Weighted) error {
	if from.TryAcquire(1) {
		return nil
	}
	if p.wait <= 0 {
		return errBusy
	}
	limited, cancel := context.WithTimeout(ctx, p.wait)
	defer cancel()
	if from.Acquire(limited, 1) != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errBusy
	}
	return nil
}

func (p *places) join(caller identity.Identity) *callerPlace {
	p.mu.Lock()
	defer p.mu.Unlock()
	own := p.callers[caller]
	if own == nil {
		most := p.perCaller
		if caller == "" {
			most = p.strangers
		}
		own = &callerPlace{free: semaphore.NewWeighted(most)}
		p.callers[caller] = own
	}
	own.users++
	return own
}

func (p *places) part(caller identity.Identity, own *callerPlace) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if own.users--; own.users == 0 {
		delete(p.callers, caller)
	}
}
