package identity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/register"
)

const (
	sessionKind = "session"
	// sessionPrefix begins the names of sessions' notes. The rest is the hash of
	// the access key.
	sessionPrefix = "identities/sessions/"

	// maxSessions and maxStrangers bound what is remembered of sessions and of
	// access keys that are none.
	maxSessions  = 8192
	maxStrangers = 4096
	// strangerTrust is how long an unknown access key stays unknown unasked.
	strangerTrust = time.Second
)

// sessions knows temporary identities. Each is a sealed note of its own, which
// ends with the session.
type sessions struct {
	objects Objects
	log     *slog.Logger
	now     func() time.Time
	clock   register.Clock

	mu        sync.Mutex
	known     map[string]session
	strangers map[string]register.Instant // from before they were asked for

	flights singleflight.Group
	// again are the turns of sessions that are known, and first those of access
	// keys that may be anybody's: strangers hold none of the others.
	again, first *turns
}

// session is a temporary identity as it was read.
type session struct {
	id    *Identity
	value string           // the sealed note
	read  register.Instant // from before it was asked for, or stored
}

func newSessions(o Options, clock register.Clock) *sessions {
	return &sessions{
		objects: o.Objects, log: o.Logger, now: o.Now, clock: clock,
		again: newTurns(maxLookups, maxSessions), first: newTurns(maxLookups, maxWaiting),
		known: make(map[string]session), strangers: make(map[string]register.Instant),
	}
}

func sessionName(accessKey string) string {
	sum := sha256.Sum256([]byte(accessKey))
	return sessionPrefix + hex.EncodeToString(sum[:])
}

// get returns a temporary identity, which may have expired. ErrUnknown, ErrBusy,
// ErrUnavailable.
func (s *sessions) get(ctx context.Context, accessKey string) (*Identity, error) {
	s.mu.Lock()
	cur, known := s.known[accessKey]
	asked, stranger := s.strangers[accessKey]
	s.mu.Unlock()
	now := s.clock.Now()
	switch {
	case known && (now.Within(cur.read, trust) || cur.id.expired(s.now())):
		return cur.id, nil
	case stranger && now.Within(asked, strangerTrust):
		return nil, ErrUnknown
	}
	detached := context.WithoutCancel(ctx)
	found := s.flights.DoChan(accessKey, func() (any, error) { return s.read(detached, strings.Clone(accessKey)) })
	select {
	case r := <-found:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*Identity), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// read asks the system bucket for a session.
func (s *sessions) read(ctx context.Context, accessKey string) (*Identity, error) {
	s.mu.Lock()
	cur, known := s.known[accessKey]
	s.mu.Unlock()
	turn := s.first
	if known {
		turn = s.again
	}
	give, err := turn.take()
	if err != nil {
		return nil, err
	}
	defer give()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()

	asked, name := s.clock.Now(), sessionName(accessKey)
	data, value, err := s.objects.GetNoteIfNew(ctx, sessionKind, name, cur.value)
	switch {
	case errors.Is(err, system.ErrNotModified) && cur.id != nil:
		s.keep(session{id: cur.id, value: cur.value, read: asked})
		return cur.id, nil
	case errors.Is(err, system.ErrNotFound):
		s.stranger(accessKey, asked)
		return nil, ErrUnknown
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	id, err := decodeSession(data)
	if err != nil || id.AccessKey != accessKey {
		return nil, fmt.Errorf("%w: session %q: %w", ErrUnavailable, accessKey, errors.Join(err, errIndex))
	}
	s.keep(session{id: id, value: value, read: asked})
	return id, nil
}

func decodeSession(data []byte) (*Identity, error) {
	var w wireIdentity
	if err := decodeStrict(data, &w); err != nil {
		return nil, err
	}
	id, err := w.identity()
	if err == nil && id.Kind != Temporary {
		err = fmt.Errorf("%w: %q is no session", ErrInvalid, id.AccessKey)
	}
	return id, err
}

// keep remembers a session, in place of any other if there is no room.
func (s *sessions) keep(one session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	makeRoom(s.known, one.id.AccessKey, maxSessions)
	s.known[one.id.AccessKey] = one
	delete(s.strangers, one.id.AccessKey)
}

// stranger remembers that an access key is nobody's.
func (s *sessions) stranger(accessKey string, asked register.Instant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, accessKey)
	makeRoom(s.strangers, accessKey, maxStrangers)
	s.strangers[accessKey] = asked
}

func makeRoom[V any](m map[string]V, key string, limit int) {
	if _, ok := m[key]; ok || len(m) < limit {
		return
	}
	for old := range m {
		delete(m, old)
		return
	}
}

// put stores a session. ErrInvalid if its access key was issued before,
// ErrUnavailable.
func (s *sessions) put(ctx context.Context, id Identity) error {
	id.Expires = id.Expires.Truncate(time.Second)
	data, err := json.Marshal(id.wire())
	if err != nil {
		return fmt.Errorf("encode session: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	sent := s.clock.Now()
	err = s.objects.PutNote(ctx, sessionKind, sessionName(id.AccessKey), data, nil)
	switch {
	case errors.Is(err, system.ErrConflict):
		return fmt.Errorf("%w: the session %q exists already", ErrInvalid, id.AccessKey)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	s.keep(session{id: &id, read: sent})
	return nil
}

// remove ends a session. ErrUnavailable.
func (s *sessions) remove(ctx context.Context, accessKey string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if _, err := s.objects.Delete(ctx, sessionName(accessKey), nil); err != nil && !errors.Is(err, system.ErrNotFound) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	s.stranger(accessKey, s.clock.Now())
	return nil
}

// sweep removes the notes of sessions that ended before a time.
func (s *sessions) sweep(ctx context.Context, before time.Time, dryRun bool, report func(what, name string)) error {
	after := ""
	for {
		notes, more, err := s.objects.ListNotes(ctx, sessionPrefix, after)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		for _, n := range notes {
			after = n.Name
			data, err := s.objects.OpenNote(ctx, sessionKind, n)
			if err != nil {
				s.log.Warn("a session's note cannot be opened; it is left alone", "name", n.Name, "error", err)
				continue
			}
			id, err := decodeSession(data)
			if err != nil || !id.expired(before) {
				continue
			}
			if !dryRun {
				if _, err := s.objects.Delete(ctx, n.Name, nil); err != nil {
					return fmt.Errorf("%w: %w", ErrUnavailable, err)
				}
			}
			report("session", id.AccessKey)
		}
		if !more || len(notes) == 0 {
			return nil
		}
	}
}
