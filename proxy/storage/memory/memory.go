// Package memory is an object storage in memory, for tests: storage.Storage with all
// that its contract promises, and the system bucket on top of it. It needs no network
// and no disk, and it fails on purpose: see Faults for calls that break off, come too
// late or wait for each other, and the methods Flip, Swap, RollBack, Hide and Alter for
// a storage that lies.
//
// Nothing in it is random: the same calls in the same order give the same ids.
package memory

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// Options change what a Storage is like. The zero value is a storage that can do
// everything, and takes parts of any size.
type Options struct {
	// Now is its clock; nil is time.Now. Advance moves it further.
	Now func() time.Time
	// MinPart is the smallest size in bytes of every part but the last, 5 MiB at most
	// storages; 0 for any size.
	MinPart int64
	// Plain takes the capabilities away: listings are without metadata then.
	Plain bool
}

// Storage is an object storage in memory. It is safe for concurrent use.
type Storage struct {
	o Options

	mu      sync.Mutex
	buckets map[string]*bucket
	uploads map[string]*upload
	ahead   time.Duration // of Options.Now
	faults  Faults
	rights  func(*Call) error
	calls   int      // so far
	ids     uint64   // that were given so far
	late    []func() // calls that were not carried out yet
}

// New returns a storage without buckets.
func New(o Options) *Storage {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Storage{o: o, buckets: make(map[string]*bucket), uploads: make(map[string]*upload)}
}

// As implements storage.Storage.
func (s *Storage) As(a storage.Actor) storage.Backend { return s.Seen("").As(a) }

// Own implements storage.Storage.
func (s *Storage) Own(a storage.Actor) storage.Backend { return s.Seen("").Own(a) }

// Capabilities implements storage.Storage.
func (s *Storage) Capabilities() storage.Capabilities {
	return storage.Capabilities{
		ListsMetadata: !s.o.Plain, KeepsCreationDates: !s.o.Plain, PredictsETags: true, ConditionsInVersions: true, ReplacesVersions: true,
		RecordBytes: math.MaxInt, Checksums: kept(), Secure: !s.o.Plain,
	}
}

// Seen returns the storage as it is seen from somewhere: the calls that come through it
// have that in Call.From. So the calls of several proxies can be told apart.
func (s *Storage) Seen(from string) *View { return &View{s, from} }

// View is a Storage as it is seen from somewhere.
type View struct {
	s    *Storage
	from string
}

// As implements storage.Storage.
func (v *View) As(a storage.Actor) storage.Backend {
	return &backend{s: v.s, from: v.from, actor: a}
}

// Own implements storage.Storage.
func (v *View) Own(a storage.Actor) storage.Backend {
	a.Credential = nil
	return storage.ForOwn(&backend{s: v.s, from: v.from, actor: a, own: true})
}

// Capabilities implements storage.Storage.
func (v *View) Capabilities() storage.Capabilities { return v.s.Capabilities() }

// backend is the storage as one actor sees it.
type backend struct {
	s     *Storage
	from  string
	actor storage.Actor
	own   bool
}

// Clock returns the storage's time.
func (s *Storage) Clock(context.Context) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now(), nil
}

// Advance moves the storage's clock.
func (s *Storage) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
}

func (s *Storage) now() time.Time { return s.o.Now().Add(s.ahead).UTC() }

// nextID returns a number that nothing else has.
func (s *Storage) nextID() uint64 {
	s.ids++
	return s.ids
}

// Versioning says what a bucket keeps of overwritten objects.
type Versioning int

// What buckets do. One that had versions once can only be suspended.
const (
	Unversioned Versioning = iota
	Versioned
	Suspended
)

// CreateBucket makes an empty bucket, which must not exist.
func (s *Storage) CreateBucket(name string, v Versioning) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buckets[name] != nil {
		return fail(409, "BucketAlreadyOwnedByYou", "the bucket exists")
	}
	s.buckets[name] = &bucket{name: name, created: s.now(), versioning: v}
	return nil
}

// SetVersioning changes what a bucket keeps from now on.
func (s *Storage) SetVersioning(name string, v Versioning) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.bucket(name)
	if err == nil {
		b.versioning = v
	}
	return err
}

// DeleteBucket removes a bucket with all that is in it. Its uploads stay, as they do at
// MinIO.
func (s *Storage) DeleteBucket(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.bucket(name)
	delete(s.buckets, name)
	return err
}

// CreationDates returns when each bucket was created.
func (s *Storage) CreationDates(context.Context) (map[string]time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dates := make(map[string]time.Time, len(s.buckets))
	for name, b := range s.buckets {
		dates[name] = b.created
	}
	return dates, nil
}

// bucket returns a bucket. storage.ErrNoSuchBucket.
func (s *Storage) bucket(name string) (*bucket, error) {
	if b := s.buckets[name]; b != nil {
		return b, nil
	}
	return nil, fail(404, "NoSuchBucket", "The specified bucket does not exist")
}

// fail returns an error as S3 answers it.
func fail(status int, code, format string, args ...any) *storage.Error {
	return &storage.Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...), Header: storage.Metadata{}}
}

// bucket is a bucket with its objects.
type bucket struct {
	name       string
	created    time.Time
	versioning Versioning
	objects    []*object // by their keys, those too that were deleted lately
	writes     uint64    // so far
}

// object is all that a bucket has under one key.
type object struct {
	key      string
	versions []*version // from the newest; those of another bucket than a versioned one are one
	past     []state    // what it was before, from the oldest
}

// state is what an object was until a write to its bucket, which is told by its number.
type state struct {
	until    uint64
	versions []*version
}

// keptStates bounds the past of one object.
const keptStates = 16

func (b *bucket) at(key string) (int, bool) {
	return slices.BinarySearchFunc(b.objects, key, func(o *object, key string) int { return strings.Compare(o.key, key) })
}

// versionsOf returns what there is under a key, from the newest.
func (b *bucket) versionsOf(key string) []*version {
	if i, ok := b.at(key); ok {
		return visible(b.objects[i].versions)
	}
	return nil
}

// current returns the newest version, which may be a delete marker; nil for none.
func (b *bucket) current(key string) *version {
	if all := b.versionsOf(key); len(all) > 0 {
		return all[0]
	}
	return nil
}

// visible leaves out what Hide hides.
func visible(all []*version) []*version {
	if !slices.ContainsFunc(all, func(v *version) bool { return v.hidden }) {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(v *version) bool { return v.hidden })
}

// set replaces what there is under a key.
func (b *bucket) set(key string, versions []*version) {
	i, ok := b.at(key)
	if !ok {
		b.objects = slices.Insert(b.objects, i, &object{key: key})
	}
	o := b.objects[i]
	b.writes++
	o.past = append(o.past, state{b.writes, o.versions})
	if len(o.past) > keptStates {
		o.past = slices.Delete(o.past, 0, len(o.past)-keptStates)
	}
	o.versions = versions
	if b.writes%keptDeleted == 0 {
		b.forgetDeleted()
	}
}

// keptDeleted is for how many writes a bucket remembers what was deleted.
const keptDeleted = 1024

func (b *bucket) forgetDeleted() {
	b.objects = slices.DeleteFunc(b.objects, func(o *object) bool {
		return len(o.versions) == 0 && o.past[len(o.past)-1].until+keptDeleted <= b.writes
	})
}

// add stores a new version and gives it its id.
func (b *bucket) add(s *Storage, key string, v *version) {
	v.modified, v.id = s.now(), nullVersion
	if b.versioning == Versioned {
		v.id = fmt.Sprintf("00000000-0000-4000-8000-%012x", s.nextID())
	}
	b.set(key, append([]*version{v}, b.without(key, v.id)...))
}

// without returns what there is under a key but for one version, and what is hidden.
func (b *bucket) without(key, id string) []*version {
	i, ok := b.at(key)
	if !ok {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(b.objects[i].versions), func(v *version) bool { return v.id == id })
}

// before returns what an object was a number of writes to its bucket ago.
func (o *object) before(writes uint64) []*version {
	for _, s := range o.past {
		if s.until > writes {
			return visible(s.versions)
		}
	}
	return visible(o.versions)
}
