package proxy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/lifecycle"
	"github.com/bucketseal/bucketseal/proxy/rekey"
	"github.com/bucketseal/bucketseal/proxy/system"
)

// ErrNothingToReset says that the bucket rules can be read, or cannot for a reason
// that a reset does not remove.
var ErrNothingToReset = errors.New("a reset does not help")

// identitiesName is the index of credentials that were added.
const identitiesName = "identities/index"

// Loss is what a reset of the bucket rules loses, and what is lost already.
type Loss struct {
	// Cause says in words why the rules cannot be read.
	Cause string
	// Err is the error itself.
	Err error
	// Foreign says that the system bucket was sealed under other keys: nothing in it
	// can be read with these.
	Foreign bool
	// Gone says that the system bucket does not exist.
	Gone bool
	// Credentials says why credentials that were added cannot be read, "" if they can
	// and stay.
	Credentials string
	// Sessions and Manifests are how many of each the system bucket has.
	Sessions, Manifests int
}

// ExportRules returns all bucket rules. bucketconfig.ErrUnavailable.
func (s *Server) ExportRules(ctx context.Context) ([]bucketconfig.BucketRule, error) {
	rules, err := s.encryption.ExportRules(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", lifecycle.Cause(err), err)
	}
	return rules, nil
}

// RulesUsing returns the buckets whose rules encrypt under a KMS key.
func (s *Server) RulesUsing(ctx context.Context, key string) (buckets []string, err error) {
	rules, err := s.ExportRules(ctx)
	return s.encryption.RulesUsing(rules, key), err
}

// Lost says what a reset would lose. ErrNothingToReset, with the reason.
func (s *Server) Lost(ctx context.Context) (*Loss, error) {
	_, err := s.encryption.ExportRules(ctx)
	if err == nil {
		return nil, fmt.Errorf("%w: the bucket rules can be read", ErrNothingToReset)
	}
	l := &Loss{
		Cause: lifecycle.Cause(err), Err: err,
		Foreign: errors.Is(err, system.ErrForeign) || errors.Is(err, kms.ErrKeyReplaced), Gone: errors.Is(err, system.ErrNoBucket),
	}
	if errors.Is(err, kms.ErrKeyNotFound) { // there is no key to open it
		l.Cause, l.Foreign = "the KMS key "+lifecycle.SystemKey+" that sealed the system bucket is gone", true
	}
	if !l.Foreign && !bucketconfig.IsLost(err) && !errors.Is(err, system.ErrTampered) {
		return nil, fmt.Errorf("%w: nothing is lost; %s: %w", ErrNothingToReset, l.Cause, err)
	}
	if _, err := s.identities.List(ctx); err != nil {
		l.Credentials = err.Error()
	}
	if l.Gone {
		return l, nil
	}
	if l.Sessions, err = s.countNotes(ctx, "identities/sessions/"); err != nil {
		return nil, err
	}
	l.Manifests, err = s.countNotes(ctx, "late")
	return l, err
}

func (s *Server) countNotes(ctx context.Context, prefix string) (count int, err error) {
	after := ""
	for {
		notes, more, err := s.system.ListNotes(ctx, prefix, after)
		if err != nil {
			return 0, fmt.Errorf("count %s: %w", strings.TrimSuffix(prefix, "/"), err)
		}
		count += len(notes)
		if !more || len(notes) == 0 {
			return count, nil
		}
		after = notes[len(notes)-1].Name
	}
}

// Reset begins anew with no bucket rules, where Lost has said that they are lost. What
// it takes the place of stays at MinIO as an old version. Servers that run go on
// refusing writes until they are started again.
func (s *Server) Reset(ctx context.Context, l *Loss) error {
	if !l.Gone {
		names := []string{encryption.RulesName}
		if l.Credentials != "" {
			names = append(names, identitiesName)
		}
		if l.Foreign { // nobody can read which objects were re-keyed, and while it is there nothing is served
			names = append(names, rekey.BookName)
		}
		for _, name := range names {
			if err := s.service.Hide(ctx, name); err != nil {
				return err
			}
		}
	}
	if _, err := s.opts.KMS.DescribeKey(ctx, lifecycle.SystemReadyKey); !errors.Is(err, kms.ErrKeyNotFound) {
		if err := s.opts.KMS.DeleteKey(ctx, lifecycle.SystemReadyKey); err != nil && !errors.Is(err, kms.ErrKeyNotFound) {
			return fmt.Errorf("delete KMS key %q: %w (who may must delete it, with --accept-loss; run this again then)", lifecycle.SystemReadyKey, err)
		}
	}
	return s.setup.Ensure(ctx)
}
