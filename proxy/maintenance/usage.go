package maintenance

import (
	"context"
	"time"

	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
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
}

// Used is one object, or one upload under way, and what its key lies under.
type Used struct {
	Name            sse.Name
	Version, Upload string
	Mode            sse.Mode
	KMSKey          string
	KMSKeyVersion   uint32
	// Size is in bytes, as the storage has it; 0 for an upload.
	Size int64
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

// Usage is what a scan found. What lies in the system bucket is counted by the bucket's name
// and no mode, in a scan of all buckets for all KMS keys or the one of the proxies. It says nothing of what was written after it began.
type Usage struct {
	Began, Ended time.Time
	// SystemBucket is the name that what the proxies keep for themselves is counted by.
	SystemBucket string
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
	u := &usage{keeper: k, o: o, Usage: &Usage{Began: time.Now(), SystemBucket: k.o.SystemBucket, Buckets: buckets, Counts: make(map[UsageKey]Count)}}
	for _, bucket := range buckets {
		err := k.scan(ctx, bucket, func(page []scanned) error { return u.page(ctx, bucket, page) })
		if err == nil {
			err = u.uploads(ctx, bucket)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(o.Buckets) == 0 && (o.Key == "" || o.Key == k.ownKey()) {
		if err := u.system(ctx); err != nil {
			return nil, err
		}
	}
	u.Ended = time.Now()
	return u.Usage, nil
}

// usage is a Usage on its way.
type usage struct {
	*Usage
	keeper *Keeper
	o      *UsageOf
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
		if bySeal[i] != nil {
			used.KMSKey, used.KMSKeyVersion = keyring.Under(s.record, bySeal[i].wrap)
		}
		u.count(used)
	}
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
		case one.sealed != nil:
			used.Mode = one.sealed.record.Mode
			used.KMSKey, used.KMSKeyVersion = keyring.Under(one.sealed.record, one.sealed.wrap)
		}
		u.count(used)
	}
	return nil
}

// system counts what lies in the system bucket.
func (u *usage) system(ctx context.Context) error {
	found, err := u.keeper.SystemUsage(ctx)
	if err != nil {
		return err
	}
	for under, n := range found.Counts {
		if u.o.Key == "" || u.o.Key == under.KMSKey {
			u.Counts[UsageKey{Bucket: u.keeper.o.SystemBucket, KMSKey: under.KMSKey, Version: under.Version}] = n
		}
	}
	for _, one := range found.Unknown {
		u.unknown(one)
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
	n := u.Counts[at]
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
