package identity

import (
	"context"
	"fmt"
	"slices"

	"github.com/bucketseal/bucketseal/proxy/glob"
)

// Use is what is done with a KMS key.
type Use string

// Uses.
const (
	Generate Use = "generate" // a DEK for new data
	Decrypt  Use = "decrypt"  // a DEK of stored data
)

// Rule lets identities use KMS keys in buckets.
type Rule struct {
	// An identity is meant if one of these names it. AccessKeys never name
	// temporary identities: upstream chooses their access keys. Sources name
	// temporary ones only.
	AccessKeys glob.Patterns
	Kinds      []Kind
	Sources    []Source
	// Buckets and Keys are where and with which KMS keys.
	Buckets, Keys glob.Patterns
	// Uses is what for.
	Uses []Use
}

// names says whether the rule is about an identity. One that no verified
// identity asked for is named by its source alone.
func (r *Rule) names(c creator, unasked bool) bool {
	if c.Kind == Temporary {
		return slices.Contains(r.Sources, c.Source) || !unasked && slices.Contains(r.Kinds, Temporary)
	}
	return r.AccessKeys.Match(c.AccessKey) || slices.Contains(r.Kinds, c.Kind)
}

// allows says whether the rule lets those it names do this. Without a KMS key it
// asks for the bucket alone: the customer brings the key.
func (r *Rule) allows(bucket, key string, use Use) bool {
	return slices.Contains(r.Uses, use) && r.Buckets.Match(bucket) && (key == "" || r.Keys.Match(key))
}

// Access is what the configuration says of the use of keys.
type Access struct {
	// Unrestricted lets every configured or added identity use all keys in all buckets.
	// Without it, whoever no rule names may use none.
	Unrestricted bool
	// Rules are who may use which keys where.
	Rules []Rule
	// KeyAdmins are the access keys, configured or added, that may administer KMS keys.
	KeyAdmins []string
}

// lets says whether one link of an identity's chain may do this. The last one is an
// identity that no other one asked for.
func (a *Access) lets(link creator, last bool, bucket, key string, use Use) bool {
	if last && !link.operators() && link.Kind != Temporary {
		return false // learned, and nobody is known who asked for it
	}
	named := false
	for i := range a.Rules {
		if r := &a.Rules[i]; r.names(link, last) {
			if r.allows(bucket, key, use) {
				return true
			}
			named = true
		}
	}
	switch {
	case named:
		return false
	case last:
		return a.Unrestricted && link.operators()
	default:
		return true // the links that follow bound it
	}
}

// MayUse says whether an identity may use a KMS key for a bucket; key is "" where
// the customer brings the key. ErrNotAllowed, or what Lookup returns for those
// whose rights bound it.
//
// A configured or added identity may do what the rules give it. A learned one may
// do what the one that asked for it may, and less if a rule names it; one that no
// verified identity asked for, what a rule gives its source.
func (s *Store) MayUse(ctx context.Context, id *Identity, bucket, key string, use Use) error {
	access := &s.settings.Load().access
	link, last := id.asCreator(), len(id.creators)
	for n := 0; ; n++ {
		if !access.lets(link, n == last, bucket, key, use) {
			return fmt.Errorf("%q may not %s with KMS key %q in bucket %q (by what the configuration gives %s %q): %w", id.AccessKey, use, key, bucket, link.Kind, link.AccessKey, ErrNotAllowed)
		}
		if n == last {
			return nil
		}
		link = id.creators[n] // who asked for it
		if link.Kind == Temporary {
			continue // a session that has ended does not end what was made in it
		}
		if err := s.stillKnown(ctx, link); err != nil {
			return fmt.Errorf("%q was asked for by %q: %w", id.AccessKey, link.AccessKey, err)
		}
	}
}

// operators says whether whoever runs the proxy vouches for an identity.
func (c creator) operators() bool { return c.Kind == Configured || c.Kind == Added }

// MayAdministerKeys says whether an identity may create, list and delete KMS keys:
// only those that the configuration names may. ErrNotAllowed.
func (s *Store) MayAdministerKeys(id *Identity) error {
	if id == nil {
		return fmt.Errorf("nobody signed, and may not administer KMS keys: %w", ErrNotAllowed)
	}
	if id.asCreator().operators() && slices.Contains(s.settings.Load().access.KeyAdmins, id.AccessKey) {
		return nil
	}
	return fmt.Errorf("%q may not administer KMS keys: %w", id.AccessKey, ErrNotAllowed)
}

func (i *Identity) asCreator() creator {
	return creator{AccessKey: i.AccessKey, Kind: i.Kind, Source: i.Source, Serial: i.serial}
}

// stillKnown says whether a long-lived identity is the one that it was: it may
// have been removed, or made anew by somebody else.
func (s *Store) stillKnown(ctx context.Context, c creator) error {
	now, err := s.Lookup(ctx, c.AccessKey)
	if err != nil {
		if isGone(err) {
			return fmt.Errorf("%w (%w)", ErrNotAllowed, err)
		}
		return err
	}
	if now.Kind != c.Kind || now.serial != c.Serial {
		return fmt.Errorf("%w: the access key is another one's now", ErrNotAllowed)
	}
	return nil
}
