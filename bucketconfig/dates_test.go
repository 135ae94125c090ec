package bucketconfig

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/register/registertest"
)

// confirm lets the time pass after which another creation date is believed, and fails if it is believed earlier.
func confirm(t *testing.T, r *Rules, bucket string, bound Rule) {
	t.Helper()
	for range confirmAfter {
		wantRule(t, r, bucket, bound)
		time.Sleep(DefaultDatesInterval)
	}
}

// MinIO gives a directory's date, or none, where it cannot read a bucket's metadata for a while.
func TestAFalseCreationDateForAWhileTurnsNoRuleOff(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.set("b0", kmsRule("k"))
		r := w.process()
		wantRule(t, r, "b0", kmsRule("k"))
		for _, falsify := range []func(){
			func() { w.buckets.create("b0", time.Unix(5000, 0)) },
			func() { w.buckets.remove("b0") },
			func() { w.buckets.create("b0", time.Unix(0, 0)) },
		} {
			for range 20 { // each time for as long as a node takes to start
				falsify()
				for range 4 {
					time.Sleep(DefaultDatesInterval)
					wantRule(t, r, "b0", kmsRule("k"))
				}
				w.buckets.create("b0", time.Unix(1000, 0))
				time.Sleep(DefaultDatesInterval)
				wantRule(t, r, "b0", kmsRule("k"))
			}
		}
		for i := range 40 { // a directory's date changes with what is in it
			w.buckets.create("b0", time.Unix(5000+int64(i), 0))
			time.Sleep(DefaultDatesInterval)
			wantRule(t, r, "b0", kmsRule("k"))
		}
	})
}

func TestARuleStoredUnderAFalseCreationDateBinds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.buckets.create("b0", time.Unix(5000, 0))
		w.set("b0", kmsRule("k"))
		w.buckets.create("b0", time.Unix(1000, 0))
		r := w.process()
		for range 3 * confirmAfter {
			wantRule(t, r, "b0", kmsRule("k"))
			time.Sleep(DefaultDatesInterval)
		}
	})
}

func TestRuleDoesNotApplyToAnotherBucketOfThatName(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.set("b0", kmsRule("old"))
		r := w.process()
		wantRule(t, r, "b0", kmsRule("old"))

		w.buckets.create("b0", time.Unix(5000, 0))
		time.Sleep(DefaultDatesInterval)
		confirm(t, r, "b0", kmsRule("old"))
		before := w.buckets.count()
		wantRule(t, r, "b0", Rule{})
		if n := w.buckets.count() - before; n != 1 {
			t.Errorf("%d requests for creation dates, want 1", n)
		}

		// One outcome is remembered: no request for each call.
		before = w.buckets.count()
		for range 1000 {
			wantRule(t, r, "b0", Rule{})
			time.Sleep(10 * time.Millisecond)
		}
		if n := w.buckets.count() - before; n > 2 {
			t.Errorf("%d requests for creation dates in %v", n, DefaultDatesInterval)
		}

		// A rule for the new bucket is another rule: nothing remembered stands against it.
		w.set("b0", kmsRule("new"))
		wantRule(t, r, "b0", kmsRule("new"))
	})
}

func TestRememberedOutcomeDoesNotBindTheNextRule(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.set("b0", kmsRule("first"))
		w.buckets.create("b0", time.Unix(5000, 0))
		r := w.process()
		confirm(t, r, "b0", kmsRule("first"))
		wantRule(t, r, "b0", Rule{})
		w.buckets.create("b0", time.Unix(6000, 0)) // r's list has another date
		w.set("b0", kmsRule("second"))
		wantRule(t, r, "b0", kmsRule("second"))
	})
}

func TestSuccessEndsThePauseAfterAFailure(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.set("b0", kmsRule("k"))
		w.buckets.create("b0", time.Unix(5000, 0))
		w.buckets.set(registertest.Fault{Err: errBroken})
		r := w.process()
		wantRule(t, r, "b0", kmsRule("k"))
		w.buckets.set(registertest.Fault{})
		if _, _, ok, err := r.creationDate(t.Context(), "b0"); err != nil || !ok {
			t.Fatal(ok, err)
		}
		confirm(t, r, "b0", kmsRule("k"))
		wantRule(t, r, "b0", Rule{})
	})
}

func TestRuleOfABucketCreatedSinceTheLastListIsObeyedAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.set("b0", kmsRule("k"))
		r := w.process()
		wantRule(t, r, "b0", kmsRule("k")) // r has a list of buckets now
		w.buckets.create("young", time.Now())
		w.set("young", kmsRule("y"))
		before := w.buckets.count()
		wantRule(t, r, "young", kmsRule("y"))
		wantRule(t, r, "young", kmsRule("y"))
		if n := w.buckets.count() - before; n != 1 {
			t.Errorf("%d requests for creation dates, want 1", n)
		}
	})
}

func TestRuleOfARemovedBucketIsAskedForOncePerInterval(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.set("b0", kmsRule("k"))
		w.buckets.remove("b0")
		r, before := w.process(), w.buckets.count()
		for range 100 {
			wantRule(t, r, "b0", kmsRule("k"))
		}
		if n := w.buckets.count() - before; n != 1 {
			t.Errorf("%d requests for creation dates, want 1", n)
		}
		confirm(t, r, "b0", kmsRule("k"))
		before = w.buckets.count()
		for range 100 {
			wantRule(t, r, "b0", Rule{})
		}
		if n := w.buckets.count() - before; n != 1 {
			t.Errorf("%d requests for creation dates, want 1", n)
		}
		time.Sleep(DefaultDatesInterval)
		wantRule(t, r, "b0", Rule{})
		if n := w.buckets.count() - before; n != 2 {
			t.Errorf("%d requests for creation dates, want 2", n)
		}
	})
}

func TestCreationDatesCompareInMilliseconds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		at := time.Date(2025, 1, 2, 3, 4, 5, 678_901_234, time.UTC)
		w.buckets.create("b0", at)
		w.set("b0", kmsRule("k"))
		for _, c := range []struct {
			date time.Time
			want Rule
		}{
			{at.Truncate(time.Millisecond), kmsRule("k")},
			{at.Truncate(time.Millisecond).In(time.FixedZone("", 3600)), kmsRule("k")},
			{at.Add(time.Millisecond), Rule{}},
			{at.Truncate(time.Second), kmsRule("k")}, // no bucket that came later is older
		} {
			w.buckets.create("b0", c.date)
			r := w.process()
			confirm(t, r, "b0", kmsRule("k"))
			wantRule(t, r, "b0", c.want)
		}
	})
}

// Whoever stored a rule wanted the bucket's data encrypted: not knowing the date is no reason not to.
func TestRuleAppliesWhileCreationDatesAreUnknown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.set("b0", kmsRule("k"))
		w.buckets.create("b0", time.Unix(5000, 0))
		w.buckets.set(registertest.Fault{Err: errBroken})
		r, before := w.process(), w.buckets.count()
		for range 100 {
			wantRule(t, r, "b0", kmsRule("k"))
			time.Sleep(DefaultDatesInterval / 100)
		}
		if n := w.buckets.count() - before; n < 5 || n > 10 {
			t.Errorf("%d requests while they fail, want about one each tenth of %v", n, DefaultDatesInterval)
		}
		w.buckets.set(registertest.Fault{})
		time.Sleep(DefaultDatesInterval / 10)
		confirm(t, r, "b0", kmsRule("k"))
		wantRule(t, r, "b0", Rule{})
	})
}

func TestCallerDoesNotWaitForCreationDatesLongerThanItWants(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.set("b0", kmsRule("k"))
		w.buckets.set(registertest.Fault{After: time.Hour})
		r := w.process()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, ok, err := r.Effective(ctx, "b0"); ok || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, %v", ok, err)
		}
		start := time.Now()
		wantRule(t, r, "b0", kmsRule("k"))
		if d := time.Since(start); d > 2*DefaultTimeout {
			t.Errorf("waited %v", d)
		}
	})
}

func TestBucketRemovedKeepsTheRuleOfTheNextBucket(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.set("b0", kmsRule("old"))
		// b0 is deleted and created again, and the new one gets a rule, before the first deletion is reported.
		w.buckets.create("b0", time.Unix(5000, 0))
		w.set("b0", kmsRule("new"))
		r := w.process()
		if err := r.BucketRemoved(t.Context(), "b0"); err != nil {
			t.Fatal(err)
		}
		wantRule(t, r, "b0", kmsRule("new"))

		w.buckets.set(registertest.Fault{Err: errBroken})
		if err := r.BucketRemoved(t.Context(), "b0"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("without creation dates: %v", err)
		}
		w.buckets.set(registertest.Fault{})
		w.buckets.remove("b0")
		if err := r.BucketRemoved(t.Context(), "b0"); err != nil {
			t.Fatal(err)
		}
		if x, err := decodeIndex(w.backend.Blob()); err != nil || len(x.rules) != 0 {
			t.Errorf("index %+v, %v", x, err)
		}
	})
}

// Where no rule means no encryption, a false creation date must not turn one off.
func TestKeptRuleAppliesWhateverIsSaidOfCreation(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.set("b0", kmsRule("k"))
		r := w.process()
		r.keep = true
		w.buckets.create("b0", time.Unix(5000, 0))
		time.Sleep(DefaultDatesInterval)
		before := w.buckets.count()
		wantRule(t, r, "b0", kmsRule("k"))
		if w.buckets.count() != before {
			t.Error("creation dates were asked for")
		}
	})
}

// A restored copy has new creation dates everywhere, also of the bucket that keeps the index.
func TestRulesThatWereRestoredWithTheirBucketsBind(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.set("b0", kmsRule("k"))
		w.buckets.create("home", time.Unix(4000, 0))
		w.buckets.create("b0", time.Unix(5000, 0))
		restored := func() *Rules {
			r, err := New(Options{Backend: w.backend, Buckets: w.buckets, Home: "home", clock: &registertest.Clock{}})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		r := restored()
		for range 3 * confirmAfter {
			wantRule(t, r, "b0", kmsRule("k"))
			time.Sleep(DefaultDatesInterval)
		}
		// What is set from then on belongs to the restored bucket, and to no later one.
		if err := r.Set(t.Context(), "b0", kmsRule("new")); err != nil {
			t.Fatal(err)
		}
		wantRule(t, restored(), "b0", kmsRule("new"))
		w.buckets.create("b0", time.Unix(6000, 0))
		time.Sleep(DefaultDatesInterval)
		confirm(t, r, "b0", kmsRule("new"))
		wantRule(t, r, "b0", Rule{})
	})
}

// A bucket that is older than the one that keeps the index is as any other one: its rule binds no bucket that takes its
// name, and is not dropped while it is there.
func TestRuleOfABucketOlderThanTheIndexBindsNoLaterOne(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r, err := New(Options{Backend: w.backend, Buckets: w.buckets, Home: "home", clock: &registertest.Clock{}})
		if err != nil {
			t.Fatal(err)
		}
		for i, set := range []func() error{
			func() error { return r.Set(t.Context(), "b0", kmsRule("k")) },
			func() error {
				_, err := r.Import(t.Context(), []BucketRule{{Bucket: "b0", Algorithm: AWSKMS, KMSKeyID: "k"}})
				return err
			},
		} {
			w.buckets.create("b0", time.Unix(3000, 0))
			w.buckets.create("home", time.Unix(4000, 0))
			if err := set(); err != nil {
				t.Fatal(err)
			}
			if err := r.BucketRemoved(t.Context(), "b0"); err != nil { // of a former one
				t.Fatal(err)
			}
			wantRule(t, r, "b0", kmsRule("k"))
			w.buckets.create("b0", time.Unix(int64(5000+i), 0))
			time.Sleep(DefaultDatesInterval)
			confirm(t, r, "b0", kmsRule("k"))
			wantRule(t, r, "b0", Rule{})
			if err := r.BucketRemoved(t.Context(), "b0"); err != nil {
				t.Fatal(err)
			}
			if x, err := decodeIndex(w.backend.Blob()); err != nil || len(x.rules) != 0 {
				t.Errorf("index %+v, %v", x, err)
			}
		}
	})
}
