package maintenance

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// maxUnknown bounds the objects that a Usage names because their records cannot be read.
const maxUnknown = 1000

// UsageOf says what is counted.
type UsageOf struct {
	// Buckets are patterns, none for all buckets.
	Buckets glob.Patterns
	// Key is the KMS key whose objects are counted, "" for all, and for what has none.
	Key string
	// Found is called for each object that is counted, in the order of the listing, uploads
	// last; nil for nobody.
	Found func(Used)
	// Rate bounds the objects per second; 0 is no bound.
	Rate float64
	// System has the proxies' own objects counted too.
	System bool
	// Progress is told after each page how many objects and uploads were seen; nil for nobody.
	Progress func(seen int64)
}

// Used is one object, or one upload under way, and what its key lies under. Where a wrap was
// written of which nobody noted that it counts, as by an update that was cut off, the object is
// Used twice: under what its record says, and, with Unnoted, under what that wrap says. It may
// be opened by either.
type Used struct {
	Name            sse.Name
	Version, Upload string
	Mode            sse.Mode
	KMSKey          string
	KMSKeyVersion   uint32
	// Size is in bytes, as the storage has it; 0 for an upload.
	Size    int64
	Unnoted bool
}

// UsageKey is what objects are counted by. KMSKey is "" and Version 0 for SSE-C and for
// plain objects.
type UsageKey struct {
	Bucket  string
	Mode    sse.Mode
	KMSKey  string
	Version uint32
}

// Count is how much lies under a version of a KMS key.
type Count struct {
	// Objects counts all versions, Bytes what the storage has of them, Uploads those under
	// way.
	Objects, Bytes, Uploads int64
}

// Usage is what a scan found. It says nothing of what was written after it began.
type Usage struct {
	Began, Ended time.Time
	// Buckets are those that were scanned.
	Buckets []string
	Counts  map[UsageKey]Count
	// Unknown are objects whose records cannot be read: they may lie under any key. At most
	// 1,000 are named.
	Unknown      []Unknown
	UnknownCount int64
	// System are the proxies' own objects, nil if nobody asked for them.
	System *SystemUsage
}

// Unknown is an object of which it cannot be told what its key lies under.
type Unknown struct {
	Name    sse.Name
	Version string
	Err     error
}

// Usage counts objects, all their versions, and uploads under way by the KMS keys that their
// keys lie under. No key is opened for it.
func (k *Keeper) Usage(ctx context.Context, o *UsageOf) (*Usage, error) {
	if err := k.o.Ready(ctx); err != nil {
		return nil, err
	}
	buckets, err := k.bucketsOf(ctx, o.Buckets)
	if err != nil {
		return nil, err
	}
	u := &usage{keeper: k, o: o, Usage: &Usage{Began: time.Now(), Buckets: buckets, Counts: make(map[UsageKey]Count)}}
	if o.Rate > 0 {
		u.burst = max(1, min(int(o.Rate), maxPage))
		u.limit = rate.NewLimiter(rate.Limit(o.Rate), u.burst)
	}
	if err := u.run(ctx); err != nil {
		return nil, err
	}
	u.Ended = time.Now()
	return u.Usage, nil
}

// maxPage is the number of versions that a page of a listing has at most.
const maxPage = 1000

// maxCounts bounds what is counted apart: records that MinIO plants can name any key. What is
// beyond is counted as unknown.
const maxCounts = 100_000

var errManyKeys = errors.New("there are too many KMS keys, versions and buckets to count them apart")

// usage is a Usage on its way.
type usage struct {
	*Usage
	keeper *Keeper
	o      *UsageOf
	limit  *rate.Limiter // nil for none
	burst  int
	seen   int64
	walk   *wrapWalk // of the system bucket, nil if it is not counted
}

// counting is what is counted at once: uploads of a bucket, or a page of its versions. gone says that
// there is no such bucket any more.
type counting struct {
	bucket  string
	uploads []noted
	page    []scanned
	gone    bool
}

// run counts everything. The storage lists the next page of a bucket, and of the system bucket,
// while one is counted.
func (u *usage) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	all, notes := make(chan counting), make(chan []system.Note)
	if u.o.System {
		u.System = &SystemUsage{Counts: make(map[SystemUnder]Count)}
		u.walk = &wrapWalk{keeper: u.keeper, pages: notes, passed: u.countNote, ahead: make(map[manifest.WrapRef]system.Note)}
		group.Go(func() error {
			defer close(notes)
			return u.keeper.eachNote(ctx, "", func(page []system.Note) error { return hand(ctx, notes, page) })
		})
	}
	group.Go(func() error {
		defer close(all)
		for _, bucket := range inOrderOfNames(u.Buckets) {
			if err := u.list(ctx, bucket, all); err != nil {
				return err
			}
		}
		return nil
	})
	group.Go(func() error {
		for one := range all {
			if err := u.add(ctx, one); err != nil {
				return err
			}
		}
		if u.walk == nil {
			return context.Cause(ctx)
		}
		return u.walk.pass(ctx, "")
	})
	return group.Wait()
}

// inOrderOfNames has buckets in the order in which their objects' wraps lie.
func inOrderOfNames(buckets []string) []string {
	return slices.SortedFunc(slices.Values(buckets), func(a, b string) int { return cmp.Compare(a+"/", b+"/") })
}

// list hands over what a bucket has. Uploads come first: one that ends meanwhile is an object
// before it is no upload any more, so it is counted once at least.
func (u *usage) list(ctx context.Context, bucket string, to chan<- counting) error {
	uploads, err := u.keeper.uploadsOf(ctx, bucket)
	if err == nil {
		err = hand(ctx, to, counting{bucket: bucket, uploads: uploads})
	}
	if err != nil {
		return err
	}
	err = u.keeper.walk(ctx, bucket, func(page []scanned) error { return hand(ctx, to, counting{bucket: bucket, page: page}) })
	if errors.Is(err, storage.ErrNoSuchBucket) {
		err = hand(ctx, to, counting{bucket: bucket, gone: true})
	}
	return err
}

// add counts one thing. A bucket that went meanwhile has nothing.
func (u *usage) add(ctx context.Context, one counting) error {
	if one.gone {
		maps.DeleteFunc(u.Counts, func(at UsageKey, _ Count) bool { return at.Bucket == one.bucket })
		u.Buckets = slices.DeleteFunc(u.Buckets, func(name string) bool { return name == one.bucket })
		return nil
	}
	if err := u.uploads(ctx, one.uploads); err != nil {
		return err
	}
	if one.page == nil {
		return nil
	}
	if err := u.page(ctx, one.bucket, one.page); err != nil {
		return err
	}
	if u.seen += int64(len(one.page)); u.o.Progress != nil {
		u.o.Progress(u.seen)
	}
	return u.pace(ctx, len(one.page))
}

func (u *usage) pace(ctx context.Context, n int) error {
	for ; u.limit != nil && n > 0; n -= u.burst {
		if err := u.limit.WaitN(ctx, min(n, u.burst)); err != nil {
			return err
		}
	}
	return nil
}

func (u *usage) page(ctx context.Context, bucket string, page []scanned) error {
	var todo []*sealedOnce
	bySeal := make([]*sealedOnce, len(page))
	for i := range page {
		if s := &page[i]; s.err == nil && s.record != nil && s.record.Mode != sse.ModeC {
			bySeal[i] = &sealedOnce{WrapRef: manifest.WrapRef{Name: s.Name, Record: s.record.Digest()}, record: s.record}
			todo = append(todo, bySeal[i])
		}
	}
	if err := u.findWraps(ctx, bucket, todo); err != nil {
		return err
	}
	for i := range page {
		s := &page[i]
		if s.err != nil {
			u.unknown(Unknown{s.Name, s.ID, s.err})
			continue
		}
		used := Used{Name: s.Name, Version: s.ID, Size: s.Size}
		if s.record != nil {
			used.Mode = s.record.Mode
		}
		if err := u.countSealed(ctx, used, bySeal[i]); err != nil {
			return err
		}
	}
	return nil
}

func (u *usage) findWraps(ctx context.Context, bucket string, todo []*sealedOnce) error {
	if u.walk != nil {
		return u.walk.find(ctx, bucket, todo)
	}
	return u.keeper.findWraps(ctx, bucket, todo)
}

// countNote counts one of the proxies' own objects.
func (u *usage) countNote(ctx context.Context, n system.Note) error {
	return u.keeper.countSystem(ctx, u.System, n)
}

// countSealed counts an object, or upload, under all that its key lies under: s is nil where that
// is no KMS key.
func (u *usage) countSealed(ctx context.Context, used Used, s *sealedOnce) error {
	if s == nil {
		u.count(used)
		return nil
	}
	as, counts, err := u.keeper.asItIs(ctx, s)
	if sealed.MayPass(err) {
		return err
	}
	if err != nil {
		u.unknown(Unknown{used.Name, used.Version, err})
		return nil
	}
	used.Mode, used.KMSKey, used.KMSKeyVersion = as.Mode, as.KMSKey, as.KMSKeyVersion
	u.count(used)
	if s.wrap == nil || counts || s.wrap.KMSKey == as.KMSKey && s.wrap.KMSKeyVersion == as.KMSKeyVersion {
		return nil
	}
	as = s.wrap.Encryption(s.record)
	used.Mode, used.KMSKey, used.KMSKeyVersion, used.Unnoted = as.Mode, as.KMSKey, as.KMSKeyVersion, true
	u.count(used)
	return nil
}

func (u *usage) uploads(ctx context.Context, uploads []noted) error {
	for _, one := range uploads {
		used := Used{Name: one.upload.Name(), Upload: one.upload.ID}
		switch {
		case one.err != nil:
			u.unknown(Unknown{used.Name, "", one.err})
			continue
		case one.sealed != nil && one.sealed.record.Mode == sse.ModeC:
			used.Mode, one.sealed = sse.ModeC, nil
		}
		if err := u.countSealed(ctx, used, one.sealed); err != nil {
			return err
		}
	}
	return nil
}

func (u *usage) unknown(one Unknown) {
	u.UnknownCount++
	if len(u.Unknown) < maxUnknown {
		u.Unknown = append(u.Unknown, one)
	}
}

func (u *usage) count(used Used) {
	if u.o.Key != "" && used.KMSKey != u.o.Key {
		return
	}
	at := UsageKey{used.Name.Bucket, used.Mode, used.KMSKey, used.KMSKeyVersion}
	n, there := u.Counts[at]
	if !there && len(u.Counts) >= maxCounts {
		u.unknown(Unknown{used.Name, used.Version, errManyKeys})
		return
	}
	if used.Upload == "" {
		n.Objects++
		n.Bytes += used.Size
	} else {
		n.Uploads++
	}
	u.Counts[at] = n
	if u.o.Found != nil {
		u.o.Found(used)
	}
}
