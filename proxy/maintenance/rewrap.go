package maintenance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/inventory"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/progress"
	"github.com/bucketseal/bucketseal/proxy/rekey"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/register"
	"github.com/bucketseal/bucketseal/sse"
)

const (
	// rewrappers bounds the objects whose keys are sealed at a time.
	rewrappers = 16
	// rewrapTries and rewrapPause are how often, and how long after, one object is tried
	// again where what failed may pass.
	rewrapTries = 5
	rewrapPause = 200 * time.Millisecond
	// uploadsAtOnce is how many uploads are done before it is noted.
	uploadsAtOnce = 100
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
	// is left alone where it chooses: uploads under way, and system objects. It is asked more
	// than once about an object, the last time before its turn. Its error is reported as the
	// object's.
	Only func(context.Context, *Candidate) (bool, error)
	// Prefix begins the keys of objects, "" for all.
	Prefix string
	// Resume names what Only chooses, so that a run goes on where another one of the same name
	// was killed. "" with Only begins at the beginning.
	Resume string
	// Report is called for each object that is sealed anew, or could not be; never by two
	// at a time. Required.
	Report func(Rewrapped)
	// Progress is called after each page of a listing, of which the last objects may still be
	// sealed, and at the end of each bucket; never by two at a time. Nil for nobody.
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
// left alone, and where one was killed the next one goes on (see trail). Errors of one object
// are reported; what keeps the listing from being read ends it. The total counts what was seen
// on the last lap.
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
	if err := r.setOut(ctx); err != nil {
		return r.total, err
	}
	stop := r.trail.keepSaving(ctx)
	defer stop()
	for {
		if err := r.lap(ctx); err != nil {
			return r.total, err
		}
		if err := r.trail.close(ctx); err != nil {
			return r.total, err
		}
		if r.trail.enough(ctx) {
			break
		}
		r.again()
	}
	if err := r.obeyed(ctx); err != nil {
		return r.total, err
	}
	stop()
	r.trail.remove(ctx)
	return r.total, nil
}

// lap goes through all that is in scope, from where the trail is.
func (r *rewrap) lap(ctx context.Context) error {
	from, opened := r.trail.from()
	if from.Phase == progress.Ended {
		return nil
	}
	if from.Phase == progress.System {
		if err := r.system(ctx, from.After); err != nil {
			return err
		}
	}
	if r.o.Key == r.keeper.ownKey() {
		return nil
	}
	buckets, err := r.keeper.bucketsOf(ctx, r.o.Buckets)
	if err != nil {
		return err
	}
	for _, bucket := range buckets {
		if bucket < from.Bucket {
			continue
		}
		at := progress.Place{Phase: progress.Uploads, Bucket: bucket}
		r.run = r.keeper.o.Rekeyed.Run(bucket)
		if bucket == from.Bucket {
			at = from
			if err := r.run.Resume(ctx, opened); err != nil {
				return err
			}
		}
		r.trail.enter(at, r.run)
		if err := r.end(ctx, r.bucket(ctx, at)); err != nil {
			return err
		}
	}
	return nil
}

// rewrap is a Rewrap on its way.
type rewrap struct {
	keeper *Keeper
	o      *Rewrap
	limit  *rate.Limiter
	// run is that of the bucket, and known when this process knew of the last one that ended.
	run   *rekey.Run
	known register.Instant
	trail trail

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
	if known, ok := r.newest[kmsKey]; ok { // by somebody else meanwhile: a run goes by one version
		return known, nil
	}
	r.newest[kmsKey] = version
	return version, nil
}

// looked is a page of a listing with the wraps of its objects.
type looked struct {
	listed
	// bySeal has what may be sealed anew, nil for what may not, in the order of the page.
	bySeal []*sealedOnce
}

// listed is a page of a listing, and the place behind it, zero at the end.
type listed struct {
	page []scanned
	next inventory.Place
}

// bucket does a bucket from a place on. Three things are done at a time, each with a page of its own: the storage
// lists one, the wraps of the one before are read, and the one before that is sealed. What was
// listed is sealed also where the next page cannot be had. Uploads come first: one that ends
// meanwhile is an object before it is no upload any more, and has the same record.
func (r *rewrap) bucket(ctx context.Context, at progress.Place) error {
	bucket, from := at.Bucket, inventory.Place{}
	if at.Phase == progress.Versions {
		from = inventory.Place{Key: at.After, Version: at.Version}
	} else if err := r.uploads(ctx, bucket, at.After); err != nil {
		return err
	}
	ahead, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pages, found := make(chan listed), make(chan looked)
	var group errgroup.Group
	group.Go(func() error {
		defer close(pages)
		return r.keeper.scan(ahead, bucket, from, r.trail.pageSize(), func(page []scanned, next inventory.Place) error {
			return hand(ahead, pages, listed{page, next})
		})
	})
	group.Go(func() error {
		defer close(found)
		for page := range pages {
			l, err := r.wraps(ahead, bucket, page)
			if err == nil {
				err = hand(ahead, found, l)
			}
			if err != nil {
				cancel(err)
				return err
			}
		}
		return nil
	})
	err := sealing(func(s *errgroup.Group) error {
		for l := range found {
			if err := r.page(ctx, s, l); err != nil {
				cancel(err)
				return err
			}
			r.progress()
		}
		return nil
	})
	failed := group.Wait()
	if cause := context.Cause(ahead); cause != nil {
		err = cause
	} else if err == nil {
		err = failed
	}
	r.progress()
	return err
}

// wraps reads the wraps of a page.
func (r *rewrap) wraps(ctx context.Context, bucket string, of listed) (looked, error) {
	l := looked{of, make([]*sealedOnce, len(of.page))}
	var all []*sealedOnce
	for i := range of.page {
		if s := &of.page[i]; s.err == nil && s.record != nil && s.record.Mode != sse.ModeC && strings.HasPrefix(s.Name.Key, r.o.Prefix) {
			l.bySeal[i] = &sealedOnce{
				WrapRef: manifest.WrapRef{Name: s.Name, Record: s.record.Digest()}, record: s.record,
				done: Rewrapped{Name: s.Name, Version: s.ID, Mode: s.record.Mode},
			}
			all = append(all, l.bySeal[i])
		}
	}
	return l, r.keeper.findWraps(ctx, bucket, all)
}

// page does a page of a listing. It returns before all of it is sealed.
func (r *rewrap) page(ctx context.Context, to *errgroup.Group, l looked) error {
	var todo []*sealedOnce
	for i := range l.page {
		s := &l.page[i]
		wanted, err := r.wants(ctx, s, l.bySeal[i])
		if sealed.MayPass(err) {
			return err
		}
		if s.err = errors.Join(s.err, err); !wanted && s.err == nil {
			continue
		}
		switch {
		case s.err != nil:
			r.count(&r.total.Seen)
			r.report(Rewrapped{Name: s.Name, Version: s.ID, Err: s.err})
		case s.record == nil:
			r.count(&r.total.Seen, &r.total.Plain)
		case s.record.Mode == sse.ModeC:
			r.count(&r.total.Seen, &r.total.Customer)
		default:
			r.count(&r.total.Seen)
			todo = append(todo, l.bySeal[i])
		}
	}
	r.trail.expect(l.listed, todo)
	return r.all(ctx, to, todo)
}

// uploads does the uploads of a bucket that are under way, from behind a place of the ledger's.
func (r *rewrap) uploads(ctx context.Context, bucket, after string) error {
	var all []noted
	if r.o.Only == nil {
		err := r.keeper.o.Ledger.Uploads(ctx, bucket, r.o.Prefix, func(u *manifest.Upload) {
			if u.Place() > after {
				all = append(all, noted{upload: u})
			}
		})
		if err != nil {
			return err
		}
	}
	for some := range slices.Chunk(all, uploadsAtOnce) {
		if err := r.someUploads(ctx, some); err != nil {
			return err
		}
		r.trail.reach(progress.Place{Phase: progress.Uploads, Bucket: bucket, After: some[len(some)-1].upload.Place()})
	}
	r.trail.reach(progress.Place{Phase: progress.Versions, Bucket: bucket})
	return nil
}

func (r *rewrap) someUploads(ctx context.Context, uploads []noted) error {
	var todo []*sealedOnce
	for i := range uploads {
		u := &uploads[i]
		if err := r.keeper.lookUp(ctx, u); err != nil {
			return err
		}
		switch {
		case u.err != nil:
			r.count(&r.total.Seen)
			r.report(Rewrapped{Name: u.upload.Name(), Upload: u.upload.ID, Err: u.err})
		case u.sealed == nil:
			r.count(&r.total.Seen, &r.total.Plain)
		case u.sealed.record.Mode == sse.ModeC:
			r.count(&r.total.Seen, &r.total.Customer)
		default:
			r.count(&r.total.Seen)
			u.sealed.done = Rewrapped{Name: u.upload.Name(), Upload: u.upload.ID, Mode: u.sealed.record.Mode}
			todo = append(todo, u.sealed)
		}
	}
	return sealing(func(s *errgroup.Group) error { return r.all(ctx, s, todo) })
}

// sealing calls do with what seals some keys at a time, and waits for it.
func sealing(do func(*errgroup.Group) error) error {
	var group errgroup.Group
	group.SetLimit(rewrappers)
	err := do(&group)
	if failed := group.Wait(); err == nil {
		err = failed
	}
	return err
}

// all has what is in scope sealed. It returns before that is done.
func (r *rewrap) all(ctx context.Context, to *errgroup.Group, todo []*sealedOnce) error {
	if err := r.ensure(ctx, todo); err != nil {
		return err
	}
	for _, s := range todo {
		in, err := r.inScope(ctx, s)
		if err != nil {
			s.done.Err = err
			r.report(s.done)
		}
		if err != nil || !in {
			r.trail.done(s.mark)
			continue
		}
		if r.o.CountOnly {
			r.count(&r.total.Done)
			continue
		}
		if err := r.limit.Wait(ctx); err != nil {
			return err
		}
		if err := r.trail.soil(ctx); err != nil {
			return err
		}
		to.Go(func() error {
			s.done.Err = r.tries(ctx, s)
			r.report(s.done)
			if ctx.Err() == nil {
				r.trail.done(s.mark)
			}
			return ctx.Err()
		})
	}
	return nil
}

// inScope says whether a key is to be sealed anew. Who chose the object chooses again: it may
// lie under a KMS key by now that it may not be moved from.
func (r *rewrap) inScope(ctx context.Context, s *sealedOnce) (bool, error) {
	withheld := r.run.Check(ctx, s.WrapRef, s.record, s.wrap)
	if errors.Is(withheld, keyring.ErrWithheld) && !s.anew { // or it was re-keyed since it was listed
		return r.look(ctx, s)
	}
	as := keyring.SealingAs(s.Name, s.record, s.wrap).Encryption()
	s.done.Mode, s.done.FromKey, s.done.FromVersion = as.Mode, as.KMSKey, as.KMSKeyVersion
	if r.o.Key != "" && s.done.FromKey != r.o.Key {
		return false, nil
	}
	switch err := withheld; {
	case errors.Is(err, keyring.ErrWithheld) && r.o.To != "":
	case errors.Is(err, keyring.ErrWithheld):
		return false, fmt.Errorf("%w; with --to its key is sealed anew, as its record says", err)
	case err != nil:
		return false, err
	}
	if r.o.Only != nil {
		if chosen, err := r.chosen(ctx, s); err != nil || !chosen {
			return false, err
		}
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

// tries seals one key, several times where what fails may pass.
func (r *rewrap) tries(ctx context.Context, s *sealedOnce) error {
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
		if !errors.Is(err, rekey.ErrStale) {
			sealed.Doubt(ctx)
		}
		return err
	}
	return sealed.Confirm(ctx)
}

// count counts one, in each of some counters.
func (r *rewrap) count(in ...*int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range in {
		*n++
	}
}

func (r *rewrap) progress() {
	if r.o.Progress == nil {
		return
	}
	r.mu.Lock()
	total := r.total
	r.mu.Unlock()
	r.o.Progress(total)
}

func (r *rewrap) report(done Rewrapped) {
	if done.Err != nil {
		r.trail.changed()
	}
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
