package proxy

import (
	"context"
	"errors"
	"fmt"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// caller is who a request comes from, and as whom upstream is asked.
type caller struct {
	// accessKey is "" for a caller without a signature.
	accessKey string
	// identity is nil for a caller without a signature.
	identity *identity.Identity
	// credential signs upstream requests; nil sends them anonymously.
	credential *upstream.Credential
}

// String returns what the log shows.
func (c caller) String() string {
	if c.accessKey == "" {
		return "anonymous"
	}
	return c.accessKey
}

func (s *Server) identify(ctx context.Context, auth *sigv4.Request) (caller, error) {
	if auth.Kind == sigv4.Anonymous {
		return caller{}, nil
	}
	return s.callerWith(ctx, auth.AccessKey, auth.SessionToken)
}

// callerWith returns the caller whose signature under accessKey was verified, in
// headers, query or a form. The session token must be the one that belongs to
// that access key, or none.
func (s *Server) callerWith(ctx context.Context, accessKey, sessionToken string) (caller, error) {
	id, err := s.identities.Lookup(ctx, accessKey)
	if err != nil {
		return caller{}, err
	}
	if err := id.CheckToken(sessionToken); err != nil {
		return caller{}, err
	}
	return caller{
		accessKey:  accessKey,
		identity:   id,
		credential: &upstream.Credential{AccessKey: accessKey, SecretKey: id.SecretKey, SessionToken: id.SessionToken},
	}, nil
}

// errKeyAccess says that this proxy's configuration does not let the caller use
// keys for a bucket, whatever upstream would say.
var errKeyAccess = errors.New("the caller may not use encryption keys in this bucket")

// mayOpen is asked before the keys of a stored object are unsealed, or taken from
// where they are kept.
func (s *Server) mayOpen(ctx context.Context, c caller, bucket string, rec *sse.Record) error {
	return s.mayUseKeys(ctx, c, bucket, rec.Mode, rec.KMSKey, identity.Decrypt)
}

// mayWrite is asked before keys for new data are made.
func (s *Server) mayWrite(ctx context.Context, c caller, bucket string, asked *sse.Request) error {
	key, err := s.keys.nameFor(asked)
	if err != nil {
		return err
	}
	return s.mayUseKeys(ctx, c, bucket, asked.Mode, key, identity.Generate)
}

// mayUseKeys is asked before any DEK is generated or unsealed: upstream can only
// narrow access, and one that says yes to everybody opens nothing. key is "" for
// SSE-C. errKeyAccess, kms.ErrNotPermitted for SSE-KMS, or what keeps it from being
// told.
func (s *Server) mayUseKeys(ctx context.Context, c caller, bucket string, mode sse.Mode, key string, use identity.Use) error {
	if c.identity == nil {
		if !s.opts.AllowAnonymous.Match(bucket) {
			return fmt.Errorf("anonymous caller, bucket %q is not in allow_anonymous: %w", bucket, errKeyAccess)
		}
		return nil
	}
	err := s.identities.MayUse(ctx, c.identity, bucket, key, use)
	switch {
	case !errors.Is(err, identity.ErrNotAllowed):
		return err
	case mode == sse.ModeKMS:
		return fmt.Errorf("%w (%v)", kms.ErrNotPermitted, err) //nolint:errorlint // it has one code, and this is it
	default:
		return fmt.Errorf("%w (%w)", errKeyAccess, err)
	}
}

// mayAdministerKeys says whether the caller may create, list and delete KMS keys,
// as far as the proxy's configuration goes; upstream is asked besides.
// kms.ErrNotPermitted.
func (s *Server) mayAdministerKeys(c caller) error {
	if c.identity == nil {
		return fmt.Errorf("anonymous caller: %w", kms.ErrNotPermitted)
	}
	if err := s.identities.MayAdministerKeys(c.identity); err != nil {
		return fmt.Errorf("%w (%w)", kms.ErrNotPermitted, err)
	}
	return nil
}
