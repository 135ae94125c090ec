package maintenance

import (
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
	for _, bucket := range slices.Clone(buckets) {
		if err := u.bucket(ctx, bucket); err != nil {
			return nil, err
		}
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
}

// bucket counts what a bucket has. Uploads come first: one that ends meanwhile is an object
// before it is no upload any more, so it is counted once at least. A bucket that goes
// meanwhile has nothing.
func (u *usage) bucket(ctx context.Context, bucket string) error {
	if err := u.uploads(ctx, bucket); err != nil {
		return err
	}
	pages := make(chan []scanned, 1) // the storage lists the next one meanwhile
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(pages)
		return u.keeper.walk(inner, bucket, func(page []scanned) error {
			select {
			case pages <- page:
				return nil
			case <-inner.Done():
				return context.Cause(inner)
			}
		})
	})
	group.Go(func() error {
		for page := range pages {
			if err := u.page(inner, bucket, page); err != nil {
				return err
			}
			if u.seen += int64(len(page)); u.o.Progress != nil {
				u.o.Progress(u.seen)
			}
			if err := u.pace(inner, len(page)); err != nil {
				return err
			}
		}
		return nil
	})
	err := group.Wait()
	if !errors.Is(err, storage.ErrNoSuchBucket) {
		return err
	}
	maps.DeleteFunc(u.Counts, func(at UsageKey, _ Count) bool { return at.Bucket == bucket })
	u.Buckets = slices.DeleteFunc(u.Buckets, func(name string) bool { return name == bucket })
	return nil
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
	if err := u.keeper.findWraps(ctx, bucket, todo); err != nil {
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

func (u *usage) uploads(ctx context.Context, bucket string) error {
	uploads, err := u.keeper.uploadsOf(ctx, bucket)
	if err != nil {
		return err
	}
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
