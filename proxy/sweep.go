package proxy

import (
	"context"
	"time"

	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/progress"
	"github.com/bucketseal/bucketseal/proxy/rekey"
	"github.com/bucketseal/bucketseal/proxy/usage"
)

// sessionGrace is how long ago a session must have ended: clocks differ.
const sessionGrace = time.Hour

// sweepOthers implements maintenance.SweepOthers: sessions that ended, canaries, and old
// versions of indexes.
func (s *Server) sweepOthers(ctx context.Context, o *maintenance.SweepOptions, now time.Time) error {
	ended := now // by the clock that is behind: a session that lives must not lose its note
	if ours := time.Now(); ours.Before(ended) {
		ended = ours
	}
	if err := s.identities.Sweep(ctx, ended.Add(-sessionGrace), o.DryRun, o.Removed); err != nil {
		return err
	}
	if !o.DryRun {
		if _, err := s.service.SweepCanaries(ctx, time.Now().Add(-sessionGrace)); err != nil {
			return err
		}
	}
	for _, prefix := range indexes() {
		if err := s.service.PruneVersions(ctx, prefix, now.Add(-o.Age), o.DryRun, o.Removed); err != nil {
			return err
		}
	}
	return nil
}

// indexes are the beginnings of the names of system objects that are changed again
// and again, each change leaving a version.
func indexes() []string {
	return []string{encryption.RulesName, "identities/index", rekey.BookName, progress.Prefix, "keys/", "sweep/", usage.Prefix}
}
