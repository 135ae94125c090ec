package takeover

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/inventory"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// taking is one version that is taken over.
type taking struct {
	*pass
	version *inventory.Version
	age     time.Time
}

// taken is what became of it.
type taken struct {
	size    int64
	newETag bool
}

// tries is how often an object is tried that cannot be reached, and firstPause how long
// before the second time; each pause is twice the one before.
const (
	tries      = 6
	firstPause = 250 * time.Millisecond
)

// patiently is run, again and again where the storage or the key service cannot be reached.
func (t *taking) patiently(ctx context.Context) (done taken, err error) {
	pause := firstPause
	for n := 1; ; n++ {
		done, err = t.run(ctx)
		var answer *storage.Error
		passes := errors.As(err, &answer) && answer.Status >= 500 || sealed.MayPass(err)
		if !passes || n == tries || ctx.Err() != nil {
			return done, err
		}
		select {
		case <-ctx.Done():
			return done, context.Cause(ctx)
		case <-time.After(pause):
			pause *= 2
		}
	}
}

// name names the object in errors.
func (t *taking) name() string {
	return fmt.Sprintf("%s/%s version %s", t.version.Name.Bucket, t.version.Name.Key, t.version.ID)
}

// get asks for the version as it was listed.
func (t *taking) get() *storage.Get {
	return &storage.Get{Name: t.version.Name, Version: t.version.ID, IfMatch: t.version.ETag, Checksums: true}
}

// readsLock refuses a version whose retention MinIO would hide, and that would lose it.
func (t *taking) readsLock(ctx context.Context) error {
	if !t.locks {
		return nil
	}
	err := t.at.ReadsLock(ctx, &storage.Get{Name: t.version.Name, Version: t.version.ID})
	if errors.Is(err, storage.ErrForbidden) {
		return leave(Refused, "it cannot be told whether it is locked, without s3:GetObjectRetention and s3:GetObjectLegalHold: %w", err)
	}
	return err
}

// look says whether the version could be taken over.
func (t *taking) look(ctx context.Context) error {
	if err := t.readsLock(ctx); err != nil {
		return err
	}
	info, err := t.at.Head(ctx, t.get())
	if err != nil {
		return sealed.AsChanged(err)
	}
	_, err = t.judge(info)
	return err
}

// run takes the version over. sealed.ErrChanged if it is another one than was listed; a
// *leaving.
func (t *taking) run(ctx context.Context) (done taken, err error) {
	asked, err := t.taker.o.Encryption.Default(ctx, t.version.Name.Bucket)
	if err != nil {
		return done, err
	}
	if asked.Mode == sse.ModeNone {
		return done, leave(NotEncrypted, "the bucket has no rule, and auto_encryption is off")
	}
	asked.OpaqueETag = false // clients have the MD5, and it is computed to be compared
	if err := t.readsLock(ctx); err != nil {
		return done, err
	}
	parts, err := t.layout(ctx)
	if err != nil {
		return done, err
	}
	key, err := t.taker.o.Keys.Make(ctx, keyring.Operator(), t.version.Name, asked)
	if err != nil {
		return done, err
	}
	defer key.Zero()
	s := newSealing(key, parts, asked.Mode)
	defer s.close()
	info, err := t.read(ctx, s)
	if err != nil {
		return done, err
	}
	meta, err := t.keep(ctx, info, s.file != nil)
	if err != nil {
		return done, err
	}
	if err := t.write(ctx, s, meta); err != nil {
		return done, err
	}
	return taken{s.size, sealed.ETag(&key.Record, &s.facts, s.stored) != t.version.ETag}, nil
}

// layout returns the parts that the version was put together from, nil for none.
func (t *taking) layout(ctx context.Context) ([]sse.Part, error) {
	_, number, isOfParts := strings.Cut(strings.Trim(t.version.ETag, `"`), "-")
	n, err := strconv.Atoi(number)
	if !isOfParts || err != nil || n < 1 || n > sse.MaxParts || t.version.Size == 0 {
		return nil, nil
	}
	listed, err := t.at.ObjectParts(ctx, &storage.Get{Name: t.version.Name, Version: t.version.ID})
	if err != nil {
		return nil, err
	}
	return partsOf(listed, n, t.version.Size), nil
}

// partsOf returns an object's parts, nil if what is said of them cannot be. Of an object that
// MinIO encrypted it says their lengths after that.
func partsOf(listed []storage.ObjectPart, n int, size int64) []sse.Part {
	if len(listed) != n {
		return nil
	}
	for _, length := range []func(int64) (int64, bool){
		func(stored int64) (int64, bool) { return stored, stored >= 0 },
		func(stored int64) (int64, bool) { n, err := sse.PlainSize(stored); return n, err == nil },
	} {
		parts, sum := make([]sse.Part, n), int64(0)
		for i, p := range listed {
			plain, ok := length(p.Size)
			if !ok || p.Number < 1 || p.Number > sse.MaxParts || i > 0 && p.Number <= listed[i-1].Number {
				sum = -1
				break
			}
			parts[i] = sse.Part{Number: uint32(p.Number), PlainSize: plain} //nolint:gosec // 1 to 10,000
			sum += plain
		}
		if sum == size {
			return parts
		}
	}
	return nil
}

// judge says whether what the storage says of the version lets it be taken over. It returns
// the headers that keep its retention.
func (t *taking) judge(info *storage.Info) (storage.Metadata, error) {
	switch class := info.Meta.Get(storageClass); {
	case !info.Modified.Equal(t.version.Modified.Truncate(time.Second)):
		return nil, fmt.Errorf("it was last modified at %v: %w", info.Modified, sealed.ErrChanged)
	case len(info.Reserved) > 0:
		return nil, sealed.ErrChanged
	case info.Meta.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") != "":
		return nil, &leaving{reason: CustomerKey}
	case class != "" && class != "STANDARD" && class != "REDUCED_REDUNDANCY":
		return nil, leave(Tier, "its data lie in %s", class)
	case info.Size < 0 || info.Size > sse.MaxPlainSize:
		return nil, leave(Refused, "an object of %d bytes", info.Size)
	}
	lock, err := t.lockOf(info.Meta)
	if err == nil && lock == nil && t.retains {
		err = leave(Retention, "the bucket would give it its default retention: clear that while objects are taken over")
	}
	return lock, err
}

const storageClass = "X-Amz-Storage-Class"

// read reads and seals the data, and returns what the storage says of them.
func (t *taking) read(ctx context.Context, s *sealing) (*storage.Info, error) {
	object, err := t.at.Get(ctx, t.get())
	if err != nil {
		return nil, sealed.AsChanged(err)
	}
	defer func() { _ = object.Close() }()
	switch {
	case object.Part:
		return nil, fmt.Errorf("a part of an object: %w", storage.ErrLied)
	case object.Size != t.version.Size:
		return nil, sealed.ErrChanged
	}
	if _, err := t.judge(&object.Info); err != nil {
		return nil, err
	}
	s.size, s.stored = object.Size, object.ETag
	s.expect(object.Meta)
	if err := s.open(t.order.Memory, t.order.Spool); err != nil {
		return nil, err
	}
	return &object.Info, s.seal(object)
}

// keptMeta is what is kept besides user metadata.
var keptMeta = [...]string{
	"Content-Type", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires",
	"X-Amz-Website-Redirect-Location", storageClass,
}

// keep returns the metadata that the sealed object is stored with: all that the version has.
// again looks once more, where that was said a while ago.
func (t *taking) keep(ctx context.Context, info *storage.Info, again bool) (storage.Metadata, error) {
	if again {
		var err error
		if info, err = t.at.Head(ctx, t.get()); err != nil {
			return nil, sealed.AsChanged(err)
		}
	}
	lock, err := t.judge(info)
	if err != nil {
		return nil, err
	}
	meta := make(storage.Metadata)
	for _, name := range keptMeta {
		if values := info.Meta.Values(name); len(values) > 0 {
			meta[name] = values
		}
	}
	for name, values := range info.Meta {
		if strings.HasPrefix(name, "X-Amz-Meta-") {
			meta[name] = storage.AsStored(values)
		}
	}
	for name, values := range lock {
		meta[name] = values
	}
	if n, _ := strconv.Atoi(info.Meta.Get("X-Amz-Tagging-Count")); n > 0 {
		tags, err := t.at.Tags(ctx, &storage.Get{Name: t.version.Name, Version: t.version.ID})
		if err != nil {
			return nil, err
		}
		values := make(url.Values, len(tags))
		for name, value := range tags {
			values.Set(name, value)
		}
		meta.Set("X-Amz-Tagging", values.Encode())
	}
	return meta, nil
}

// write stores what was sealed, if the version is still the one that was read.
func (t *taking) write(ctx context.Context, s *sealing, meta storage.Metadata) error {
	text, err := s.record()
	if err != nil {
		return err
	}
	if s.table != nil {
		ref := manifest.Ref{Name: t.version.Name, ID: s.key.Record.Manifest}
		if err := t.taker.o.Manifests.Put(ctx, ref, s.facts, s.table); err != nil {
			return err
		}
	}
	if err := s.key.Confirm(ctx); err != nil { // what is there must not be replaced by what nobody can read
		return err
	}
	body, err := s.body()
	if err != nil {
		return err
	}
	stored, err := t.at.Put(ctx, &storage.Put{
		Name: t.version.Name, Meta: meta, Record: text, Body: body, Conditions: storage.Conditions{IfMatch: t.version.ETag},
		Instead: &storage.Instead{Version: t.version.ID, Modified: t.age},
	})
	if err != nil {
		if storage.MayBeDone(err) {
			s.key.Doubt(ctx)
		}
		return t.refused(err)
	}
	if stored.Meta.Get("X-Amz-Server-Side-Encryption") != "" {
		return fmt.Errorf("%s: %w", t.name(), ErrEncryptedTwice)
	}
	s.stored = stored.ETag
	return nil
}

// refused tells what the storage's refusal of a write means.
func (t *taking) refused(err error) error {
	var answer *storage.Error
	switch {
	case errors.Is(err, storage.ErrPrecondition):
		return sealed.AsChanged(err)
	case errors.Is(err, storage.ErrLocked):
		return &leaving{Locked, err}
	case errors.As(err, &answer) && answer.Code == "InvalidArgument" && strings.Contains(answer.Message, "versioning not enabled"):
		return leave(Suspended, "MinIO replaces no versions of a bucket whose versioning is suspended: enable it while objects are taken over")
	}
	return err
}
