package usage

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/system"
)

const (
	// settle is how long after a rotation every server seals under the new version: they
	// look for one every four seconds, and let go of a shared DEK within two more.
	settle = 10 * time.Second
	// recent is how young a version is that a scan settles for. It is longer than clocks
	// differ.
	recent = 10 * time.Minute
	// claimFor is how long a scan is one process's without a sign of life.
	claimFor = 15 * time.Second
	// claimPoll is how often a process that waits for another's scan looks.
	claimPoll = time.Second
	// versionReads bounds the keys whose versions are read at a time.
	versionReads = 8
	// maxRetry is the longest pause after a scan of the background that failed, and
	// maxDelay that after the start.
	maxRetry = 10 * time.Minute
	maxDelay = 2 * time.Minute
)

// Options are a Scanner's dependencies and settings.
type Options struct {
	// Objects is where scans are kept. Required.
	Objects Objects
	// Ready makes the system bucket ready, or says why it is not. Required.
	Ready func(context.Context) error
	// Keys tell the versions of KMS keys. Required.
	Keys kms.Service
	// Known are KMS keys that are asked about although the service may not list them.
	Known []string
	// Count counts the objects of all buckets, and the proxies' own. Required.
	Count func(context.Context, *maintenance.UsageOf) (*maintenance.Usage, error)
	// Uses are the uses that proxies share. Required.
	Uses *Uses
	// Clock returns the storage's time. Required.
	Clock func(context.Context) (time.Time, error)
	// Offline is how long servers seal without their key store, under what they know.
	Offline time.Duration
	// Interval is how often the buckets are scanned in the background, 0 for never; Rate
	// bounds the objects per second there, 0 for no bound.
	Interval time.Duration
	Rate     float64
	// Logger is told what was scanned. Required.
	Logger *slog.Logger
}

// Scanner scans the buckets, one process at a time, and remembers what it found. It is safe
// for concurrent use.
type Scanner struct {
	o Options
	// known is the last scan that this process has seen, for metrics.
	known atomic.Pointer[Scan]
	// settle is the constant; tests have no time.
	settle, claimFor, claimPoll time.Duration
}

// NewScanner checks the options and returns a scanner that has made no request.
func NewScanner(o Options) (*Scanner, error) {
	if o.Objects == nil || o.Ready == nil || o.Keys == nil || o.Count == nil || o.Uses == nil || o.Clock == nil || o.Logger == nil {
		return nil, errors.New("usage: incomplete options")
	}
	return &Scanner{o: o, settle: settle, claimFor: claimFor, claimPoll: claimPoll}, nil
}

// ScanOptions say how a scan is made.
type ScanOptions struct {
	// Key is a KMS key whose versions are covered although the service may not list it.
	Key string
	// Buckets are patterns, none for all. What is not a scan of all buckets is not stored.
	Buckets glob.Patterns
	// Rate bounds the objects per second; 0 is no bound.
	Rate float64
	// Found is called for each object under Key, all if it is ""; nil for nobody. With it, the scan is made in any case; without, one that another
	// process made meanwhile is as good.
	Found func(maintenance.Used)
	// Say is told what is waited for; nil for nobody.
	Say func(string)
	// Progress is told after each page how many objects were seen; nil for nobody.
	Progress func(seen int64)
}

// Scan counts the objects of all buckets by KMS key, and remembers it. While another process
// scans it waits, and takes what that one found if it began later than the call. No key is
// opened.
func (s *Scanner) Scan(ctx context.Context, o *ScanOptions) (*Scan, error) {
	if err := s.o.Ready(ctx); err != nil {
		return nil, err
	}
	if len(o.Buckets) > 0 { // it covers nothing, and is nobody else's
		u, err := s.count(ctx, o)
		if err != nil {
			return nil, err
		}
		return fromMaintenance(u), nil
	}
	asked := time.Now()
	for waited := false; ; waited = true {
		scan, err := s.claimed(ctx, func(ctx context.Context) (*Scan, error) { return s.scan(ctx, o) })
		if !errors.Is(err, ErrBusy) {
			return scan, err
		}
		if !waited {
			o.say("another process scans the buckets; waiting for it")
		}
		if err := sleep(ctx, s.claimPoll); err != nil {
			return nil, err
		}
		if o.Found != nil {
			continue
		}
		if last, err := s.Last(ctx); err == nil && last.Began.After(asked) {
			return last, nil
		}
	}
}

func (o *ScanOptions) say(what string) {
	if o.Say != nil {
		o.Say(what)
	}
}

func (s *Scanner) count(ctx context.Context, o *ScanOptions) (*maintenance.Usage, error) {
	of := maintenance.UsageOf{Buckets: o.Buckets, Rate: o.Rate, Progress: o.Progress, System: len(o.Buckets) == 0}
	if o.Found != nil {
		of.Found = func(u maintenance.Used) {
			if o.Key == "" || u.KMSKey == o.Key {
				o.Found(u)
			}
		}
	}
	return s.o.Count(ctx, &of)
}

// scan scans everything and stores what was found.
func (s *Scanner) scan(ctx context.Context, o *ScanOptions) (*Scan, error) {
	covered, young, err := s.versions(ctx, o.Key)
	if err != nil {
		return nil, err
	}
	if len(young) > 0 && s.settle > 0 {
		if o.Key == "" || o.Key == young {
			o.say(fmt.Sprintf("the KMS key %s was rotated a moment ago; waiting %v until every server knows", young, s.settle))
		} else {
			o.say(fmt.Sprintf("waiting %v until every server knows the newest versions of all KMS keys: the scan is of all", s.settle))
		}
		if err := sleep(ctx, s.settle); err != nil {
			return nil, err
		}
	}
	shared, err := s.o.Uses.Shared(ctx)
	if err != nil && !errors.Is(err, ErrMalformed) {
		return nil, err
	}
	u, err := s.count(ctx, o)
	if err != nil {
		return nil, err
	}
	scan := fromMaintenance(u)
	if shared != nil { // else nothing of late writes is known, and no version is covered
		scan.cover(covered)
		scan.Late = shared.Late
	}
	scan.System = s.ofSystem(u.System)
	if err := s.store(ctx, scan); err != nil {
		return nil, fmt.Errorf("keep the scan: %w", err)
	}
	s.known.Store(scan)
	return scan, nil
}

// ofSystem returns what a scan keeps of the proxies' own objects, nil if it cannot be told of one
// what it lies under.
func (s *Scanner) ofSystem(found *maintenance.SystemUsage) []SystemCount {
	if found == nil {
		return nil
	}
	for _, one := range found.Unknown {
		s.o.Logger.Warn("it cannot be told which KMS key an object of the system bucket lies under", "object", one.Name.Key, "error", one.Err)
	}
	if len(found.Unknown) > 0 {
		return nil
	}
	counts := make([]SystemCount, 0, len(found.Counts))
	for under, n := range found.Counts {
		counts = append(counts, SystemCount{KMSKey: under.KMSKey, Version: under.Version, Objects: n.Objects})
	}
	slices.SortFunc(counts, func(a, b SystemCount) int {
		return cmp.Or(cmp.Compare(a.KMSKey, b.KMSKey), cmp.Compare(a.Version, b.Version))
	})
	return counts
}

// versions returns, for each KMS key that is known, the version before which nothing is
// sealed any more, in a moment at the latest. young is a key that needs this moment, besides
// if that one does, "" if none does.
func (s *Scanner) versions(ctx context.Context, besides string) (covered map[string]kms.VersionInfo, young string, err error) {
	names, err := s.o.Keys.ListKeys(ctx, "")
	if err != nil && !errors.Is(err, kms.ErrNotPermitted) && !errors.Is(err, kms.ErrNotSupported) {
		return nil, "", err
	}
	names = append(names, s.o.Known...)
	if besides != "" {
		names = append(names, besides)
	}
	slices.Sort(names)
	covered = make(map[string]kms.VersionInfo)
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(versionReads)
	for _, name := range slices.Compact(names) {
		group.Go(func() error {
			versions, err := s.o.Keys.KeyVersions(ctx, name)
			if errors.Is(err, kms.ErrUnavailable) || ctx.Err() != nil {
				return err
			}
			latest, isYoung := newest(versions, s.o.Offline)
			mu.Lock()
			defer mu.Unlock()
			if err == nil && latest.Version > 1 { // of a key without versions there is nothing to cover
				if covered[name] = latest; isYoung && young != besides {
					young = name
				}
			}
			return nil
		})
	}
	return covered, young, group.Wait()
}

// newest returns the newest version that is older than offline, the zero value if there is none, and
// whether it is a young one.
func newest(versions []kms.VersionInfo, offline time.Duration) (v kms.VersionInfo, young bool) {
	for _, v := range slices.Backward(versions) {
		if age := time.Since(v.CreatedAt); offline <= 0 || age > offline {
			return v, age < recent
		}
	}
	return kms.VersionInfo{}, false
}

// claim says which process scans, and until when it does if it gives no sign of life, by the
// storage's clock.
type claim struct {
	By    uint64    `json:"by"`
	Until time.Time `json:"until"`
}

// claimed calls do while no other process scans. ErrBusy. A claim keeps nobody from storing
// a scan: two that are made at once are both true, and the one that began later stays.
func (s *Scanner) claimed(ctx context.Context, do func(context.Context) (*Scan, error)) (*Scan, error) {
	mine := claim{By: rand.Uint64()} //nolint:gosec // no secret
	etag, err := s.take(ctx, &mine)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		for sleep(ctx, s.claimFor/3) == nil {
			next, err := s.renew(ctx, &mine, etag, s.claimFor)
			if errors.Is(err, system.ErrConflict) {
				cancel(fmt.Errorf("%w: it took this one's place", ErrBusy))
				return
			}
			if err == nil {
				etag = next
			}
		}
	}()
	scan, err := do(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	cancel(nil)
	<-kept
	free, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	_, _ = s.renew(free, &mine, etag, 0) // else it ends by itself
	return scan, err
}

// take makes the claim this process's.
func (s *Scanner) take(ctx context.Context, mine *claim) (etag string, err error) {
	data, etag, err := s.o.Objects.Get(ctx, claimKind, claimName, "")
	if err != nil && !errors.Is(err, system.ErrNotFound) {
		return "", err
	}
	if err == nil {
		var theirs claim
		now, err := s.o.Clock(ctx)
		if err != nil {
			return "", err
		}
		until := now
		if json.Unmarshal(data, &theirs) == nil {
			until = theirs.Until
		}
		if until.After(now) && until.Before(now.Add(2*s.claimFor)) { // else a clock jumped
			return "", ErrBusy
		}
	}
	etag, err = s.renew(ctx, mine, etag, s.claimFor)
	if errors.Is(err, system.ErrConflict) {
		err = ErrBusy
	}
	return etag, err
}

func (s *Scanner) renew(ctx context.Context, mine *claim, etag string, until time.Duration) (string, error) {
	now, err := s.o.Clock(ctx)
	if err != nil {
		return "", err
	}
	mine.Until = now.Add(until)
	data, err := json.Marshal(mine)
	if err != nil {
		return "", err
	}
	return s.o.Objects.Put(ctx, claimKind, claimName, data, etag)
}

// Run scans in the background until ctx ends: when the last scan, whoever made it, is older
// than the interval.
func (s *Scanner) Run(ctx context.Context) {
	if s.o.Interval <= 0 {
		s.follow(ctx)
		return
	}
	wait := min(s.o.Interval, maxDelay)
	wait = wait/2 + rand.N(wait/2+1)
	for sleep(ctx, wait) == nil {
		due, err := s.due(ctx)
		if err == nil && due <= 0 {
			err = s.inBackground(ctx)
			due = s.o.Interval
		}
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrBusy):
			due = s.claimFor
		case err != nil:
			s.o.Logger.Warn("the use of KMS keys could not be counted; it is tried again", "error", err)
			due = min(s.o.Interval, maxRetry)
		}
		wait = min(due, followFor)
		wait += rand.N(wait/10 + 1)
	}
}

// followFor is how often a process looks for the scans of others at least.
const followFor = 10 * time.Minute

// follow looks for the scans of others, for metrics.
func (s *Scanner) follow(ctx context.Context) {
	for sleep(ctx, maxDelay) == nil {
		_, _ = s.due(ctx)
		if sleep(ctx, followFor-maxDelay) != nil {
			return
		}
	}
}

// due returns when the next scan is due; 0 or less is now.
func (s *Scanner) due(ctx context.Context) (time.Duration, error) {
	if err := s.o.Ready(ctx); err != nil {
		return 0, err
	}
	last, err := s.Last(ctx)
	if errors.Is(err, ErrNoScan) || errors.Is(err, ErrMalformed) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	s.known.Store(last)
	age := time.Since(last.Began)
	if age < -recent { // a clock was set back
		return 0, nil
	}
	return s.o.Interval - age, nil
}

func (s *Scanner) inBackground(ctx context.Context) error {
	scan, err := s.claimed(ctx, func(ctx context.Context) (*Scan, error) { return s.scan(ctx, &ScanOptions{Rate: s.o.Rate}) })
	if errors.Is(err, ErrOvertaken) {
		return nil
	}
	if err != nil {
		return err
	}
	var objects, uploads int64
	for _, row := range scan.Rows {
		objects, uploads = objects+row.Objects, uploads+row.Uploads
	}
	s.o.Logger.Info("counted what uses which KMS key", "buckets", len(scan.Buckets), "objects", objects, "uploads", uploads,
		"unknown", scan.UnknownCount, "took", scan.Ended.Sub(scan.Began).Round(time.Millisecond))
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
