package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
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

// keys is the caller as package keyring knows it.
func (c caller) keys() keyring.Caller { return keyring.As(c.identity) }

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
