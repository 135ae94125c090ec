package maintenance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/rekey"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/register"
	"github.com/bucketseal/bucketseal/sse"
)

const (
	// rewrappers bounds the objects of a page whose keys are sealed at a time.
	rewrappers = 16
	// rewrapTries and rewrapPause are how often, and how long after, one object is tried
	// again where what failed may pass.
	rewrapTries = 5
	rewrapPause = 200 * time.Millisecond
)

// Rewrap says which objects' keys are sealed anew, and under which KMS key.
type Rewrap struct {
	// Buckets are patterns, none for all buckets.
	Buckets glob.Patterns
	// Key is the KMS key under which the objects lie now, "" for any.
	Key string
	// To is the KMS key under which they shall lie, "" for their own. It is its newest
	// version in any case.
	To string
	// OlderThan leaves alone what lies under this version of its KMS key, or under a newer
	// one; 0 stands for the newest.
	OlderThan uint32
	// Mode is how the objects shall be encrypted, SSE-S3 or SSE-KMS, with To; 0 leaves each as
	// it is.
	Mode sse.Mode
	// Rate bounds the objects per second; 0 is no bound.
	Rate float64
	// DryRun opens the keys and seals them, and stores nothing. CountOnly does not open them
	// either, and reports none of what it counts as done.
	DryRun, CountOnly bool
	// Only chooses among objects and their versions; nil for all of them. What is no object
	// is left alone where it chooses: uploads under way, and system objects. Its error is
	// reported as the object's.
	Only func(context.Context, *Candidate) (bool, error)
	// Prefix begins the keys of objects, "" for all.
	Prefix string
	// Report is called for each object that is sealed anew, or could not be; never by two
	// at a time. Required.
	Report func(Rewrapped)
	// Progress is called after each page of a listing; nil for nobody.
	Progress func(RewrapTotal)
}

// Rewrapped is one object's key that was sealed anew.
type Rewrapped struct {
	Name sse.Name
	// Version is the object's version id, "" if its bucket keeps none; Upload is the id of
	// an upload that is under way, "" for an object.
	Version, Upload string
	Mode            sse.Mode
	// FromKey and FromVersion are the KMS key under which it lay, ToKey and ToVersion that
	// under which it lies now.
	FromKey, ToKey         string
	FromVersion, ToVersion uint32
	// System says that it is no object of a client, but one of the system bucket.
	System bool
	// Err says why it was not done, nil if it was.
	Err error
}

// RewrapTotal counts what a re-wrap saw.
type RewrapTotal struct {
	// Seen are objects, all versions, and uploads under way; Plain those of them without
	// encryption, Customer those of SSE-C.
	Seen, Plain, Customer int64
	// Done were sealed anew, Failed were not.
	Done, Failed int64
	// System are objects of the system bucket, and SystemDone those of them that were sealed
	// anew. Failed counts these too.
	System, SystemDone int64
}

// Rewrap seals the keys of objects anew, of all their versions and of uploads that are under
// way. The objects stay as they are: what is written is a note in the system bucket. It may
// be ended at any time and done again, and by several at once: what lies where it shall is
// left alone. Errors of one object are reported; what keeps the listing from being read ends
// it.
func (k *Keeper) Rewrap(ctx context.Context, o *Rewrap) (RewrapTotal, error) {
	if err := k.o.Ready(ctx); err != nil {
		return RewrapTotal{}, err
	}
	r := &rewrap{keeper: k, o: o, newest: make(map[string]uint32), limit: rate.NewLimiter(rate.Inf, 1)}
	if o.Rate > 0 {
		r.limit = rate.NewLimiter(rate.Limit(o.Rate), 1)
	}
	if o.To != "" {
		if _, err := r.newestOf(ctx, o.To); err != nil {
			return r.total, err
		}
	}
	if err := r.system(ctx); err != nil || o.Key == k.ownKey() {
		return r.total, err
	}
	buckets, err := k.bucketsOf(ctx, o.Buckets)
	if err != nil {
		return r.total, err
	}
	for _, bucket := range buckets {
		r.run = k.o.Rekeyed.Run(bucket)
		err := k.scan(ctx, bucket, func(page []scanned) error { return r.page(ctx, bucket, page) })
		if err == nil {
			err = r.uploads(ctx, bucket)
		}
		if err := r.end(ctx, err); err != nil {
			return r.total, err
		}
	}
	return r.total, r.obeyed(ctx)
}

// rewrap is a Rewrap on its way.
type rewrap struct {
	keeper *Keeper
	o      *Rewrap
	limit  *rate.Limiter
	// run is that of the bucket, and known when this process knew of the last one that ended.
	run   *rekey.Run
	known register.Instant

	mu    sync.Mutex
	total RewrapTotal
	// newest are versions of KMS keys, as they were when first asked for.
	newest map[string]uint32
}

// newestOf returns the newest version of a KMS key.
func (r *rewrap) newestOf(ctx context.Context, kmsKey string) (uint32, error) {
	r.mu.Lock()
	version, known := r.newest[kmsKey]
	r.mu.Unlock()
	if known {
		return version, nil
	}
	info, err := r.keeper.o.KMS.DescribeKey(ctx, kmsKey)
	if err != nil {
		return 0, fmt.Errorf("describe KMS key %q: %w", kmsKey, err)
	}
	version = max(info.Version, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.newest[kmsKey] = version
	return version, nil
}

// page does a page of a listing.
func (r *rewrap) page(ctx context.Context, bucket string, page []scanned) error {
	var all, todo []*sealedOnce
	bySeal := make([]*sealedOnce, len(page))
	for i := range page {
		if s := &page[i]; s.err == nil && s.record != nil && s.record.Mode != sse.ModeC && strings.HasPrefix(s.Name.Key, r.o.Prefix) {
			bySeal[i] = &sealedOnce{
				WrapRef: manifest.WrapRef{Name: s.Name, Record: s.record.Digest()}, record: s.record,
				done: Rewrapped{Name: s.Name, Version: s.ID, Mode: s.record.Mode},
			}
			all = append(all, bySeal[i])
		}
	}
	if err := r.keeper.findWraps(ctx, bucket, all); err != nil {
		return err
	}
	for i := range page {
		s := &page[i]
		wanted, err := r.wants(ctx, s, bySeal[i])
		if sealed.MayPass(err) {
			return err
		}
		if s.err = errors.Join(s.err, err); !wanted && s.err == nil {
			continue
		}
		r.total.Seen++
		switch {
		case s.err != nil:
			r.report(Rewrapped{Name: s.Name, Version: s.ID, Err: s.err})
		case s.record == nil:
			r.total.Plain++
		case s.record.Mode == sse.ModeC:
			r.total.Customer++
		default:
			todo = append(todo, bySeal[i])
		}
	}
	err := r.all(ctx, todo)
	if r.o.Progress != nil {
		r.o.Progress(r.total)
	}
	return err
}

// uploads does the uploads of a bucket that are under way.
func (r *rewrap) uploads(ctx context.Context, bucket string) error {
	uploads, err := r.keeper.uploadsOf(ctx, bucket)
	if err != nil {
		return err
	}
	var todo []*sealedOnce
	for _, u := range uploads {
		if r.o.Only != nil || !strings.HasPrefix(u.upload.Key, r.o.Prefix) {
			continue
		}
		r.total.Seen++
		switch {
		case u.err != nil:
			r.report(Rewrapped{Name: u.upload.Name(), Upload: u.upload.ID, Err: u.err})
		case u.sealed == nil:
			r.total.Plain++
		case u.sealed.record.Mode == sse.ModeC:
			r.total.Customer++
		default:
			u.sealed.done = Rewrapped{Name: u.upload.Name(), Upload: u.upload.ID, Mode: u.sealed.record.Mode}
			todo = append(todo, u.sealed)
		}
	}
	return r.all(ctx, todo)
}

// all seals what is in scope, some at a time.
func (r *rewrap) all(ctx context.Context, todo []*sealedOnce) error {
	if err := r.ensure(ctx, todo); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(rewrappers)
	for _, s := range todo {
		in, err := r.inScope(ctx, s)
		if err != nil {
			s.done.Err = err
			r.report(s.done)
			continue
		}
		if !in {
			continue
		}
		if r.o.CountOnly {
			r.total.Done++
			continue
		}
		if err := r.limit.Wait(ctx); err != nil {
			return errors.Join(err, group.Wait())
		}
		group.Go(func() error {
			s.done.Err = r.again(ctx, s)
			r.report(s.done)
			return ctx.Err()
		})
	}
	return group.Wait()
}

// inScope says whether a key is to be sealed anew.
func (r *rewrap) inScope(ctx context.Context, s *sealedOnce) (bool, error) {
	as := keyring.SealingAs(s.Name, s.record, s.wrap).Encryption()
	s.done.Mode, s.done.FromKey, s.done.FromVersion = as.Mode, as.KMSKey, as.KMSKeyVersion
	if r.o.Key != "" && s.done.FromKey != r.o.Key {
		return false, nil
	}
	switch err := r.run.Check(ctx, s.WrapRef, s.record, s.wrap); {
	case errors.Is(err, keyring.ErrWithheld) && r.o.To != "":
		s.anew = true
	case errors.Is(err, keyring.ErrWithheld):
		return false, fmt.Errorf("%w; with --to its key is sealed anew, as its record says", err)
	case err != nil:
		return false, err
	}
	s.done.ToKey = r.o.To
	if s.done.ToKey == "" {
		s.done.ToKey = s.done.FromKey
	}
	otherMode := r.o.Mode != sse.ModeNone && r.o.Mode != as.Mode
	if otherMode {
		s.done.Mode = r.o.Mode
	}
	if s.anew || otherMode || s.done.ToKey != s.done.FromKey {
		return true, nil
	}
	newest, err := r.newestOf(ctx, s.done.ToKey)
	if err != nil {
		return false, err
	}
	if r.o.OlderThan > 0 {
		return s.done.FromVersion < min(r.o.OlderThan, newest), nil
	}
	return s.done.FromVersion < newest, nil
}

// again seals one key, several times where what fails may pass.
func (r *rewrap) again(ctx context.Context, s *sealedOnce) error {
	for try := 1; ; try++ {
		err := r.seal(ctx, s)
		if errors.Is(err, rekey.ErrStale) && try < rewrapTries {
			in, err := r.look(ctx, s)
			if err != nil || !in {
				return err
			}
			continue
		}
		if err == nil || try == rewrapTries || !sealed.MayPass(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rewrapPause << try):
		}
	}
}

// seal seals one key and stores that.
func (r *rewrap) seal(ctx context.Context, s *sealedOnce) error {
	newest, err := r.newestOf(ctx, s.done.ToKey)
	if err != nil {
		return err
	}
	sealed, err := r.keeper.o.Keys.Rewrap(ctx, s.Name, s.record, s.wrap, keyring.Target{Mode: r.o.Mode, KMSKey: s.done.ToKey, Version: newest})
	if err != nil {
		return err
	}
	s.done.ToVersion = sealed.Wrap.KMSKeyVersion
	if r.o.DryRun {
		return nil
	}
	if err := sealed.Confirm(ctx); err != nil {
		return err
	}
	if err := r.run.Put(ctx, s.WrapRef, s.record, s.wrap, sealed.Wrap, s.anew); err != nil {
		return err
	}
	return sealed.Confirm(ctx)
}

func (r *rewrap) report(done Rewrapped) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case done.Err != nil:
		r.total.Failed++
	case done.System:
		r.total.SystemDone++
	default:
		r.total.Done++
	}
	if audit := r.keeper.o.AuditRewrap; audit != nil && !r.o.DryRun {
		audit(done)
	}
	r.o.Report(done)
}
