package maintenance

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/progress"
)

const (
	// SweepAge is how old a left-over must be by default: no write lasts longer
	// between its manifest and its end, not even a Complete or a copy, which have 12 h.
	// Whoever sweeps what is younger may take the manifest of a copy that upstream is still
	// making: it is written anew before the copy is acknowledged.
	SweepAge = 24 * time.Hour
	// sweepInterval is the pace of the background pass; each proxy adds up to half
	// of it, so that several do not sweep at once.
	sweepInterval = 6 * time.Hour
	// cursorAge is how long ago a cursor of a re-wrap was stored that a sweep removes.
	cursorAge = 7 * 24 * time.Hour
	// maxSkipsLogged bounds the lines of the log that one background pass writes about
	// what it cannot judge; bucketseal object sweep prints them all.
	maxSkipsLogged = 20
)

// SweepOptions say what a sweep does.
type SweepOptions struct {
	// Age is how old what is removed must be, and how long ago an earlier sweep found
	// that nothing needs it.
	Age time.Duration
	// DryRun only reports.
	DryRun bool
	// Removed is called for each thing that is removed, Skipped for what cannot be
	// judged and stays. Both are required.
	Removed func(what, name string)
	Skipped func(what, name string, err error)
	// Found, if not nil, is told what there was.
	Found *manifest.Found
}

// SweepOthers removes what the proxy keeps in the system bucket besides notes of objects and
// uploads. It is called at the end of each sweep. now is the storage's time at its
// beginning.
type SweepOthers func(ctx context.Context, o *SweepOptions, now time.Time) error

// Sweep removes from the system bucket what ended uploads, overwritten objects
// and crashed writes left there, and what Options.SweepOthers removes. It returns how much
// it found that waits for a later sweep: one look is no proof.
func (k *Keeper) Sweep(ctx context.Context, o SweepOptions) (waiting int, err error) {
	if err := k.o.Ready(ctx); err != nil {
		return 0, err
	}
	now, err := k.o.Clock(ctx)
	if err != nil {
		return 0, err
	}
	sweeper := manifest.Sweeper{
		System: k.o.System, Lookups: lookups{k}, Age: o.Age, Now: now, Ours: time.Now(),
		DryRun: o.DryRun, Report: o.Removed, Skip: o.Skipped, Found: o.Found,
	}
	if waiting, err = sweeper.Run(ctx); err != nil {
		return waiting, err
	}
	if err := progress.Sweep(ctx, k.o.System, now.Add(-cursorAge), o.DryRun, o.Removed); err != nil || k.o.SweepOthers == nil {
		return waiting, err
	}
	return waiting, k.o.SweepOthers(ctx, &o, now)
}

// orphanAge is how old a manifest is at least that Orphans tells of: no write takes longer
// between its manifest and its end, but for a Complete, whose upload keeps its manifest, and
// a copy by upstream, whose manifest is told of while it is under way.
const orphanAge = time.Hour

// Orphans tells of the manifests that no object needs, by their names in the system bucket. It
// removes nothing. What cannot be judged it leaves out.
func (k *Keeper) Orphans(ctx context.Context, tell func(name string)) error {
	now, err := k.o.Clock(ctx)
	if err != nil {
		return err
	}
	sweeper := manifest.Sweeper{
		System: k.o.System, Lookups: lookups{k}, Age: orphanAge, Now: now, Ours: time.Now(), DryRun: true,
		Report: func(string, string) {}, Skip: func(string, string, error) {},
		Unneeded: func(what, name string) {
			if what == "manifest" {
				tell(name)
			}
		},
	}
	_, err = sweeper.Run(ctx)
	return err
}

// SweepInBackground sweeps again and again until ctx ends.
func (k *Keeper) SweepInBackground(ctx context.Context) {
	for {
		wait := sweepInterval + time.Duration(rand.Int64N(int64(sweepInterval/2))) //nolint:gosec // no secret
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		k.sweepAndLog(ctx)
	}
}

func (k *Keeper) sweepAndLog(ctx context.Context) {
	removed, skipped := 0, 0
	var found manifest.Found
	waiting, err := k.Sweep(ctx, SweepOptions{
		Age: SweepAge, Found: &found, Removed: func(string, string) { removed++ },
		Skipped: func(what, name string, err error) {
			if skipped++; skipped <= maxSkipsLogged {
				k.o.Logger.Warn("the sweep of the system bucket leaves what it cannot judge", "what", what, "name", name, "error", err)
			}
		},
	})
	k.last.Store(&LastSweep{Ended: time.Now(), Err: err, Removed: removed, Waiting: waiting, Skipped: skipped, Found: found})
	if err != nil && ctx.Err() == nil {
		k.o.Logger.Warn("sweep of the system bucket ended early", "removed", removed, "skipped", skipped, "error", err)
		return
	}
	k.o.Logger.Info("swept the system bucket", "removed", removed, "waiting", waiting, "skipped", skipped)
}
