package maintenance

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/proxy/progress"
	"github.com/bucketseal/bucketseal/proxy/rekey"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/system"
)

const (
	// saveEvery is how often a run stores how far it is, but for its first moments, when each pause
	// is twice as long as the one before, from firstSave on: it may not have many. A run of hours
	// does so every maxSaveEvery, so that its cursor has few versions.
	saveEvery, firstSave, maxSaveEvery = 500 * time.Millisecond, 50 * time.Millisecond, 10 * time.Second
	// firstPage is how many versions are listed first where a run was killed before.
	firstPage = 64
	// promptly is how soon after the last sign of life of a killed run another one must begin,
	// to count as the same one.
	promptly = 30 * time.Second
	// rewrapSettles is what Options.Settles is by default.
	rewrapSettles = 10 * time.Second
	// clocksDiffer bounds how much those of proxies do.
	clocksDiffer = 2 * time.Minute
	// storageClock is how exact that of the storage is.
	storageClock = time.Second
)

// trail is how far a re-wrap is. It is stored in a cursor, and the run after one that was killed
// goes on there.
//
// What lies behind the cursor was looked at by the killed runs. Something may have come there
// since. So a run that went on does not end at the end of the list: it goes through all of it
// once more, and a run that has begun a lap and ended it has looked at everything that was there
// when the run began.
//
// Where each run is killed before it has ended a lap that it began, none would ever end so. A lap
// that several runs went through one after the other is enough if the lap before found nothing
// to do either, nothing failed, each run began promptly after the one before, and no write under an older
// version of any KMS key was noted since the lap began, which all servers do that know of the
// newest one. What lies under a KMS key that is to be left altogether, as with Rewrap.To, clients
// may write while it runs in any case: then that lap counts from where it began.
type trail struct {
	keeper *Keeper
	// store is where the cursor lies, nil if none is kept.
	store *progress.Store
	// newest returns the versions of KMS keys that the run goes by. It has a lock of its own: nothing
	// is called with mu held.
	newest func() map[string]uint32
	every  time.Duration

	// saves is held while the cursor is stored, so that no older one is stored last.
	saves sync.Mutex

	mu     sync.Mutex
	cursor progress.Cursor
	marks  progress.Marks
	run    *rekey.Run // of cursor.Place.Bucket
	// resumed says that another run began this lap.
	resumed bool
	// careful says that a run was killed before this one.
	careful bool
	// ended says that this run ended the lap.
	ended bool
	// fetched is when the storage was asked for its time.
	fetched progress.Instant
	// moved says that the place is not the one that was stored last, stored that a cursor may be
	// there.
	moved, stored bool
	failing       bool // said once
}

// setOut reads the cursor, if there is one that still counts.
func (r *rewrap) setOut(ctx context.Context) error {
	t := &r.trail
	t.keeper, t.every = r.keeper, r.keeper.o.SaveEvery
	if t.every == 0 {
		t.every = saveEvery
	}
	t.cursor.Changed = true
	o := r.o
	if o.DryRun || o.CountOnly || o.Only != nil && o.Resume == "" {
		return nil
	}
	t.newest = func() map[string]uint32 {
		r.mu.Lock()
		defer r.mu.Unlock()
		newest := make(map[string]uint32, len(r.newest))
		for key, version := range r.newest {
			newest[key] = version
		}
		return newest
	}
	t.store = progress.Open(r.keeper.o.System, &progress.Scope{
		Buckets: o.Buckets, Prefix: []byte(o.Prefix), Key: o.Key, To: o.To, OlderThan: o.OlderThan, Mode: int(o.Mode), Filter: o.Resume,
	})
	c, err := t.store.Load(ctx)
	switch {
	case errors.Is(err, system.ErrNotFound):
		return nil
	case sealed.MayPass(err):
		return err
	case err != nil:
		t.stored = true
		r.keeper.o.Logger.Warn("the note of how far a re-wrap is cannot be read; it begins at the beginning", "error", err)
		return nil
	}
	t.stored = true
	for key, version := range c.Newest {
		if newest, err := r.newestOf(ctx, key); err != nil || newest != version {
			r.keeper.o.Logger.Info("a re-wrap was cut off, and its KMS key has another version by now; it begins at the beginning", "key", key)
			return nil
		}
	}
	return t.resume(ctx, c)
}

// resume goes on with a cursor.
func (t *trail) resume(ctx context.Context, c *progress.Cursor) error {
	now, err := t.now(ctx)
	if err != nil {
		return err
	}
	if least, most := now.Since(c.Saved); least < -2*storageClock || most > promptly { // the storage's clock has seconds
		c.Clean, c.Changed = 0, true
	}
	t.cursor, t.resumed, t.careful = *c, true, true
	t.keeper.o.Logger.Info("a re-wrap was cut off; it goes on where it was", "bucket", c.Place.Bucket, "behind", c.Place.After)
	return nil
}

// from returns where the lap goes on, and which KMS keys were opened there (see progress.Cursor).
func (t *trail) from() (at progress.Place, opened []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cursor.Place, t.cursor.Open
}

// pageSize is the size of the first page that is listed in a bucket, 0 for a full one. Where a run was
// killed others may be, soon: they shall come further than before.
func (t *trail) pageSize() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.careful {
		return firstPage
	}
	return 0
}

// close says that the lap has ended.
func (t *trail) close(ctx context.Context) error {
	if t.store == nil {
		return nil
	}
	now, err := t.now(ctx)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cursor.Place.Phase == progress.Ended { // when another run was here
		return nil
	}
	t.cursor.Place, t.cursor.Closed, t.moved, t.run, t.ended = progress.Place{Phase: progress.Ended}, now, true, nil, true
	return nil
}

// closed returns how long ago the lap ended, at least, if another run was there.
func (t *trail) closed() (ago time.Duration, before bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended || t.cursor.Place.Phase != progress.Ended {
		return 0, false
	}
	least, _ := t.passed().Since(t.cursor.Closed)
	return least - storageClock, true
}

// enough says, at the end of a lap, that no other one is needed.
func (t *trail) enough(ctx context.Context) bool {
	t.mu.Lock()
	c, resumed := t.cursor, t.resumed
	t.mu.Unlock()
	if !resumed {
		return true
	}
	late := t.keeper.o.LateWrite
	if least, _ := c.Lap.Since(c.Began); c.Changed || c.Clean == 0 || least < t.settles() || late == nil {
		return false
	}
	at, err := late(ctx)
	return err == nil && at.Before(c.Lap.Earlier().Add(-clocksDiffer))
}

func (t *trail) settles() time.Duration {
	if t.keeper.o.Settles > 0 {
		return t.keeper.o.Settles
	}
	return rewrapSettles
}

// again begins another lap.
func (r *rewrap) again() {
	r.mu.Lock()
	r.total = RewrapTotal{Done: r.total.Done, SystemDone: r.total.SystemDone}
	r.mu.Unlock()
	t := &r.trail
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cursor.Clean++; t.cursor.Changed {
		t.cursor.Clean = 0
	}
	t.resumed, t.ended, t.run, t.marks, t.cursor.Closed = false, false, nil, progress.Marks{}, progress.Instant{}
	t.cursor.Changed, t.cursor.Place, t.cursor.Open, t.cursor.Lap = false, progress.Place{}, nil, t.passed()
}

// enter says that a bucket begins, or goes on.
func (t *trail) enter(at progress.Place, run *rekey.Run) {
	t.mu.Lock()
	t.run = run
	t.mu.Unlock()
	t.reach(at)
}

// expect notes what is to be done of a page, and gives each its mark. A place is behind all
// versions of a key, but for the last one of a page, of which the next one may have more.
func (t *trail) expect(l listed, todo []*sealedOnce) {
	if t.store == nil {
		return
	}
	for i := 0; i < len(l.page); {
		raw, first := l.page[i].Raw, i
		at := progress.Place{Phase: progress.Versions, Bucket: l.page[i].Name.Bucket, After: raw}
		for ; i < len(l.page) && l.page[i].Raw == raw; i++ {
		}
		if i == len(l.page) && l.next.Key != "" {
			at.After, at.Version = l.next.Key, l.next.Version
		}
		n := 0
		for n < len(todo) && todo[n].Name == l.page[first].Name {
			n++
		}
		mark := t.marks.Add(at, n)
		for _, s := range todo[:n] {
			s.mark = mark
		}
		todo = todo[n:]
	}
	t.done(nil)
}

// done says that one more is done before a mark, nil for none.
func (t *trail) done(mark *progress.Mark) {
	if t.store == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, moved := t.marks.Done(mark); moved {
		t.cursor.Place, t.moved = at, true
	}
}

// reach says that everything before a place is done.
func (t *trail) reach(at progress.Place) {
	if t.store == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cursor.Place, t.moved = at, true
}

// keepSaving stores the cursor from time to time, until it is stopped.
func (t *trail) keepSaving(ctx context.Context) (stop func()) {
	if t.store == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		begun := time.Now()
		for pause := min(firstSave, t.every); ; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			t.mu.Lock()
			moved := t.moved
			t.mu.Unlock()
			if moved {
				_ = t.save(ctx) // it saves work only
				pause = max(min(2*pause, t.every), min(time.Since(begun)/20, maxSaveEvery))
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// changed says that something could not be done on this lap.
func (t *trail) changed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cursor.Changed = true
}

// soil says that something is about to be done on this lap. On a lap that found nothing so far
// that is stored before: should this run be killed, the next one must know.
func (t *trail) soil(ctx context.Context) error {
	t.mu.Lock()
	clean := !t.cursor.Changed
	t.cursor.Changed = true
	t.mu.Unlock()
	if !clean || t.store == nil {
		return nil
	}
	return t.save(ctx)
}

// save stores the cursor.
func (t *trail) save(ctx context.Context) error {
	t.saves.Lock()
	defer t.saves.Unlock()
	now, err := t.now(ctx)
	if err == nil {
		t.mu.Lock()
		c := t.cursor
		if c.Began.Ours.IsZero() {
			c.Began, c.Lap = now, now
			t.cursor.Began, t.cursor.Lap = now, now
		}
		c.Saved = now
		run := t.run
		t.stored, t.moved = true, false
		t.mu.Unlock()
		if c.Open = nil; run != nil && c.Place.Bucket != "" {
			c.Open = run.Opened()
		}
		c.Newest = t.newest() // of all keys before the place, which was read before
		err = t.store.Save(ctx, &c)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil && !t.failing && ctx.Err() == nil {
		t.failing = true
		t.keeper.o.Logger.Warn("how far a re-wrap is cannot be noted; if it is killed, the next one begins at an earlier place", "error", err)
	}
	return err
}

// now returns the time; the storage is asked once.
func (t *trail) now(ctx context.Context) (progress.Instant, error) {
	t.mu.Lock()
	asked := !t.fetched.Ours.IsZero()
	t.mu.Unlock()
	if !asked {
		theirs, err := t.keeper.o.Clock(ctx)
		if err != nil {
			return progress.Instant{}, err
		}
		t.mu.Lock()
		t.fetched = progress.Instant{Ours: time.Now(), Theirs: theirs}
		t.mu.Unlock()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.passed(), nil
}

// passed is now, once the storage was asked.
func (t *trail) passed() progress.Instant {
	passed := time.Since(t.fetched.Ours)
	return progress.Instant{Ours: t.fetched.Ours.Add(passed), Theirs: t.fetched.Theirs.Add(passed)}
}

// remove removes the cursor: the re-wrap has ended.
func (t *trail) remove(ctx context.Context) {
	if t.store == nil || !t.stored {
		return
	}
	if err := t.store.Remove(ctx); err != nil {
		t.keeper.o.Logger.Warn("the note of how far a re-wrap was cannot be removed; the next one goes on there, and lists everything once more", "error", err)
	}
}
