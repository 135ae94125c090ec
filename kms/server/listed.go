package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

const (
	// listedWait is how long a change of the configuration waits for the keys that it
	// lists: the next change may take rights away.
	listedWait = 2 * time.Second
	// listedAgain is the pause after which keys that could not be created are tried again.
	listedAgain = 15 * time.Second
)

// CreateKeys creates those of the keys that do not exist.
func CreateKeys(ctx context.Context, service kms.Service, names []string) error {
	for _, name := range names {
		if err := createMissing(ctx, service, name); err != nil {
			return err
		}
	}
	return nil
}

func createMissing(ctx context.Context, service kms.Service, name string) error {
	if err := service.CreateKey(ctx, name); err != nil && !errors.Is(err, kms.ErrKeyExists) {
		return fmt.Errorf("create key %q, which the configuration lists under keys: %w", name, err)
	}
	return nil
}

// DeadKeys returns those of the keys that CreateKeys has left out, because their names are taken
// by what is left of deleted ones.
func DeadKeys(ctx context.Context, service kms.Service, names []string) (dead []string) {
	for _, name := range names {
		if _, err := service.DescribeKey(ctx, name); errors.Is(err, kms.ErrKeyNotFound) {
			dead = append(dead, name)
		}
	}
	return dead
}

// listedKeys are those that the configuration in force lists. It is safe for concurrent
// use.
type listedKeys struct {
	service kms.Service
	// turn is held by who creates keys. It is a channel because a store may take its
	// time, and who waits for it gives up then.
	turn chan struct{}

	mu     sync.Mutex
	there  map[string]bool // listed names: was the key seen, or made?
	failed string          // why not; said once
}

func newListedKeys(service kms.Service) *listedKeys {
	return &listedKeys{service: service, turn: make(chan struct{}, 1), there: make(map[string]bool)}
}

// want says which keys are listed from now on.
func (l *listedKeys) want(names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := make(map[string]bool, len(names))
	for _, name := range names {
		next[name] = l.there[name]
	}
	l.there = next
}

// missing returns the names of listed keys that are not known to be there.
func (l *listedKeys) missing() (names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, there := range l.there {
		if !there {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// made notes that keys are there, as far as they are still listed.
func (l *listedKeys) made(names ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range names {
		if _, listed := l.there[name]; listed {
			l.there[name] = true
		}
	}
}

// create creates what is missing: one caller at a time, and each key whatever became of
// the one before.
func (l *listedKeys) create(ctx context.Context) error {
	if len(l.missing()) == 0 {
		return nil
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return fmt.Errorf("keys that were listed before are still being created: %w", ctx.Err())
	}
	var failed []error
	for _, name := range l.missing() {
		if err := createMissing(ctx, l.service, name); err != nil {
			failed = append(failed, err)
			continue
		}
		l.made(name)
		for _, dead := range DeadKeys(ctx, l.service, []string{name}) {
			failed = append(failed, fmt.Errorf("key %q does not exist, and its name is taken: delete it once more", dead))
		}
	}
	return errors.Join(failed...)
}

// news says whether a failure is another one than before.
func (l *listedKeys) news(err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := ""
	if err != nil {
		text = err.Error()
	}
	changed := text != l.failed
	l.failed = text
	return changed
}

// createListed creates the listed keys that are missing, and says once what fails.
func (s *Server) createListed(ctx context.Context, limit time.Duration) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := s.listed.create(limited)
	if ctx.Err() != nil {
		return // the server ends
	}
	if s.listed.news(err) && err != nil {
		s.state.Load().errors.Error("the configuration is in force, but keys that it lists could not be created; they are tried again", "reason", err.Error(), "every", listedAgain.String())
	}
}

// keepCreating tries listed keys that are missing again, until ctx ends.
func (s *Server) keepCreating(ctx context.Context) {
	tick := time.NewTicker(listedAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.createListed(ctx, listedAgain)
		}
	}
}
