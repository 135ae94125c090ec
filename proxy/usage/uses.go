package usage

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/system"
)

const (
	// maxUses bounds the versions of keys whose uses are remembered.
	maxUses = 10_000
	// FlushInterval is how often the uses of this process are shared, if there were any.
	FlushInterval = time.Minute
	// flushTimeout bounds one time.
	flushTimeout = 30 * time.Second
	// flushLag is how long after a use every process that runs has shared it.
	flushLag = 2 * FlushInterval
	// unstoredFor is how long a process seals under a KMS key without that being stored. One that
	// is killed takes no younger use with it than this.
	unstoredFor = 5 * time.Minute
)

// Use is when a version of a KMS key was last used, to the minute; zero is "not seen".
type Use struct {
	Generate time.Time `json:"generate,omitzero"`
	Decrypt  time.Time `json:"decrypt,omitzero"`
	// Wanted is when an object was last asked for that nothing but the version opens, while it was
	// retired.
	Wanted time.Time `json:"wanted,omitzero"`
}

// Latest is the later of both.
func (u Use) Latest() time.Time { return later(u.Generate, u.Decrypt) }

// Shared is what proxies know together of the uses of keys.
type Shared struct {
	// Uses has the last uses by key and version.
	Uses map[string]map[uint32]Use `json:"uses,omitempty"`
	// Late has, by key and version, when a proxy last acknowledged a write under a version
	// that was not the newest any more.
	Late map[string]map[uint32]time.Time `json:"late,omitempty"`
	// Beyond is the last use of what Uses has no room for: of any key.
	Beyond Use `json:"beyond,omitzero"`
}

// Last returns the last use of a version of a KMS key, or of all of them for 0.
func (s *Shared) Last(key string, version uint32) Use {
	if version != 0 {
		return s.Uses[key][version]
	}
	var last Use
	for _, use := range s.Uses[key] {
		last = last.and(use)
	}
	return last
}

// and has the later one of each.
func (u Use) and(o Use) Use {
	return Use{later(u.Generate, o.Generate), later(u.Decrypt, o.Decrypt), later(u.Wanted, o.Wanted)}
}

// KeyUse is the last use of one version of a KMS key.
type KeyUse struct {
	Key     string
	Version uint32
	Use
}

// Of returns the last uses of a KMS key, of all for "", in order.
func (s *Shared) Of(key string) []KeyUse {
	var all []KeyUse
	for name, versions := range s.Uses {
		if key != "" && name != key {
			continue
		}
		for version, use := range versions {
			all = append(all, KeyUse{name, version, use})
		}
	}
	slices.SortFunc(all, func(a, b KeyUse) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Version, b.Version))
	})
	return all
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func parseShared(data []byte) (*Shared, error) {
	var s Shared
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrMalformed, err) //nolint:errorlint // of the parser
	}
	return &s, nil
}

// usedID is one version of a KMS key.
type usedID struct {
	key     string
	version uint32
}

// minutes are those of the last uses, since 1970. stored is the last of generate and decrypt that
// was shared.
type minutes struct{ generate, decrypt, wanted, stored atomic.Int64 }

// latest is the last use.
func (m *minutes) latest() int64 { return max(m.generate.Load(), m.decrypt.Load()) }

// Uses notes when this process uses versions of KMS keys, and shares it with others now and
// then. A use costs no request, but for the first write in a while under a key that no setting
// names. It is a kms.Service in front of another. It is safe for concurrent use.
type Uses struct {
	kms.Service
	// objects is where they are shared; nil until Share.
	objects Objects
	ignored string
	named   atomic.Pointer[[]string]
	now     func() time.Time

	mu    sync.RWMutex
	seen  map[usedID]*minutes
	dirty atomic.Bool
	// beyond is of all that there is no room for in seen.
	beyond minutes

	// late are writes under versions that are not the newest any more. They are stored
	// before they are acknowledged; writes that wait for a store at once share the next one.
	lateMu  sync.Mutex
	late    map[usedID]time.Time
	lateSeq uint64
	// sharing has room for who writes the document. Others wait, no longer than they are waited for:
	// a storage may take minutes. stored is the lateSeq that is in it.
	sharing chan struct{}
	stored  uint64
}

// NewUses returns what notes the uses of a service. The uses of the key ignored are noted and
// do not make anything stored: what is stored is sealed under it. named is for Name.
func NewUses(service kms.Service, ignored string, named ...string) *Uses {
	u := &Uses{Service: service, ignored: ignored, now: time.Now, seen: make(map[usedID]*minutes), late: make(map[usedID]time.Time), sharing: make(chan struct{}, 1)}
	u.Name(named...)
	return u
}

// Name says which keys are not deleted now, because settings name them: what is written under
// others waits until that is stored.
func (u *Uses) Name(keys ...string) { u.named.Store(&keys) }

// ShareIn says where uses are shared. It is called once, before the first use.
func (u *Uses) ShareIn(objects Objects) { u.objects = objects }

// GenerateDEK implements kms.Service. Errors are also those of Objects.
func (u *Uses) GenerateDEK(ctx context.Context, name string, encContext []byte) (kms.DEK, error) {
	dek, err := u.Service.GenerateDEK(ctx, name, encContext)
	if err != nil {
		return dek, err
	}
	used := u.of(name, max(dek.KeyVersion, 1))
	u.note(&used.generate, name)
	if err := u.storeSoon(ctx, name, used); err != nil {
		clear(dek.Plaintext[:])
		return kms.DEK{}, err
	}
	return dek, nil
}

// storeSoon stores the uses if what is stored of one is too old to keep the KMS key from being
// deleted, should this process be killed.
func (u *Uses) storeSoon(ctx context.Context, key string, used *minutes) error {
	old := func() bool {
		return time.Duration(used.latest()-used.stored.Load())*time.Minute >= unstoredFor
	}
	if u.objects == nil || key == u.ignored || slices.Contains(*u.named.Load(), key) || !old() {
		return nil
	}
	return u.shareUnless(ctx, func() bool { return !old() })
}

// shareUnless writes the document, once nobody else does, unless that is not needed any more then.
func (u *Uses) shareUnless(ctx context.Context, done func() bool) error {
	select {
	case u.sharing <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait to share the uses of KMS keys: %w", ctx.Err())
	}
	defer func() { <-u.sharing }()
	if done() {
		return nil
	}
	return u.share(ctx)
}

// DecryptDEK implements kms.Service. Past every cache it is asked before a write is acknowledged,
// which may have begun long ago: that use is stored as the one of GenerateDEK is, with its errors.
func (u *Uses) DecryptDEK(ctx context.Context, name string, ciphertext, encContext []byte) ([kms.DEKSize]byte, error) {
	dek, err := u.Service.DecryptDEK(ctx, name, ciphertext, encContext)
	if err != nil {
		return dek, err
	}
	used := u.of(name, kms.CiphertextVersion(ciphertext))
	u.note(&used.decrypt, name)
	if kms.IsUncached(ctx) {
		if err := u.storeSoon(ctx, name, used); err != nil {
			return [kms.DEKSize]byte{}, err
		}
	}
	return dek, nil
}

// Wanted notes that an object was asked for that nothing but a version opens, which is retired.
func (u *Uses) Wanted(key string, version uint32) { u.note(&u.of(key, version).wanted, key) }

func (u *Uses) of(key string, version uint32) *minutes {
	id := usedID{key, version}
	u.mu.RLock()
	m := u.seen[id]
	u.mu.RUnlock()
	if m != nil {
		return m
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if m = u.seen[id]; m != nil {
		return m
	}
	if len(u.seen) >= maxUses {
		return &u.beyond
	}
	m = new(minutes)
	u.seen[id] = m
	return m
}

func (u *Uses) note(minute *atomic.Int64, key string) {
	now := u.now().Unix() / 60
	if minute.Load() >= now { // nearly always: the cache line stays shared
		return
	}
	minute.Store(now)
	if key != u.ignored {
		u.dirty.Store(true)
	}
}

// Late notes a write under a version of a KMS key that is not the newest any more, and
// returns when that is stored: a scan that did not count the write then covers the version no
// more. Errors are those of Objects.
func (u *Uses) Late(ctx context.Context, key string, version uint32) error {
	u.lateMu.Lock()
	u.late[usedID{key, version}] = u.now().UTC()
	u.lateSeq++
	mine := u.lateSeq
	u.lateMu.Unlock()
	return u.shareUnless(ctx, func() bool { return u.stored >= mine })
}

// Flush shares what this process has used since the last time. Errors are those of Objects.
func (u *Uses) Flush(ctx context.Context) error {
	if !u.dirty.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	return u.shareUnless(ctx, func() bool { return false })
}

// share writes the document, with what this process knows in it.
func (u *Uses) share(ctx context.Context) error {
	if u.objects == nil {
		return nil
	}
	wasDirty := u.dirty.Swap(false)
	u.mu.RLock()
	shared := make(map[*minutes]int64, len(u.seen)+1)
	for _, m := range u.seen {
		shared[m] = m.latest()
	}
	shared[&u.beyond] = u.beyond.latest()
	u.mu.RUnlock()
	u.lateMu.Lock()
	seq, late := u.lateSeq, maps.Clone(u.late)
	u.lateMu.Unlock()
	err := u.merge(ctx, late)
	if err != nil {
		if wasDirty {
			u.dirty.Store(true)
		}
		return fmt.Errorf("share the uses of KMS keys: %w", err)
	}
	u.stored = seq
	for m, minute := range shared {
		m.stored.Store(minute)
	}
	return nil
}

func (u *Uses) merge(ctx context.Context, late map[usedID]time.Time) error {
	for try := 0; ; try++ {
		shared, etag, err := u.load(ctx)
		if err != nil && !errors.Is(err, ErrMalformed) {
			return err
		}
		u.addTo(shared, late)
		data, err := json.Marshal(shared)
		if err != nil {
			return err
		}
		_, err = u.objects.Put(ctx, usesKind, usesName, data, etag)
		if err == nil || !errors.Is(err, system.ErrConflict) || try == maxTries {
			return err
		}
	}
}

// load returns the document, an empty one if there is none or it is malformed.
func (u *Uses) load(ctx context.Context) (*Shared, string, error) {
	shared := &Shared{}
	data, etag, err := u.objects.Get(ctx, usesKind, usesName, "")
	switch {
	case errors.Is(err, system.ErrNotFound):
		err = nil
	case err == nil:
		var parsed *Shared
		if parsed, err = parseShared(data); err == nil {
			shared = parsed
		}
	}
	if shared.Uses == nil {
		shared.Uses = make(map[string]map[uint32]Use)
	}
	if shared.Late == nil {
		shared.Late = make(map[string]map[uint32]time.Time)
	}
	return shared, etag, err
}

// addTo adds what this process knows.
func (u *Uses) addTo(s *Shared, late map[usedID]time.Time) {
	for id, at := range late {
		if s.Late[id.key] == nil {
			s.Late[id.key] = make(map[uint32]time.Time)
		}
		s.Late[id.key][id.version] = later(s.Late[id.key][id.version], at)
	}
	u.mu.RLock()
	defer u.mu.RUnlock()
	s.Beyond = s.Beyond.and(u.beyond.use())
	for id, m := range u.seen {
		of := s.Uses[id.key]
		if of == nil {
			if len(s.Uses) >= maxUses {
				s.Beyond = s.Beyond.and(m.use())
				continue
			}
			of = make(map[uint32]Use)
			s.Uses[id.key] = of
		}
		of[id.version] = of[id.version].and(m.use())
	}
}

func (m *minutes) use() Use {
	return Use{at(m.generate.Load()), at(m.decrypt.Load()), at(m.wanted.Load())}
}

func at(minute int64) time.Time {
	if minute == 0 {
		return time.Time{}
	}
	return time.Unix(minute*60, 0).UTC()
}

// Shared returns what proxies know together, with what this process has seen. ErrMalformed,
// or errors of Objects.
func (u *Uses) Shared(ctx context.Context) (*Shared, error) {
	if u.objects == nil {
		return nil, ErrNoScan
	}
	shared, _, err := u.load(ctx)
	if err != nil {
		return nil, err
	}
	u.lateMu.Lock()
	late := maps.Clone(u.late)
	u.lateMu.Unlock()
	u.addTo(shared, late)
	return shared, nil
}

// Run shares the uses again and again until ctx ends. prune, if there is one, removes what
// earlier ones left, once in an hour. Whoever ends the process calls Flush after it.
func (u *Uses) Run(ctx context.Context, failed func(error), prune func(context.Context) error) {
	tick := time.NewTicker(FlushInterval)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := u.Flush(ctx)
		if err == nil && n%60 == 0 && prune != nil {
			err = prune(ctx)
		}
		if err != nil && ctx.Err() == nil {
			failed(err)
		}
	}
}
