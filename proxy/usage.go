package proxy

import (
	"context"
	"slices"
	"time"

	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/usage"
)

// readyObjects are system objects in a bucket that is made ready before they are written.
type readyObjects struct {
	*system.Store
	ready func(context.Context) error
}

// Put implements usage.Objects.
func (o readyObjects) Put(ctx context.Context, kind, name string, data []byte, etag string) (newETag string, err error) {
	if err := o.ready(ctx); err != nil {
		return "", err
	}
	return o.Store.Put(ctx, kind, name, data, etag)
}

// openUsage makes what remembers who uses which KMS key.
func (s *Server) openUsage() (err error) {
	o := &s.opts
	s.uses.ShareIn(readyObjects{s.system.WithoutLate(), s.setup.Ensure})
	s.scanner, err = usage.NewScanner(usage.Options{
		Objects: s.system, Ready: s.setup.Ensure, Keys: o.KMS, Known: append(slices.Clone(o.FormerS3Keys), o.DefaultKey, o.S3Key),
		Count: s.keeper.Usage, Uses: s.uses, Clock: o.Upstream.Clock, Offline: o.KeysOffline, Interval: o.UsageScan, Rate: o.UsageRate, Logger: o.Logger,
	})
	if err == nil && o.Metrics != nil {
		o.Metrics.MustRegister(s.scanner.Collector())
	}
	return err
}

// lateWrite implements maintenance.Options.LateWrite.
func (s *Server) lateWrite(ctx context.Context) (last time.Time, err error) {
	shared, err := s.uses.Shared(ctx)
	if err != nil {
		return time.Time{}, err
	}
	for _, versions := range shared.Late {
		for _, at := range versions {
			if at.After(last) {
				last = at
			}
		}
	}
	return last, nil
}

// usesAge is how old the documents of uses must be that another one replaced: one is written
// each minute.
const usesAge = time.Hour

// watchUsage scans the buckets, and shares the uses of KMS keys, until ctx ends.
func (s *Server) watchUsage(ctx context.Context) {
	go s.scanner.Run(ctx)
	failed := func(err error) {
		s.log.Warn("when KMS keys were last used cannot be kept; it is tried again", "error", err)
	}
	go s.uses.Run(ctx, failed, func(ctx context.Context) error {
		now, err := s.opts.Upstream.Clock(ctx)
		if err != nil {
			return err
		}
		return s.service.PruneVersions(ctx, usage.Prefix, now.Add(-usesAge), false, func(string, string) {})
	})
}

// Usage returns what scans the buckets for what uses which KMS key.
func (s *Server) Usage() *usage.Scanner { return s.scanner }

// Uses returns what knows when KMS keys were last used.
func (s *Server) Uses() *usage.Uses { return s.uses }
