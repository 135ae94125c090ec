package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/storage"
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
	credential *storage.Credential
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
		credential: &storage.Credential{AccessKey: accessKey, SecretKey: id.SecretKey, SessionToken: id.SessionToken},
	}, nil
}

// KnownUpstream says whether upstream accepts a pair: nil, or what it answered.
func (s *Server) KnownUpstream(ctx context.Context, accessKey, secretKey string) error {
	resp, err := s.opts.Upstream.Do(ctx, &upstream.Request{
		Method: http.MethodGet, Header: make(http.Header), Credential: &storage.Credential{AccessKey: accessKey, SecretKey: secretKey},
	})
	if err != nil {
		return err
	}
	if resp.StatusCode < http.StatusBadRequest {
		upstream.Discard(resp)
		return nil
	}
	if answer := upstream.ReadError(resp); staleCredential(answer.Code) {
		return answer
	}
	return nil // it is known, and may not list buckets
}

// staleCredential says whether an S3 code means that upstream knows another secret,
// or none, for the access key that the proxy signed with.
func staleCredential(code string) bool {
	return code == "InvalidAccessKeyId" || code == "SignatureDoesNotMatch" || code == "InvalidTokenId"
}

// asStaleCredential turns upstream's refusal of the proxy's own signature into
// what the client should read, and tells the operator: the client's signature was
// right by what the proxy knows.
func (s *Server) asStaleCredential(r *request, err error) error {
	var answer *storage.Error
	if r.caller.identity == nil || proxysOwn(err) || !errors.As(err, &answer) || answer.Status != http.StatusForbidden || !staleCredential(answer.Code) {
		return err
	}
	todo := "set its secret again through the proxy, or run bucketseal credential rm"
	switch r.caller.identity.Kind {
	case identity.Configured:
		todo = "correct the secret in the configuration"
	case identity.Added:
		todo = "run bucketseal credential add with the secret that MinIO has, or credential rm"
	case identity.Temporary:
		todo = "nothing, if the session was revoked: its client must ask for another one"
	}
	s.log.Warn("MinIO does not accept the secret that the proxy knows for an access key: it was changed or removed there",
		"access_key", r.caller.accessKey, "kind", string(r.caller.identity.Kind), "upstream", answer.Code, "todo", todo)
	return fmt.Errorf("%w (%v)", errStaleCredential, err) //nolint:errorlint // upstream's code would mislead the client
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

// mayKnow is asked before digests of data that is being written are shown: to who
// may write it, or read it.
func (s *Server) mayKnow(ctx context.Context, c caller, bucket string, rec *sse.Record) error {
	if rec == nil {
		return nil
	}
	err := s.mayUseKeys(ctx, c, bucket, rec.Mode, rec.KMSKey, identity.Generate)
	if errors.Is(err, errKeyAccess) || errors.Is(err, kms.ErrNotPermitted) {
		return s.mayOpen(ctx, c, bucket, rec)
	}
	return err
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
